//! A new process takes over: no request fails, no run is lost or sent twice, and the old one finishes what it has.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use rustix::process::Signal;

use crate::harness::{
    Ask, Gate, PROGRAM, Raincheck, RunHandle, Server, Setup, Wire, assert_balanced, encoded,
    eventually, free_port, try_get,
};

/// Requests of each kind before and after the upgrade.
const EACH: usize = 150;

/// What the callers of a test have in common.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    answered: AtomicUsize,
    runs: Mutex<Vec<(RunHandle, String)>>,
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::SeqCst)
    }

    /// Waits for so many more answers.
    fn wait_for(&self, more: usize) {
        let wanted = self.answered.load(Ordering::SeqCst) + more;
        eventually("answers", || {
            (self.answered.load(Ordering::SeqCst) >= wanted).then_some(())
        });
    }

    /// Synchronous requests; with `keep`, over one connection until the proxy says that it is the last one.
    fn synchronous(&self, proxy: &Raincheck, caller: &str, keep: bool) {
        let mut wire: Option<Wire> = None;
        for n in 0.. {
            if !self.goes_on() {
                return;
            }
            let tag = format!("/{caller}/{n}");
            let on = wire.get_or_insert_with(|| proxy.wire());
            let reply = proxy.ask_on(on, &Ask::post(&tag, &tag));
            assert_eq!((reply.status, reply.text()), (200, tag));
            let last = reply
                .header("connection")
                .is_some_and(|value| value.eq_ignore_ascii_case("close"));
            if last || !keep {
                wire = None;
            }
            self.answered.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Runs with a webhook.
    fn asynchronous(&self, proxy: &Raincheck, caller: &str, hook: &str) {
        for n in 0.. {
            if !self.goes_on() {
                return;
            }
            let tag = format!("/{caller}/{n}");
            let target = format!("{tag}?async=true&webhookEndpoint={hook}");
            let run = proxy.run(&Ask::post(target, &tag));
            self.runs.lock().expect("lock").push((run, tag));
            self.answered.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[test]
fn under_load_no_request_fails_and_every_run_ends_once() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |seen, answer| {
        if seen.target == "/slow" {
            wait.wait();
        }
        answer.ok(&seen.body)
    });
    let receiver = Server::fixed(200, "");
    let hook = encoded(&receiver.url("/"));
    let mut proxy = Setup::new(&upstream).start();
    let slow_target = format!("/slow?async=true&webhookEndpoint={hook}");
    let slow = proxy.run(&Ask::post(slow_target, "slow"));
    upstream.wait_for(1);
    let mut idle = proxy.wire();
    proxy.ask_on(&mut idle, &Ask::post("/idle/0", "first"));
    let load = Load::default();
    let mut older = Vec::new();
    for _ in 0..2 {
        let newer = thread::scope(|scope| {
            for caller in 0..2 {
                let (load, proxy, hook) = (&load, &proxy, &hook);
                let name = |kind: &str| format!("{kind}{caller}-{}", older.len());
                let (kept, fresh, run) = (name("kept"), name("fresh"), name("run"));
                scope.spawn(move || load.synchronous(proxy, &kept, true));
                scope.spawn(move || load.synchronous(proxy, &fresh, false));
                scope.spawn(move || load.asynchronous(proxy, &run, hook));
            }
            load.wait_for(EACH);
            let newer = proxy.hand_over();
            load.wait_for(EACH);
            load.over.store(true, Ordering::SeqCst);
            newer
        });
        older.push(proxy.follow(newer));
        load.over.store(false, Ordering::SeqCst);
    }
    let reply = proxy.ask_on(&mut idle, &Ask::post("/idle/1", "last"));
    assert_eq!(reply.text(), "last");
    assert_eq!(reply.header("connection"), Some("close"));
    idle.assert_closed();

    // The first process still has its slow run, and finishes it; nobody else has touched it.
    assert_eq!(proxy.record(&slow)["state"], "running");
    assert_eq!(older[1].wait().code(), Some(0));
    assert!(older[0].is_running());
    gate.open();
    let record = proxy.delivered(&slow);
    assert_eq!(
        (&record["state"], &record["attempts"]),
        (&"succeeded".into(), &1.into())
    );
    assert_eq!(older[0].wait().code(), Some(0));

    let runs = load.runs.into_inner().expect("lock");
    for (run, tag) in &runs {
        let record = proxy.delivered(run);
        assert_eq!(record["state"], "succeeded", "{record}");
        assert_eq!(record["delivery"]["state"], "delivered", "{record}");
        assert_eq!(proxy.response(run).text(), *tag);
    }
    let mut times: HashMap<String, usize> = HashMap::new();
    for seen in upstream.seen() {
        *times.entry(seen.target).or_default() += 1;
    }
    assert!(times.values().all(|times| *times == 1), "sent twice");
    assert_eq!(
        times.len(),
        load.answered.into_inner() + 3,
        "the slow run and the idle connection's two come on top"
    );
    let told: HashSet<_> = receiver.distinct_runs();
    assert_eq!(told.len(), runs.len() + 1);
    assert_balanced(&proxy.admin_get("/metrics").text());
}

#[test]
fn the_old_process_answers_what_it_was_asked_and_the_new_one_takes_what_is_queued() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |seen, answer| {
        if seen.target != "/queued" {
            wait.wait();
        }
        answer.ok("finished")
    });
    let mut proxy = Setup::new(&upstream)
        .set("route.async.concurrency", 1)
        .set("server.drain_timeout", "0s")
        .start();
    let running = proxy.run(&Ask::post("/running?async=true", "x"));
    upstream.wait_for(1);
    let queued = proxy.run(&Ask::post("/queued?async=true", "x"));
    let mut sync = proxy.wire();
    sync.send(Ask::get("/sync").bytes("a"));
    upstream.wait_for(2);
    let mut older = proxy.upgrade();
    assert_eq!(proxy.finished(&queued)["state"], "succeeded");
    assert_eq!(proxy.record(&running)["state"], "running");
    gate.open();
    assert_eq!(sync.reply().text(), "finished");
    sync.assert_closed();
    assert_eq!(older.wait().code(), Some(0));
    assert_eq!(proxy.finished(&running)["attempts"], 1);
    assert_eq!(upstream.seen().len(), 3);
}

#[test]
fn a_run_of_the_old_process_is_cancelled_through_the_new_one() {
    let upstream = Server::new(|_, answer| answer.until_closed());
    let mut proxy = Setup::new(&upstream).start();
    let run = proxy.run(&Ask::post("/?async=true", "x"));
    upstream.wait_for(1);
    let mut older = proxy.upgrade();
    assert_eq!(proxy.ask(&Ask::new("DELETE", &run.location)).status, 202);
    assert_eq!(proxy.finished(&run)["state"], "cancelled");
    // It ends only because its one run has.
    assert_eq!(older.wait().code(), Some(0));
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn sigquit_starts_the_new_process() {
    let upstream = Server::fixed(200, "here");
    let mut proxy = Setup::new(&upstream).start();
    let before = proxy.pid();
    proxy.signal(Signal::QUIT);
    assert_eq!(proxy.wait().code(), Some(0));
    assert_eq!(proxy.get("/").text(), "here");
    let slot = proxy.store_folder().join("slot-1.lock");
    let text = std::fs::read_to_string(slot).expect("slot");
    let newer: i32 = text.trim().parse().expect("pid");
    assert_ne!(u32::try_from(newer).expect("pid"), before);
    let run = proxy.run(&Ask::get("/?async=true"));
    assert_eq!(proxy.finished(&run)["state"], "succeeded");
    let newer = rustix::process::Pid::from_raw(newer).expect("pid");
    rustix::process::kill_process(newer, Signal::TERM).expect("signal");
    eventually("its end", || {
        std::net::TcpStream::connect(proxy.public())
            .is_err()
            .then_some(())
    });
}

#[test]
fn a_new_process_that_somebody_starts_along_with_sigquit_is_the_one() {
    let upstream = Server::fixed(200, "here");
    let mut proxy = Setup::new(&upstream).start();
    proxy.signal(Signal::QUIT);
    let mut older = proxy.upgrade();
    assert_eq!(older.wait().code(), Some(0));
    assert_eq!(proxy.get("/").text(), "here");
    assert_eq!(proxy.log().matches("raincheck starts").count(), 2);
}

#[test]
fn a_listener_that_is_no_longer_configured_is_closed_and_a_new_one_opened() {
    let upstream = Server::fixed(200, "here");
    let mut proxy = Setup::new(&upstream).start();
    let (before, after) = (proxy.admin(), free_port());
    let text = std::fs::read_to_string(proxy.config_file()).expect("read");
    let text = text.replace(&before.to_string(), &after.to_string());
    std::fs::write(proxy.config_file(), text).expect("write");
    let mut older = proxy.upgrade();
    proxy.admin_is_at(after);
    assert_eq!(proxy.admin_get("/readyz").status, 200);
    eventually("a closed listener", || {
        std::net::TcpStream::connect(before).is_err().then_some(())
    });
    assert_eq!(proxy.get("/").text(), "here");
    assert_eq!(older.wait().code(), Some(0));
}

#[test]
fn sigterm_ends_the_old_process_by_the_drains_time() {
    let upstream = Server::new(|seen, answer| match seen.header("raincheck-attempt") {
        Some("1") => answer.until_closed(),
        _ => answer.ok("again"),
    });
    let mut proxy = Setup::new(&upstream)
        .set("server.drain_timeout", "100ms")
        .start();
    let run = proxy.run(&Ask::get("/?async=true"));
    upstream.wait_for(1);
    let mut older = proxy.upgrade();
    older.signal(Signal::QUIT);
    assert_eq!(proxy.record(&run)["state"], "running");
    older.signal(Signal::TERM);
    assert_eq!(older.wait().code(), Some(0));
    let record = proxy.finished(&run);
    assert_eq!(
        (&record["state"], &record["attempts"]),
        (&"succeeded".into(), &2.into())
    );
}

#[test]
fn without_a_running_process_an_upgrade_is_an_ordinary_start() {
    let upstream = Server::fixed(200, "here");
    let mut proxy = Setup::new(&upstream).start();
    let run = proxy.run(&Ask::get("/?async=true"));
    proxy.finished(&run);
    proxy.kill();
    let child = proxy.spawn(&["--upgrade"]);
    proxy.is(child);
    eventually("ready", || {
        try_get(proxy.admin(), "/readyz").filter(|reply| reply.status == 200)
    });
    assert_eq!(proxy.finished(&run)["state"], "succeeded");
    proxy.terminate();
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(!proxy.store_folder().join("upgrade.sock").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_clients_are_told_to_go_and_lose_nothing() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |seen, answer| {
        if seen.target == "/slow" {
            wait.wait();
        }
        answer.ok(&seen.target)
    });
    let crate::http2::Tls { setup, client } = crate::http2::tls(&upstream);
    let mut proxy = setup.start_unkept();
    let base = format!("https://localhost:{}", proxy.public().port());
    let get = move |target: String| {
        let request = client.get(format!("{base}{target}"));
        async move {
            request
                .send()
                .await
                .expect("answer")
                .text()
                .await
                .expect("body")
        }
    };
    assert_eq!(get("/0".into()).await, "/0");
    let tasks = tokio_util::task::TaskTracker::new();
    let slow = tasks.spawn(get("/slow".into()));
    upstream.wait_for(2);
    let over = std::sync::Arc::new(AtomicBool::new(false));
    let asking = tasks.spawn({
        let (get, over) = (get.clone(), over.clone());
        async move {
            let mut n = 0;
            while !over.load(Ordering::SeqCst) {
                n += 1;
                assert_eq!(get(format!("/{n}")).await, format!("/{n}"));
            }
            n
        }
    });
    let mut older = tokio::task::block_in_place(|| proxy.upgrade());
    let before = upstream.seen().len();
    tokio::task::block_in_place(|| upstream.wait_for(before + 50));
    over.store(true, Ordering::SeqCst);
    let asked = asking.await.expect("asked");
    assert!(older.is_running());
    gate.open();
    assert_eq!(slow.await.expect("slow"), "/slow");
    // With its last answer the connection is over: nothing idles.
    let ended = tokio::task::block_in_place(|| older.wait());
    assert_eq!(ended.code(), Some(0));
    // This client may send a request again whose stream it opened as the GOAWAY came (hyper takes it for unsent).
    let seen: HashSet<_> = upstream.seen().into_iter().map(|s| s.target).collect();
    assert_eq!(seen.len(), asked + 2);
}

#[test]
fn systemd_is_told_of_the_main_process() {
    let upstream = Server::fixed(200, "");
    let mut proxy = Setup::new(&upstream).start();
    proxy.terminate();
    proxy.wait();
    let socket = proxy.folder().join("notify");
    let systemd = std::os::unix::net::UnixDatagram::bind(&socket).expect("bind");
    let told = || {
        let mut text = [0; 256];
        let length = systemd.recv(&mut text).expect("a word");
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    let mut old = std::process::Command::new(PROGRAM)
        .args(["serve", "--config"])
        .arg(proxy.config_file())
        .current_dir(proxy.folder())
        .env("NOTIFY_SOCKET", &socket)
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("start");
    let signal = |pid: u32, signal| {
        let pid = i32::try_from(pid).ok();
        let pid = pid.and_then(rustix::process::Pid::from_raw).expect("pid");
        rustix::process::kill_process(pid, signal).expect("signal");
    };
    assert_eq!(told(), "READY=1");
    signal(old.id(), Signal::QUIT);
    let main = told();
    let newer: u32 = main
        .strip_prefix("MAINPID=")
        .and_then(|pid| pid.parse().ok())
        .expect("MAINPID");
    assert_eq!(told(), "READY=1");
    assert_eq!(old.wait().expect("wait").code(), Some(0));
    signal(newer, Signal::TERM);
    assert_eq!(told(), "STOPPING=1");
    eventually("its end", || {
        std::net::TcpStream::connect(proxy.public())
            .is_err()
            .then_some(())
    });
}

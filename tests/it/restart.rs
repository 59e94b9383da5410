//! kill -9, again and again, under load: nothing that was answered 202 is lost, and no POST is sent twice.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::harness::{Ask, Gate, RunHandle, Server, Setup, assert_balanced, encoded};

const KILLS: usize = 6;
const RUNS_BETWEEN: usize = 40;
const CALLERS: usize = 4;

#[test]
fn kill_9_in_a_loop_loses_nothing() {
    let upstream = Server::new(|seen, answer| answer.ok(&seen.body));
    let receiver = Server::fixed(200, "");
    let hook = encoded(&receiver.url("/"));
    let mut proxy = Setup::new(&upstream).start();
    let accepted: Mutex<Vec<(RunHandle, String)>> = Mutex::new(Vec::new());
    for number in 0..KILLS {
        let target = accepted.lock().expect("lock").len() + RUNS_BETWEEN;
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for caller in 0..CALLERS {
                let (proxy, accepted, over, hook) = (&proxy, &accepted, &over, &hook);
                scope.spawn(move || {
                    let mut wire = proxy.wire();
                    for n in 0.. {
                        let method = if n % 2 == 0 { "POST" } else { "GET" };
                        let tag = format!("{number}-{caller}-{n}");
                        let ask =
                            Ask::new(method, format!("/{tag}?async=true&webhookEndpoint={hook}"));
                        // Killed midway, a caller has no answer: that run may or may not exist.
                        let Ok(reply) = proxy.try_ask(&mut wire, &ask) else {
                            return;
                        };
                        assert_eq!(reply.status, 202, "{}", reply.text());
                        accepted
                            .lock()
                            .expect("lock")
                            .push((RunHandle::of(&reply), format!("/{tag}")));
                        if over.load(Ordering::SeqCst) {
                            return;
                        }
                    }
                });
            }
            crate::harness::eventually("accepted runs", || {
                (accepted.lock().expect("lock").len() >= target).then_some(())
            });
            let pid = i32::try_from(proxy.pid())
                .ok()
                .and_then(rustix::process::Pid::from_raw);
            rustix::process::kill_process(pid.expect("pid"), rustix::process::Signal::KILL)
                .expect("kill");
            over.store(true, Ordering::SeqCst);
        });
        proxy.wait();
        proxy.start();
    }
    let accepted = accepted.into_inner().expect("lock");
    assert!(accepted.len() >= KILLS * RUNS_BETWEEN);
    for (run, path) in &accepted {
        let record = proxy.delivered(run);
        assert_eq!(record["path"], path.as_str());
        assert_eq!(record["delivery"]["state"], "delivered");
        match record["state"].as_str() {
            Some("succeeded") => {}
            Some("failed") => {
                assert_eq!(record["reason"], "interrupted");
                assert_eq!(record["method"], "POST");
            }
            other => panic!("{other:?}"),
        }
    }
    let mut posts: HashMap<String, usize> = HashMap::new();
    for seen in upstream.seen().iter().filter(|seen| seen.method == "POST") {
        *posts.entry(seen.target.clone()).or_default() += 1;
    }
    assert!(
        posts.values().all(|times| *times == 1),
        "a POST was sent twice: {posts:?}"
    );
    let told: HashSet<_> = receiver.distinct_runs();
    for (run, _) in &accepted {
        assert!(told.contains(&run.id), "no webhook for {}", run.id);
    }
    // One final state each: what the receiver was told more than once is the same each time.
    let mut states: HashMap<String, HashSet<String>> = HashMap::new();
    for seen in receiver.seen() {
        let state = seen
            .header("raincheck-run-state")
            .expect("state")
            .to_owned();
        states
            .entry(seen.run_id().to_owned())
            .or_default()
            .insert(state);
    }
    assert!(
        states.values().all(|states| states.len() == 1),
        "{states:?}"
    );
    assert_balanced(&proxy.admin_get("/metrics").text());
    assert_eq!(
        proxy.metric("raincheck_store_runs", &[("state", "running")]),
        0.0
    );
}

#[test]
fn queued_runs_survive_and_keep_their_order() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |_, answer| {
        wait.wait();
        answer.ok("")
    });
    let mut proxy = Setup::new(&upstream)
        .set("route.async.concurrency", 1)
        .start();
    let first = proxy.run(&Ask::get("/0?async=true"));
    upstream.wait_for(1);
    let rest: Vec<_> = (1..10)
        .map(|n| proxy.run(&Ask::post(format!("/{n}?async=true"), "x")))
        .collect();
    proxy.kill();
    gate.open();
    proxy.start();
    for run in rest.iter().chain([&first]) {
        assert_eq!(proxy.finished(run)["state"], "succeeded");
    }
    let order: Vec<_> = upstream
        .seen()
        .into_iter()
        .filter(|s| s.method == "POST")
        .map(|s| s.target)
        .collect();
    let expected: Vec<_> = (1..10).map(|n| format!("/{n}")).collect();
    assert_eq!(order, expected);
}

#[test]
fn a_run_that_a_start_finds_interrupted_is_counted() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |_, answer| {
        wait.wait();
        answer.ok("")
    });
    let mut proxy = Setup::new(&upstream).start();
    let run = proxy.run(&Ask::post("/?async=true", "x"));
    upstream.wait_for(1);
    proxy.kill();
    gate.open();
    proxy.start();
    assert_eq!(proxy.finished(&run)["reason"], "interrupted");
    let labels = [("route", "app"), ("reason", "interrupted")];
    assert_eq!(proxy.metric("raincheck_runs_finished_total", &labels), 1.0);
}

#[test]
fn a_finished_runs_response_survives() {
    let upstream = Server::fixed(200, "kept");
    let mut proxy = Setup::new(&upstream).start();
    let run = proxy.run(&Ask::get("/?async=true"));
    let before = proxy.finished(&run);
    proxy.kill();
    proxy.start();
    assert_eq!(proxy.record(&run), before);
    assert_eq!(proxy.response(&run).text(), "kept");
}

#[test]
fn a_pending_delivery_survives() {
    let upstream = Server::fixed(200, "kept");
    let address = crate::harness::free_port();
    let mut proxy = Setup::new(&upstream)
        .set("webhook.schedule", vec!["0s", "1s", "1s", "1s", "1s"])
        .start();
    let hook = encoded(&format!("http://{address}/"));
    let run = proxy.run(&Ask::get(format!("/?async=true&webhookEndpoint={hook}")));
    proxy.record_when(&run, "a failed attempt", |record| {
        record["delivery"]["attempts"].as_u64() >= Some(1)
    });
    proxy.kill();
    let receiver = Server::on(address, |_, answer| answer.ok(""));
    proxy.start();
    assert_eq!(proxy.delivered(&run)["delivery"]["state"], "delivered");
    assert_eq!(receiver.wait_for(1)[0].body, b"kept");
}

//! SIGTERM

use rustix::process::Signal;

use crate::harness::{Ask, Gate, Server, Setup, eventually, try_get};

#[test]
fn an_idle_proxy_is_gone_at_once() {
    let upstream = Server::fixed(200, "");
    let mut proxy = Setup::new(&upstream)
        .set("server.drain_timeout", "12h")
        .start();
    let run = proxy.run(&Ask::get("/?async=true"));
    proxy.finished(&run);
    // An idle keep-alive connection holds nobody up.
    let mut idle = proxy.wire();
    proxy.ask_on(&mut idle, &Ask::get("/"));
    proxy.terminate();
    assert_eq!(proxy.wait().code(), Some(0));
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn a_running_run_and_a_synchronous_request_finish_and_queued_ones_wait_for_the_next_start() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |_, answer| {
        wait.wait();
        answer.ok("finished")
    });
    let mut proxy = Setup::new(&upstream)
        .set("route.async.concurrency", 1)
        .start();
    let running = proxy.run(&Ask::post("/running?async=true", "x"));
    upstream.wait_for(1);
    let queued = proxy.run(&Ask::post("/queued?async=true", "x"));
    let mut sync = proxy.wire();
    sync.send(Ask::get("/sync").bytes("a"));
    upstream.wait_for(2);
    proxy.terminate();
    eventually("not ready", || {
        let ready = try_get(proxy.admin(), "/readyz");
        ready.is_none_or(|reply| reply.status == 503).then_some(())
    });
    eventually("closed listeners", || {
        std::net::TcpStream::connect(proxy.public())
            .is_err()
            .then_some(())
    });
    gate.open();
    assert_eq!(sync.reply().text(), "finished");
    assert_eq!(proxy.wait().code(), Some(0));
    assert_eq!(
        upstream.seen().len(),
        2,
        "the queued run was not started during the drain"
    );
    proxy.start();
    let record = proxy.finished(&running);
    assert_eq!(
        (&record["state"], &record["attempts"]),
        (&"succeeded".into(), &1.into())
    );
    assert_eq!(proxy.finished(&queued)["state"], "succeeded");
    assert_eq!(upstream.seen().len(), 3);
}

#[test]
fn at_the_end_of_the_drain_the_repeat_rule_decides() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |seen, answer| {
        if seen.header("raincheck-attempt") == Some("1") {
            wait.wait();
        }
        answer.ok("fine")
    });
    let mut proxy = Setup::new(&upstream)
        .set("server.drain_timeout", "200ms")
        .start();
    let get = proxy.run(&Ask::get("/?async=true"));
    let post = proxy.run(&Ask::post("/?async=true", "x"));
    upstream.wait_for(2);
    proxy.terminate();
    assert_eq!(proxy.wait().code(), Some(0));
    proxy.start();
    assert_eq!(proxy.finished(&get)["state"], "succeeded");
    assert_eq!(proxy.finished(&post)["reason"], "interrupted");
    assert_eq!(
        upstream
            .seen()
            .iter()
            .filter(|s| s.method == "POST")
            .count(),
        1
    );
    gate.open();
}

#[test]
fn an_attempt_of_which_nothing_was_sent_is_queued_again() {
    let address = crate::harness::free_port();
    let mut proxy = Setup::to(&address.to_string())
        .set("server.drain_timeout", "100ms")
        .start();
    let post = proxy.run(&Ask::post("/?async=true", "x"));
    proxy.record_when(&post, "an attempt", |record| {
        record["attempts"].as_u64() >= Some(1)
    });
    proxy.terminate();
    assert_eq!(proxy.wait().code(), Some(0));
    let upstream = Server::on(address, |_, answer| answer.ok(""));
    proxy.start();
    assert_eq!(proxy.finished(&post)["state"], "succeeded");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn sigint_stops_as_well() {
    let upstream = Server::fixed(200, "");
    let mut proxy = Setup::new(&upstream).start();
    proxy.signal(Signal::INT);
    assert_eq!(proxy.wait().code(), Some(0));
}

//! Slots and queues.

use crate::harness::{Ask, Gate, Server, Setup};

#[test]
fn never_more_than_concurrency_at_a_time_and_first_come_first_served() {
    let gates: Vec<_> = (0..6).map(|_| Gate::shut()).collect();
    let waits = gates.clone();
    let upstream = Server::new(move |seen, answer| {
        waits[seen.nth].wait();
        answer.ok("")
    });
    let proxy = Setup::new(&upstream)
        .set("route.async.concurrency", 2)
        .start();
    let runs: Vec<_> = (0..6)
        .map(|n| proxy.run(&Ask::post("/?async=true", n.to_string())))
        .collect();
    upstream.wait_for(2);
    assert_eq!(
        proxy.metric("raincheck_runs_running", &[("route", "app")]),
        2.0
    );
    assert_eq!(
        proxy.metric("raincheck_store_runs", &[("state", "queued")]),
        4.0
    );
    for (n, gate) in gates.iter().enumerate() {
        let seen = upstream.wait_for((n + 2).min(6));
        assert!(seen.len() <= n + 2, "{} at once", seen.len() - n);
        gate.open();
    }
    for run in &runs {
        assert_eq!(proxy.finished(run)["state"], "succeeded");
    }
    let mut order: Vec<_> = upstream
        .seen()
        .iter()
        .map(super::harness::Seen::text)
        .collect();
    order[..2].sort();
    assert_eq!(order, ["0", "1", "2", "3", "4", "5"]);
}

#[test]
fn a_busy_route_does_not_hold_up_another() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let busy = Server::new(move |_, answer| {
        wait.wait();
        answer.ok("")
    });
    let free = Server::fixed(200, "");
    let proxy = Setup::new(&busy)
        .set("route.async.concurrency", 1)
        .add(&format!(
            "[upstream.free]\npeers=['{}']\n[[route]]\npath='/free'\nupstream='free'\n[route.async]",
            free.address()
        ))
        .start();
    let stuck: Vec<_> = (0..20)
        .map(|_| proxy.run(&Ask::get("/?async=true")))
        .collect();
    let quick = proxy.run(&Ask::get("/free?async=true"));
    assert_eq!(proxy.finished(&quick)["state"], "succeeded");
    assert_eq!(proxy.get("/free").status, 200);
    gate.open();
    for run in &stuck {
        proxy.finished(run);
    }
}

//! Requests for a run that are refused for what the store or the route holds at the moment, or for a loop.

use crate::harness::{Ask, Gate, Server, Setup};

#[test]
fn too_many_unfinished_runs_are_429() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |_, answer| {
        wait.wait();
        answer.ok("")
    });
    let proxy = Setup::new(&upstream)
        .set("limits.unfinished_runs", 2)
        .start();
    let runs = [
        proxy.run(&Ask::get("/?async=true")),
        proxy.run(&Ask::get("/?async=true")),
    ];
    let reply = proxy.get("/?async=true");
    reply.problem(429, "too-many-runs");
    assert!(reply.header("retry-after").is_some());
    let labels = [("route", "app"), ("code", "too-many-runs")];
    assert_eq!(proxy.metric("raincheck_runs_rejected_total", &labels), 1.0);
    gate.open();
    for run in &runs {
        proxy.finished(run);
    }
    proxy.run(&Ask::get("/?async=true"));
}

#[test]
fn a_request_that_goes_round_and_round_is_508() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let run = proxy.run(&Ask::get("/?async=true"));
    proxy.finished(&run);
    let mark = upstream.only().header("cdn-loop").expect("mark").to_owned();
    let round = |times: usize| {
        let ask = Ask::get("/?async=true").header("CDN-Loop", vec![mark.clone(); times].join(", "));
        proxy.ask(&ask)
    };
    assert_eq!(round(1).status, 202);
    assert_eq!(round(3).status, 202);
    round(4).problem(508, "loop-detected");
    let others = Ask::get("/?async=true").header("CDN-Loop", "a, b, c, d, e, f");
    assert_eq!(proxy.ask(&others).status, 202);
}

//! `DELETE /runs/{id}`

use crate::harness::{Ask, Gate, Server, Setup, encoded};

#[test]
fn a_queued_run_ends_at_once_and_is_never_sent() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |_, answer| {
        wait.wait();
        answer.ok("")
    });
    let proxy = Setup::new(&upstream)
        .set("route.async.concurrency", 1)
        .start();
    let first = proxy.run(&Ask::get("/first?async=true"));
    upstream.wait_for(1);
    let second = proxy.run(&Ask::get("/second?async=true"));
    let reply = proxy.ask(&Ask::new("DELETE", &second.location));
    assert_eq!(reply.status, 202);
    assert_eq!(reply.json()["state"], "cancelled");
    assert_eq!(reply.header("raincheck-run-state"), Some("cancelled"));
    let record = proxy.record(&second);
    assert_eq!(
        (&record["state"], &record["success"]),
        (&"cancelled".into(), &false.into())
    );
    proxy.response(&second).problem(409, "run-cancelled");
    gate.open();
    proxy.finished(&first);
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_running_run_is_cancelled_by_closing_its_upstream_connection() {
    let closed = Gate::shut();
    let open = closed.clone();
    let upstream = Server::new(move |_, answer| {
        answer.until_closed()?;
        open.open();
        Ok(())
    });
    let receiver = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let url = encoded(&receiver.url("/"));
    let run = proxy.run(&Ask::get(format!("/?async=true&webhookEndpoint={url}")));
    upstream.wait_for(1);
    let reply = proxy.ask(&Ask::new("DELETE", &run.location));
    assert_eq!(
        (reply.status, reply.json()["state"].clone()),
        (202, "cancelled".into())
    );
    closed.wait();
    // Again, it is the same answer; the webhook is told.
    assert_eq!(proxy.ask(&Ask::new("DELETE", &run.location)).status, 202);
    let seen = receiver.only();
    assert_eq!(seen.header("raincheck-run-state"), Some("cancelled"));
    assert_eq!(proxy.record(&run)["state"], "cancelled");
}

#[test]
fn a_finished_run_cannot_be_cancelled() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let run = proxy.run(&Ask::get("/?async=true"));
    proxy.finished(&run);
    let reply = proxy.ask(&Ask::new("DELETE", &run.location));
    reply.problem(409, "run-finished");
    assert_eq!(proxy.record(&run)["state"], "succeeded");
}

#[test]
fn who_may_not_look_may_not_cancel() {
    let upstream = Server::new(|_, answer| answer.until_closed());
    let proxy = Setup::new(&upstream).start();
    let run = proxy.run(&Ask::get("/?async=true").header("Authorization", "Bearer a"));
    proxy
        .ask(&Ask::new("DELETE", run.bare()))
        .problem(404, "unknown-run");
    assert_ne!(proxy.record(&run)["state"], "cancelled");
}

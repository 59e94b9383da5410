//! What is sent again, and what never.

use crate::harness::{Ask, Gate, Server, Setup};

fn flaky(good_from: usize, status: u16) -> Server {
    Server::new(move |seen, answer| {
        if seen.nth >= good_from {
            answer.ok("good")
        } else {
            answer.reply(status, &[("Retry-After", "0")], "bad")
        }
    })
}

#[test]
fn idempotent_requests_are_repeated_up_to_attempts() {
    let upstream = flaky(2, 503);
    let proxy = Setup::new(&upstream).set("route.async.attempts", 3).start();
    let run = proxy.run(&Ask::get("/?async=true"));
    let record = proxy.finished(&run);
    assert_eq!(
        (&record["state"], &record["attempts"]),
        (&"succeeded".into(), &3.into())
    );
    let attempts: Vec<_> = upstream
        .seen()
        .iter()
        .map(|s| s.header("raincheck-attempt").unwrap().to_owned())
        .collect();
    assert_eq!(attempts, ["1", "2", "3"]);
    let runs: std::collections::HashSet<_> = upstream.distinct_runs();
    assert_eq!(runs.len(), 1);
}

#[test]
fn the_last_attempts_response_counts() {
    let upstream = flaky(9, 503);
    let proxy = Setup::new(&upstream).set("route.async.attempts", 2).start();
    let run = proxy.run(&Ask::get("/?async=true"));
    let record = proxy.finished(&run);
    assert_eq!(record["reason"], "upstream_status");
    assert_eq!(upstream.seen().len(), 2);
    assert_eq!(proxy.response(&run).status, 503);
}

#[test]
fn a_post_is_not_repeated_unless_the_route_says_so() {
    let upstream = flaky(1, 503);
    let proxy = Setup::new(&upstream).set("route.async.attempts", 3).start();
    let run = proxy.run(&Ask::post("/?async=true", "x"));
    assert_eq!(proxy.finished(&run)["reason"], "upstream_status");
    assert_eq!(upstream.seen().len(), 1);

    let upstream = flaky(1, 503);
    let proxy = Setup::new(&upstream)
        .set("route.async.attempts", 3)
        .set("route.async.repeat", "always")
        .start();
    let run = proxy.run(&Ask::post("/?async=true", "x".repeat(200_000)));
    assert_eq!(proxy.finished(&run)["state"], "succeeded");
    assert_eq!(upstream.seen()[1].body.len(), 200_000);
}

#[test]
fn with_key_repeats_what_has_a_key() {
    let upstream = flaky(1, 503);
    let proxy = Setup::new(&upstream)
        .set("route.async.attempts", 2)
        .set("route.async.repeat", "with_key")
        .start();
    let keyed = proxy.run(&Ask::post("/?async=true", "x").header("Idempotency-Key", "k"));
    assert_eq!(proxy.finished(&keyed)["state"], "succeeded");
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn other_statuses_are_not_repeated() {
    let upstream = flaky(1, 500);
    let proxy = Setup::new(&upstream).set("route.async.attempts", 3).start();
    let run = proxy.run(&Ask::get("/?async=true"));
    proxy.finished(&run);
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn never_means_never() {
    let upstream = flaky(1, 503);
    let proxy = Setup::new(&upstream)
        .set("route.async.attempts", 3)
        .set("route.async.repeat", "never")
        .start();
    let run = proxy.run(&Ask::get("/?async=true"));
    proxy.finished(&run);
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_stale_connection_is_forgiven_once_where_repeating_is_allowed() {
    // The first answer leaves the connection open; the second request on it is met by a close.
    let upstream = Server::new(|seen, answer| {
        if seen.nth == 1 {
            return answer.close();
        }
        answer.ok("fine")
    });
    let proxy = Setup::new(&upstream).start();
    let first = proxy.run(&Ask::get("/?async=true"));
    proxy.finished(&first);
    let second = proxy.run(&Ask::get("/?async=true"));
    assert_eq!(proxy.finished(&second)["state"], "succeeded");
    assert_eq!(upstream.seen().len(), 3);
}

#[test]
fn a_post_on_a_stale_connection_is_interrupted_not_repeated() {
    let upstream = Server::new(|seen, answer| {
        if seen.nth == 1 {
            return answer.close();
        }
        answer.ok("fine")
    });
    let proxy = Setup::new(&upstream).start();
    let first = proxy.run(&Ask::post("/?async=true", "a"));
    proxy.finished(&first);
    let second = proxy.run(&Ask::post("/?async=true", "b"));
    let record = proxy.finished(&second);
    assert_eq!(
        (&record["state"], &record["reason"]),
        (&"failed".into(), &"interrupted".into())
    );
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn interrupted_by_kill_9_a_get_is_repeated_and_a_post_is_not() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |seen, answer| {
        if seen.header("raincheck-attempt") == Some("1") {
            wait.wait();
        }
        answer.ok("fine")
    });
    let mut proxy = Setup::new(&upstream).start();
    let get = proxy.run(&Ask::get("/?async=true"));
    let post = proxy.run(&Ask::post("/?async=true", "x"));
    upstream.wait_for(2);
    proxy.kill();
    proxy.start();
    assert_eq!(proxy.finished(&get)["state"], "succeeded");
    let record = proxy.finished(&post);
    assert_eq!(
        (&record["state"], &record["reason"]),
        (&"failed".into(), &"interrupted".into())
    );
    proxy.response(&post).problem(502, "interrupted");
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
fn the_third_interruption_ends_any_run() {
    let upstream = Server::new(|_, answer| answer.until_closed());
    let mut proxy = Setup::new(&upstream).start();
    let run = proxy.run(&Ask::get("/?async=true"));
    for n in 1..=3 {
        upstream.wait_for(n);
        proxy.kill();
        proxy.start();
    }
    let record = proxy.finished(&run);
    assert_eq!(record["reason"], "interrupted");
    assert_eq!(upstream.seen().len(), 3);
}

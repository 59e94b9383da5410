//! What becomes of a run when its upstream misbehaves: state, reason, and the response in its place.

use serde_json::{Value, json};

use crate::harness::{Ask, Gate, Reply, Server, Setup, free_port};

/// Carries one run out, and returns its record and its response.
fn ended(setup: Setup, ask: &Ask) -> (Value, Reply) {
    let proxy = setup.start();
    let run = proxy.run(ask);
    let record = proxy.finished(&run);
    let response = proxy.response(&run);
    let labels = [
        ("route", "app"),
        ("state", record["state"].as_str().expect("state")),
    ];
    assert_eq!(proxy.metric("raincheck_runs_finished_total", &labels), 1.0);
    (record, response)
}

fn assert_failed(ended: &(Value, Reply), reason: &str, status: u16) {
    let (record, response) = ended;
    assert_eq!(record["state"], "failed");
    assert_eq!(record["success"], false);
    assert_eq!(record["reason"], reason);
    response.problem(status, &reason.replace('_', "-"));
    assert_eq!(response.json()["run_id"], record["run_id"]);
    assert_eq!(record["response"]["status"], status);
}

fn post() -> Ask {
    Ask::post("/?async=true", "x")
}

#[test]
fn a_status_below_400_is_a_success() {
    for status in [200, 204, 302, 399] {
        let upstream = Server::new(move |_, answer| answer.reply(status, &[], ""));
        let (record, response) = ended(Setup::new(&upstream), &post());
        assert_eq!(
            (&record["state"], &record["success"]),
            (&json!("succeeded"), &json!(true))
        );
        assert_eq!(record["reason"], Value::Null);
        assert_eq!(response.status, status);
    }
}

#[test]
fn a_status_from_400_is_a_failure_whose_response_is_the_upstreams() {
    for status in [400, 404, 500, 503] {
        let upstream = Server::fixed(status, "their words");
        let (record, response) = ended(Setup::new(&upstream), &post());
        assert_eq!(record["reason"], "upstream_status");
        assert_eq!(
            (response.status, response.text()),
            (status, "their words".into())
        );
        assert_eq!(response.header("raincheck-error"), None);
        assert_eq!(record["attempts"], 1);
        assert_eq!(upstream.seen().len(), 1);
    }
}

#[test]
fn success_statuses_can_say_otherwise() {
    let upstream = Server::fixed(404, "gone is fine");
    let setup = Setup::new(&upstream).set("route.async.success_statuses", vec!["200-299", "404"]);
    assert_eq!(ended(setup, &post()).0["state"], "succeeded");
    let upstream = Server::new(|_, answer| answer.reply(302, &[("Location", "/x")], ""));
    let setup = Setup::new(&upstream).set("route.async.success_statuses", vec!["200-299"]);
    assert_eq!(ended(setup, &post()).0["reason"], "upstream_status");
}

#[test]
fn an_upstream_that_refuses_is_tried_until_the_grace_period_is_over() {
    let setup =
        Setup::to(&free_port().to_string()).set("route.async.response_grace_period", "1500ms");
    let ended = ended(setup, &post());
    assert_failed(&ended, "unreachable", 502);
    assert!(ended.0["attempts"].as_u64().expect("attempts") >= 2);
}

#[test]
fn an_upstream_that_comes_up_late_gets_the_run() {
    let address = free_port();
    let proxy = Setup::to(&address.to_string()).start();
    let run = proxy.run(&post());
    proxy.record_when(&run, "a first attempt", |record| {
        record["attempts"].as_u64() >= Some(1)
    });
    let upstream = Server::on(address, |_, answer| answer.ok("late"));
    assert_eq!(proxy.finished(&run)["state"], "succeeded");
    assert_eq!(upstream.only().body, b"x");
    assert_eq!(proxy.response(&run).text(), "late");
}

#[test]
fn an_upstream_that_hangs_is_a_timeout_and_its_connection_is_closed() {
    let closed = Gate::shut();
    let open = closed.clone();
    let upstream = Server::new(move |_, answer| {
        answer.until_closed()?;
        open.open();
        Ok(())
    });
    let setup = Setup::new(&upstream).set("route.async.response_grace_period", "300ms");
    assert_failed(&ended(setup, &post()), "timeout", 504);
    closed.wait();
}

#[test]
fn an_upstream_that_stalls_midway_is_a_timeout() {
    let upstream = Server::new(|_, answer| {
        answer.raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")?;
        answer.until_closed()
    });
    let setup = Setup::new(&upstream).set("route.async.response_grace_period", "300ms");
    assert_failed(&ended(setup, &post()), "timeout", 504);
}

#[test]
fn an_upstream_that_closes_without_an_answer_is_broken() {
    let upstream = Server::new(|_, answer| answer.close());
    assert_failed(&ended(Setup::new(&upstream), &post()), "broken", 502);
    assert_eq!(upstream.seen().len(), 1, "a POST is not repeated");
}

#[test]
fn an_upstream_that_closes_midway_is_broken() {
    for start in [
        "HTTP/1.1 200 OK\r\nContent-",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let upstream = Server::new(move |_, answer| {
            answer.raw(start)?;
            answer.close()
        });
        assert_failed(&ended(Setup::new(&upstream), &post()), "broken", 502);
    }
}

#[test]
fn an_answer_that_is_no_http_is_broken() {
    let upstream = Server::new(|_, answer| {
        answer.raw("nonsense\r\n\r\n")?;
        answer.close()
    });
    assert_failed(&ended(Setup::new(&upstream), &post()), "broken", 502);
}

#[test]
fn an_answer_ended_by_the_connections_end_is_whole() {
    let upstream = Server::new(|_, answer| {
        answer.raw("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end")?;
        answer.close()
    });
    let (record, response) = ended(Setup::new(&upstream), &post());
    assert_eq!(record["state"], "succeeded");
    assert_eq!(response.text(), "until the end");
}

#[test]
fn an_answer_longer_than_its_length_is_cut_at_it() {
    let upstream = Server::new(|_, answer| {
        answer.raw("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef")?;
        answer.close()
    });
    let (record, response) = ended(Setup::new(&upstream), &post());
    assert_eq!(record["state"], "succeeded");
    assert_eq!(response.text(), "abc");
}

#[test]
fn an_answer_over_the_limit_fails_and_its_connection_is_closed() {
    let upstream = Server::new(|_, answer| {
        answer.raw("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
        while answer.raw([b'x'; 65_536]).is_ok() {}
        answer.close()
    });
    let setup = || Setup::new(&upstream).set("limits.response_body", "1 MiB");
    assert_failed(&ended(setup(), &post()), "response_too_large", 502);
    let upstream = Server::new(|_, answer| {
        answer.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        while answer
            .raw(format!("10000\r\n{}\r\n", "x".repeat(65_536)))
            .is_ok()
        {}
        answer.close()
    });
    let setup = Setup::new(&upstream).set("limits.response_body", "1 MiB");
    assert_failed(&ended(setup, &post()), "response_too_large", 502);
}

#[test]
fn long_answers_below_the_limit_are_kept_whole() {
    let body: Vec<u8> = (0..1_500_000).map(|n| (n % 249) as u8).collect();
    let sent = body.clone();
    let upstream = Server::new(move |_, answer| answer.ok(&sent));
    let (record, response) = ended(Setup::new(&upstream), &post());
    assert_eq!(record["response"]["bytes"], 1_500_000);
    assert!(response.body == body);
    assert_eq!(response.header("content-length"), Some("1500000"));
}

#[test]
fn interim_answers_and_trailers_are_dropped() {
    let upstream = Server::new(|_, answer| {
        answer
            .raw("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")?;
        answer.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n")
    });
    let (record, response) = ended(Setup::new(&upstream), &post());
    assert_eq!(record["state"], "succeeded");
    assert_eq!((response.status, response.text()), (200, "abc".into()));
    assert!(response.interim.is_empty());
    assert_eq!(response.header("x-t"), None);
}

#[test]
fn a_run_that_waits_for_too_long_expires() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |_, answer| {
        wait.wait();
        answer.ok("")
    });
    let proxy = Setup::new(&upstream)
        .set("route.async.concurrency", 1)
        .set("route.async.max_queue_time", "1s")
        .start();
    let first = proxy.run(&post());
    upstream.wait_for(1);
    let second = proxy.run(&post());
    let record = proxy.finished(&second);
    assert_eq!(record["reason"], "expired");
    assert_eq!(record["started_at"], Value::Null);
    proxy.response(&second).problem(503, "expired");
    gate.open();
    assert_eq!(proxy.finished(&first)["state"], "succeeded");
    assert_eq!(upstream.seen().len(), 1);
}

//! `convert_after`: a slow call becomes a run; a fast one is passed through as if nothing were.

use crate::harness::{Ask, Gate, Raincheck, RunHandle, Server, Setup, encoded, eventually};

pub(crate) const SOON: &str = "50ms";
pub(crate) const LATE: &str = "10m";

/// An upstream that answers what it was sent once the gate is open.
pub(crate) fn gated() -> (Gate, Server) {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |seen, answer| {
        wait.wait();
        answer.ok(format!("{} {}", seen.target, seen.text()))
    });
    (gate, upstream)
}

pub(crate) fn converting(upstream: &Server, after: &str) -> Setup {
    Setup::new(upstream).set("route.async.convert_after", after)
}

pub(crate) fn accepted(proxy: &Raincheck) -> f64 {
    proxy.metric("raincheck_store_runs_accepted", &[])
}

#[test]
fn a_slow_call_becomes_a_run_without_a_second_one() {
    let (gate, upstream) = gated();
    let proxy = converting(&upstream, SOON).start();
    let mut wire = proxy.wire();
    let reply = proxy.ask_on(&mut wire, &Ask::post("/work?x=1&async=no", "body"));
    assert_eq!(reply.status, 202);
    let run = RunHandle::of(&reply);
    assert_eq!(reply.text(), format!("{{\"run_id\":\"{}\"}}\n", run.id));
    assert_eq!(reply.header("preference-applied"), None);
    let record = proxy.record(&run);
    assert_eq!(record["state"], "running");
    assert_eq!(
        (&record["async"], &record["dialect"], &record["attempts"]),
        (&true.into(), &"cerebrium".into(), &1.into())
    );
    gate.open();
    assert_eq!(proxy.finished(&run)["state"], "succeeded");
    let response = proxy.response(&run);
    assert_eq!(
        (response.status, response.text()),
        (200, "/work?x=1&async=no body".into())
    );
    // The caller's connection is still good.
    assert_eq!(proxy.ask_on(&mut wire, &Ask::get("/next")).status, 200);
    let seen = upstream.wait_for(2);
    assert_eq!(seen.len(), 2, "one call for each request");
    assert_eq!(accepted(&proxy), 1.0);
    assert_eq!(
        proxy.metric("raincheck_runs_accepted_total", &[("dialect", "cerebrium")]),
        1.0
    );
    // The application cannot know of a run that is none yet.
    for (name, _) in &seen[0].headers {
        assert!(!name.to_lowercase().starts_with("raincheck-"), "{name}");
    }
    let passed = proxy.metric("raincheck_requests_total", &[("route", "app")]);
    assert_eq!(passed, 1.0, "the run is no pass-through");
}

#[test]
fn a_call_that_is_answered_in_time_leaves_nothing() {
    let upstream = Server::new(|seen, answer| {
        answer.reply(
            201,
            &[
                ("X-Seen", seen.header("accept-encoding").unwrap_or_default()),
                ("Preference-Applied", "return=minimal"),
            ],
            format!("{} {}", seen.target, seen.text()),
        )
    });
    let proxy = converting(&upstream, LATE).start();
    let mut wire = proxy.wire();
    let ask = Ask::post("/a?async=no&b", "hello")
        .header("Accept-Encoding", "gzip")
        .header("Range", "bytes=0-1")
        .header("If-None-Match", "\"x\"")
        .header("Prefer", "return=minimal, foo=bar")
        .header("X-Webhook-Secret", "application's own")
        .header("Raincheck-Run-Id", "forged");
    for _ in 0..2 {
        let reply = proxy.ask_on(&mut wire, &ask);
        assert_eq!(
            (reply.status, reply.text()),
            (201, "/a?async=no&b hello".into())
        );
        assert_eq!(reply.header("x-seen"), Some("gzip"));
        assert_eq!(reply.header("content-length"), Some("19"));
        assert_eq!(reply.header("preference-applied"), Some("return=minimal"));
        assert_eq!(reply.header("raincheck-run-id"), None);
    }
    let seen = &upstream.wait_for(2)[1];
    assert_eq!(seen.header("range"), Some("bytes=0-1"));
    assert_eq!(seen.header("if-none-match"), Some("\"x\""));
    assert_eq!(seen.header("prefer"), Some("return=minimal, foo=bar"));
    assert_eq!(seen.header("raincheck-run-id"), None);
    assert_eq!(seen.header("x-request-id"), None);
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(
        upstream.seen()[0].connection,
        seen.connection,
        "the connection is used again"
    );
    assert_eq!(accepted(&proxy), 0.0);
    eventually("both are counted", || {
        let labels = [("route", "app"), ("code_class", "2xx")];
        (proxy.metric("raincheck_requests_total", &labels) == 2.0).then_some(())
    });
}

#[test]
fn what_the_upstream_says_goes_through_as_without_us() {
    let upstream = Server::new(|seen, answer| {
        match seen.target.as_str() {
        "/early" => answer.raw(
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        ),
        "/chunked" => answer.raw(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        ),
        "/none" => answer.reply(204, &[], ""),
        "/not-modified" => answer.reply(304, &[("ETag", "\"x\"")], ""),
        "/error" => answer.reply(503, &[("Retry-After", "7")], "busy"),
        _ => answer.ok("plain"),
    }
    });
    let plain = Setup::new(&upstream).start();
    let proxy = converting(&upstream, LATE).start();
    let mut wires = [plain.wire(), proxy.wire()];
    for (method, target) in [
        ("GET", "/early"),
        ("GET", "/chunked"),
        ("GET", "/none"),
        ("GET", "/not-modified"),
        ("GET", "/error"),
        ("HEAD", "/plain"),
        ("DELETE", "/plain"),
    ] {
        let ask = Ask::new(method, target);
        let without = plain.ask_on(&mut wires[0], &ask);
        let with = proxy.ask_on(&mut wires[1], &ask);
        let shown = |mut reply: crate::harness::Reply| {
            reply
                .headers
                .retain(|(name, _)| !name.eq_ignore_ascii_case("date"));
            format!("{reply:?}")
        };
        assert_eq!(shown(with), shown(without), "{method} {target}");
    }
    assert_eq!(accepted(&proxy), 0.0);
}

#[test]
fn a_response_streams_through_from_its_first_byte() {
    let rest = Gate::shut();
    let open = rest.clone();
    let upstream = Server::new(move |seen, answer| {
        if seen.target == "/late" {
            open.wait();
            return answer.ok("late");
        }
        answer.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
        open.wait();
        answer.raw("4\r\nlast\r\n0\r\n\r\n")
    });
    let proxy = converting(&upstream, "200ms").start();
    let mut wire = proxy.wire();
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(wire.head().0.starts_with("HTTP/1.1 200"));
    assert_eq!(wire.bytes(10), b"5\r\nfirst\r\n");
    // One that began later has become a run meanwhile: the first one's time is over too.
    let late = proxy.run(&Ask::get("/late"));
    rest.open();
    assert_eq!(wire.bytes(14), b"4\r\nlast\r\n0\r\n\r\n");
    proxy.finished(&late);
    assert_eq!(accepted(&proxy), 1.0);
}

#[test]
fn a_large_response_comes_whole() {
    let body: Vec<u8> = (0..3_000_000_u32)
        .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
        .collect();
    let sent = body.clone();
    let upstream = Server::new(move |_, answer| answer.ok(&sent));
    let proxy = converting(&upstream, LATE)
        .set("limits.response_body", "1 KiB")
        .start();
    let reply = proxy.get("/");
    assert_eq!(reply.status, 200);
    assert!(reply.body == body);
}

#[test]
fn large_bodies_are_kept_while_they_are_sent() {
    let (gate, upstream) = gated();
    let proxy = converting(&upstream, SOON).start();
    let body = "0123456789abcdef".repeat(40_000);
    let chunked = format!(
        "POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let mut wire = proxy.wire();
    wire.send(chunked);
    let first = wire.reply();
    proxy.remember(&first);
    assert_eq!(first.status, 202);
    let second = proxy.run(&Ask::post("/length", &body));
    gate.open();
    for (run, target) in [(RunHandle::of(&first), "/chunked"), (second, "/length")] {
        proxy.finished(&run);
        assert!(
            proxy.response(&run).text() == format!("{target} {body}"),
            "{target}"
        );
    }
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn a_body_over_the_limit_is_streamed_and_never_converted() {
    let (gate, upstream) = gated();
    let proxy = converting(&upstream, SOON)
        .set("limits.request_body", "10 B")
        .start();
    let mut declared = proxy.wire();
    declared.send(Ask::post("/declared", "01234567890").bytes("a"));
    let mut chunked = proxy.wire();
    chunked.send(
        "POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n",
    );
    upstream.wait_for(2);
    // One that was sent after them has been converted: they have not.
    assert_eq!(proxy.run(&Ask::post("/short", "0123456789")).id.len(), 36);
    assert!(!declared.has_answer() && !chunked.has_answer());
    gate.open();
    assert_eq!(declared.reply().text(), "/declared 01234567890");
    assert_eq!(chunked.reply().text(), "/chunked 01234567890");
    assert_eq!(accepted(&proxy), 1.0);
}

#[test]
fn on_slow_504_ends_the_call() {
    let closed = Gate::shut();
    let open = closed.clone();
    let upstream = Server::new(move |_, answer| {
        answer.until_closed()?;
        open.open();
        Ok(())
    });
    let proxy = converting(&upstream, SOON)
        .set("route.async.on_slow", "504")
        .set("limits.request_body", "1 B")
        .start();
    let detail = proxy
        .ask(&Ask::post("/", "any"))
        .problem(504, "gateway-timeout");
    assert!(detail.contains("50ms"), "{detail}");
    closed.wait();
    assert_eq!(accepted(&proxy), 0.0);
    let passed = [("route", "app"), ("code_class", "5xx")];
    eventually("it is counted", || {
        (proxy.metric("raincheck_requests_total", &passed) == 1.0).then_some(())
    });
}

#[test]
fn a_converted_run_is_cancelled_by_closing_its_upstream_connection() {
    let closed = Gate::shut();
    let open = closed.clone();
    let upstream = Server::new(move |_, answer| {
        answer.until_closed()?;
        open.open();
        Ok(())
    });
    let proxy = converting(&upstream, SOON).start();
    let run = proxy.run(&Ask::post("/", "x"));
    let reply = proxy.ask(&Ask::new("DELETE", &run.location));
    assert_eq!(
        (reply.status, reply.json()["state"].clone()),
        (202, "cancelled".into())
    );
    closed.wait();
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn preflights_and_upgrades_are_never_converted() {
    let (gate, upstream) = gated();
    let proxy = converting(&upstream, SOON).start();
    let mut preflight = proxy.wire();
    preflight.send(
        Ask::new("OPTIONS", "/preflight")
            .header("Origin", "https://a.example")
            .header("Access-Control-Request-Method", "POST")
            .bytes("a"),
    );
    let mut upgrade = proxy.wire();
    upgrade.send(
        Ask::get("/upgrade")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .bytes("a"),
    );
    upstream.wait_for(2);
    let run = proxy.run(&Ask::get("/plain"));
    assert!(!preflight.has_answer() && !upgrade.has_answer());
    gate.open();
    assert_eq!(preflight.reply().status, 200);
    assert_eq!(upgrade.reply().status, 200);
    proxy.finished(&run);
}

#[test]
fn a_converted_run_waits_for_no_slot_but_takes_a_free_one() {
    let (gate, upstream) = gated();
    let proxy = converting(&upstream, SOON)
        .set("route.async.concurrency", 1)
        .start();
    let first = proxy.run(&Ask::get("/first"));
    let second = proxy.run(&Ask::get("/second"));
    assert_eq!(proxy.record(&second)["state"], "running");
    let queued = proxy.run(&Ask::get("/queued?async=true"));
    assert_eq!(proxy.record(&queued)["state"], "queued");
    assert_eq!(upstream.wait_for(2).len(), 2);
    gate.open();
    for run in [&first, &second, &queued] {
        assert_eq!(proxy.finished(run)["state"], "succeeded");
    }
}

#[test]
fn a_routes_webhook_is_told_of_a_converted_run_and_of_no_other() {
    let (gate, upstream) = gated();
    let receiver = Server::fixed(200, "");
    let proxy = converting(&upstream, SOON)
        .set("route.webhook.endpoint", receiver.url("/hook"))
        .start();
    let run = proxy.run(&Ask::post("/slow", "x"));
    gate.open();
    proxy.delivered(&run);
    assert_eq!(proxy.ask(&Ask::post("/fast", "y")).text(), "/fast y");
    let told = receiver.only();
    assert_eq!(
        (told.text(), told.run_id().to_owned()),
        ("/slow x".into(), run.id)
    );
}

#[test]
fn a_told_caller_gets_a_202_too_when_it_takes_long() {
    let (gate, upstream) = gated();
    let receiver = Server::fixed(200, "");
    let proxy = converting(&upstream, SOON).start();
    let url = encoded(&receiver.url("/"));
    let run = proxy.run(&Ask::post(format!("/slow?webhookEndpoint={url}"), "x"));
    gate.open();
    proxy.delivered(&run);
    assert_eq!(receiver.only().text(), "/slow x");
    assert_eq!(upstream.seen().len(), 1);
}

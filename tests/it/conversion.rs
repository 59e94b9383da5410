//! `convert_after`: a slow call becomes a run; a fast one is passed through as if nothing were.

use rusqlite::Connection;

use crate::harness::{
    Ask, Gate, Raincheck, RunHandle, Server, Setup, encoded, eventually, free_port,
};

const SOON: &str = "50ms";
const LATE: &str = "10m";

/// An upstream that answers what it was sent once the gate is open.
fn gated() -> (Gate, Server) {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |seen, answer| {
        wait.wait();
        answer.ok(format!("{} {}", seen.target, seen.text()))
    });
    (gate, upstream)
}

fn converting(upstream: &Server, after: &str) -> Setup {
    Setup::new(upstream).set("route.async.convert_after", after)
}

fn accepted(proxy: &Raincheck) -> f64 {
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
fn a_client_that_leaves_before_conversion_ends_its_call() {
    let closed = Gate::shut();
    let open = closed.clone();
    let upstream = Server::new(move |_, answer| {
        answer.until_closed()?;
        open.open();
        Ok(())
    });
    let proxy = converting(&upstream, LATE).start();
    let mut wire = proxy.wire();
    wire.send(Ask::post("/", "x").bytes("a"));
    upstream.wait_for(1);
    drop(wire);
    closed.wait();
    assert_eq!(accepted(&proxy), 0.0);
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_client_that_leaves_after_conversion_ends_nothing() {
    let (gate, upstream) = gated();
    let proxy = converting(&upstream, SOON).start();
    let mut wire = proxy.wire();
    let reply = proxy.ask_on(&mut wire, &Ask::post("/", "x"));
    let run = RunHandle::of(&reply);
    drop(wire);
    gate.open();
    assert_eq!(proxy.finished(&run)["state"], "succeeded");
    assert_eq!(upstream.seen().len(), 1);
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
fn a_converted_run_whose_upstream_breaks_is_repeated_only_where_it_may_be() {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |seen, answer| {
        if seen.header("raincheck-attempt") == Some("2") {
            return answer.ok(format!("{} {}", seen.target, seen.text()));
        }
        wait.wait();
        answer.raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")?;
        answer.close()
    });
    let proxy = converting(&upstream, SOON)
        .set("route.async.attempts", 2)
        .start();
    let once = proxy.run(&Ask::post("/once", "x").header("Idempotency-Key", "k"));
    let again = proxy.run(&Ask::new("PUT", "/again?async=no").header("Range", "bytes=0-"));
    gate.open();
    let record = proxy.finished(&once);
    assert_eq!(
        (&record["reason"], &record["attempts"]),
        (&"broken".into(), &1.into())
    );
    let record = proxy.finished(&again);
    assert_eq!(
        (&record["state"], &record["attempts"]),
        (&"succeeded".into(), &2.into())
    );
    let seen = upstream.wait_for(3);
    let second = seen
        .iter()
        .find(|seen| seen.header("raincheck-attempt") == Some("2"));
    let second = second.expect("a second attempt");
    assert_eq!(
        (second.target.as_str(), second.header("range")),
        ("/again?async=no", Some("bytes=0-")),
        "the same request again"
    );
    assert_eq!(second.run_id(), again.id);
}

#[test]
fn an_upstream_that_breaks_before_conversion_is_told_as_without_us() {
    let upstream = Server::new(|seen, answer| {
        if seen.target == "/half" {
            answer.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")?;
        }
        answer.close()
    });
    let proxy = converting(&upstream, LATE).start();
    proxy.ask(&Ask::post("/", "x")).problem(502, "bad-gateway");
    let mut wire = proxy.wire();
    wire.send("GET /half HTTP/1.1\r\nHost: a\r\n\r\n");
    wire.head();
    assert_eq!(wire.bytes(9), b"4\r\nhalf\r\n");
    wire.assert_closed();
    drop(upstream);
    let nobody = Setup::to(&free_port().to_string())
        .set("route.async.convert_after", LATE)
        .start();
    nobody.get("/").problem(502, "bad-gateway");
    assert_eq!(accepted(&proxy) + accepted(&nobody), 0.0);
    let log = proxy.log();
    assert_eq!(
        log.matches("a request could not be passed on").count(),
        2,
        "{log}"
    );
}

#[test]
fn another_peer_is_tried_as_without_us() {
    let upstream = Server::fixed(200, "here");
    let peers = [free_port().to_string(), upstream.address().to_string()];
    let proxy = converting(&upstream, LATE)
        .set("upstream.app.peers", peers.map(toml::Value::from).to_vec())
        .start();
    for _ in 0..4 {
        assert_eq!(proxy.ask(&Ask::post("/", "x")).text(), "here");
    }
}

/// Keeps the store from being written until it is dropped.
struct Locked(Connection);

impl Locked {
    fn lock(proxy: &Raincheck) -> Self {
        let file = proxy.store_folder().join("runs.db");
        let db = Connection::open(file).expect("open");
        db.execute_batch("PRAGMA busy_timeout = 10000; BEGIN IMMEDIATE")
            .expect("lock");
        Self(db)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        let _ = self.0.execute_batch("ROLLBACK");
    }
}

#[test]
fn a_response_that_comes_during_the_commit_is_the_runs() {
    let (gate, upstream) = gated();
    let proxy = converting(&upstream, SOON).start();
    let lock = Locked::lock(&proxy);
    let mut slow = proxy.wire();
    slow.send(
        Ask::post("/slow", "x")
            .header("Prefer", "wait=0")
            .bytes("a"),
    );
    upstream.wait_for(1);
    // Others that want to be stored: one of them waits behind what is being written.
    let mut others = Vec::new();
    eventually("commits wait", || {
        let mut wire = proxy.wire();
        wire.send(Ask::post("/?async=true", "x").bytes("a"));
        others.push(wire);
        (proxy.metric("raincheck_store_queue", &[]) >= 1.0).then_some(())
    });
    gate.open();
    drop(lock);
    let reply = slow.reply();
    proxy.remember(&reply);
    assert_eq!(reply.status, 202);
    let run = RunHandle::of(&reply);
    assert_eq!(proxy.finished(&run)["state"], "succeeded");
    assert_eq!(proxy.response(&run).text(), "/slow x");
    for wire in &mut others {
        let reply = wire.reply();
        proxy.remember(&reply);
        proxy.finished(&RunHandle::of(&reply));
    }
    let calls = upstream.seen();
    assert_eq!(
        calls.iter().filter(|seen| seen.target == "/slow").count(),
        1
    );
}

#[test]
fn a_caller_whose_run_cannot_be_stored_waits_on() {
    let (gate, upstream) = gated();
    let proxy = converting(&upstream, SOON).start();
    let lock = Locked::lock(&proxy);
    let mut wire = proxy.wire();
    wire.send(Ask::post("/slow", "x").bytes("a"));
    eventually("the store is given up", || {
        (proxy.metric("raincheck_store_writable", &[]) == 0.0).then_some(())
    });
    assert!(!wire.has_answer());
    // And one that comes while it is known.
    let mut second = proxy.wire();
    second.send(Ask::post("/second", "x").bytes("a"));
    upstream.wait_for(2);
    gate.open();
    assert_eq!(wire.reply().text(), "/slow x");
    assert_eq!(second.reply().text(), "/second x");
    drop(lock);
    assert_eq!(upstream.seen().len(), 2);
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

#[test]
fn a_drain_waits_for_a_converted_run_and_converts_nothing_more() {
    let (gate, upstream) = gated();
    let route = "[[route]]\nname = \"b\"\npath = \"/b\"\nupstream = \"app\"\n\
                 [route.async]\nconvert_after = \"2500ms\"\non_slow = \"504\"\n";
    let mut proxy = converting(&upstream, "2s").add(route).start();
    let run = proxy.run(&Ask::post("/converted", "x").header("Prefer", "wait=0"));
    let mut slow = proxy.wire();
    slow.send(Ask::post("/waiting", "y").bytes("a"));
    let mut slower = proxy.wire();
    slower.send(Ask::post("/b", "z").bytes("a"));
    upstream.wait_for(3);
    proxy.terminate();
    // By then the time of the other is over too.
    slower.reply().problem(504, "gateway-timeout");
    assert!(!slow.has_answer());
    gate.open();
    assert_eq!(slow.reply().text(), "/waiting y");
    assert_eq!(proxy.wait().code(), Some(0));
    proxy.start();
    assert_eq!(proxy.finished(&run)["state"], "succeeded");
    assert_eq!(upstream.seen().len(), 3);
}

#[test]
fn a_kill_after_conversion_loses_nothing() {
    let (gate, upstream) = gated();
    let mut proxy = converting(&upstream, SOON).start();
    let once = proxy.run(&Ask::post("/once", "x"));
    let again = proxy.run(&Ask::get("/again"));
    proxy.kill();
    gate.open();
    proxy.start();
    assert_eq!(proxy.finished(&once)["reason"], "interrupted");
    assert_eq!(proxy.finished(&again)["state"], "succeeded");
    assert_eq!(
        upstream
            .seen()
            .iter()
            .filter(|seen| seen.target == "/once")
            .count(),
        1
    );
}

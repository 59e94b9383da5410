//! `Prefer: respond-async` (RFC 7240)

use crate::harness::{Ask, Gate, RunHandle, Server, Setup};

fn prefer(value: &str) -> Ask {
    Ask::post("/p", "x").header("Prefer", value)
}

#[test]
fn the_202_is_exact() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let reply = proxy.ask(&prefer("respond-async"));
    assert_eq!(reply.status, 202);
    let id = reply.header("x-request-id").expect("id");
    assert_eq!(reply.text(), format!("{{\"run_id\":\"{id}\"}}\n"));
    assert_eq!(reply.header("preference-applied"), Some("respond-async"));
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert!(
        reply
            .header("location")
            .expect("location")
            .starts_with("/_raincheck/runs/")
    );
}

#[test]
fn spellings_of_the_preference() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    for value in [
        "Respond-Async",
        "handling=lenient, respond-async",
        "respond-async;x=y",
        "return=minimal; foo=\"a,b\",respond-async",
        " respond-async ,",
    ] {
        assert_eq!(proxy.ask(&prefer(value)).status, 202, "{value}");
    }
    let lines = prefer("return=minimal").header("prefer", "respond-async");
    assert_eq!(proxy.ask(&lines).status, 202);
    for value in [
        "respond-asynchronously",
        "x=respond-async",
        "foo=\"respond-async\"",
        "handling=strict",
    ] {
        assert_eq!(proxy.ask(&prefer(value)).status, 200, "{value}");
    }
}

#[test]
fn only_honoured_preferences_are_taken_out() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let run = proxy.run(&prefer("return=minimal, respond-async"));
    proxy.finished(&run);
    let seen = upstream.only();
    assert_eq!(seen.header("prefer"), Some("return=minimal"));

    let run = proxy.run(&prefer("respond-async"));
    proxy.finished(&run);
    assert_eq!(upstream.wait_for(2)[1].header("prefer"), None);
}

#[test]
fn a_query_dialect_wins_without_an_error() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let reply = proxy.ask(&Ask::post("/?async=true", "").header("Prefer", "respond-async"));
    assert_eq!(reply.status, 202);
    assert_eq!(reply.header("preference-applied"), None);
    let run = crate::harness::RunHandle::of(&reply);
    assert_eq!(proxy.finished(&run)["dialect"], "cerebrium");
    assert_eq!(upstream.only().header("prefer"), Some("respond-async"));
}

#[test]
fn a_route_speaks_only_the_dialects_it_lists() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("route.async.dialects", vec!["cerebrium"])
        .start();
    assert_eq!(proxy.ask(&prefer("respond-async")).status, 200);
    assert_eq!(upstream.only().header("prefer"), Some("respond-async"));
    let proxy = Setup::new(&upstream)
        .set("route.async.dialects", vec!["prefer"])
        .start();
    assert_eq!(proxy.get("/?async=true").status, 200);
}

/// An upstream that answers once the gate is open.
fn gated() -> (Gate, Server) {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |seen, answer| {
        wait.wait();
        answer.ok(seen.text())
    });
    (gate, upstream)
}

#[test]
fn a_wait_that_is_long_enough_gets_the_response_and_leaves_nothing() {
    let upstream = Server::fixed(200, "fast");
    let proxy = Setup::new(&upstream).start();
    let reply = proxy.ask(&prefer("return=minimal, respond-async, wait=30"));
    assert_eq!((reply.status, reply.text()), (200, "fast".into()));
    assert_eq!(upstream.only().header("prefer"), Some("return=minimal"));
    assert_eq!(upstream.only().header("raincheck-run-id"), None);
    assert_eq!(proxy.metric("raincheck_store_runs_accepted", &[]), 0.0);
}

#[test]
fn a_wait_that_is_too_short_ends_in_a_202_that_says_so() {
    let (gate, upstream) = gated();
    let proxy = Setup::new(&upstream)
        .set("route.async.max_wait", "1s")
        .start();
    let lines = prefer("respond-async").header("Prefer", "WAIT=\"600\"; x=y");
    let reply = proxy.ask(&lines);
    assert_eq!(reply.status, 202);
    assert_eq!(
        reply.header("preference-applied"),
        Some("respond-async, wait=1")
    );
    assert_eq!(reply.header("retry-after"), Some("1"));
    let run = RunHandle::of(&reply);
    assert_eq!(reply.text(), format!("{{\"run_id\":\"{}\"}}\n", run.id));
    let record = proxy.record(&run);
    assert_eq!(
        (&record["dialect"], &record["async"]),
        (&"prefer".into(), &true.into())
    );
    gate.open();
    proxy.finished(&run);
    assert_eq!(proxy.response(&run).text(), "x");
    assert_eq!(upstream.only().header("prefer"), None);
}

#[test]
fn a_wait_alone_counts_only_where_slow_calls_are_converted() {
    let (gate, upstream) = gated();
    let plain = Setup::new(&upstream).start();
    let proxy = Setup::new(&upstream)
        .set("route.async.convert_after", "10m")
        .start();
    let mut wire = plain.wire();
    wire.send(prefer("wait=0").bytes("a"));
    let seen = upstream.wait_for(1);
    assert_eq!(seen[0].header("prefer"), Some("wait=0"));
    let reply = proxy.ask(&prefer("wait=1, handling=strict"));
    assert_eq!(reply.status, 202);
    assert_eq!(reply.header("preference-applied"), Some("wait=1"));
    let run = RunHandle::of(&reply);
    assert_eq!(proxy.record(&run)["dialect"], "prefer");
    assert!(!wire.has_answer());
    gate.open();
    assert_eq!(wire.reply().status, 200);
    proxy.finished(&run);
    let seen = upstream.wait_for(2);
    assert_eq!(seen[1].header("prefer"), Some("handling=strict"));
}

#[test]
fn a_wait_that_is_not_honoured_stays() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let runs = [
        ("respond-async, wait=soon", None),
        ("respond-async, wait=-1", None),
        ("respond-async, wait=0", None),
        ("respond-async, wait=9", Some("key")),
    ]
    .map(|(value, key)| {
        let mut ask = prefer(value);
        if let Some(key) = key {
            ask = ask.header("Idempotency-Key", key);
        }
        let reply = proxy.ask(&ask);
        assert_eq!(reply.status, 202, "{value}");
        assert_eq!(reply.header("preference-applied"), Some("respond-async"));
        RunHandle::of(&reply)
    });
    for run in &runs {
        proxy.finished(run);
    }
    let seen = upstream.wait_for(4);
    let mut left: Vec<_> = seen
        .iter()
        .filter_map(|seen| seen.header("prefer"))
        .collect();
    left.sort_unstable();
    assert_eq!(left, ["wait=-1", "wait=0", "wait=9", "wait=soon"]);
}

#[test]
fn a_wait_beside_a_webhook_is_a_run_from_the_start() {
    let (gate, upstream) = gated();
    let receiver = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let url = crate::harness::encoded(&receiver.url("/"));
    let ask = |wait: &str| {
        Ask::post(format!("/?webhookEndpoint={url}"), "x")
            .header("Prefer", format!("respond-async, wait={wait}"))
    };
    let reply = proxy.ask(&ask("1"));
    assert_eq!(reply.status, 202);
    assert_eq!(
        reply.header("preference-applied"),
        Some("respond-async, wait=1")
    );
    gate.open();
    proxy.delivered(&RunHandle::of(&reply));
    let reply = proxy.ask(&ask("30"));
    assert_eq!((reply.status, reply.text()), (200, "x".into()));
    assert!(reply.header("raincheck-run-id").is_some());
    assert_eq!(receiver.wait_for(2).len(), 2);
    for seen in upstream.seen() {
        assert_eq!((seen.target.as_str(), seen.header("prefer")), ("/", None));
    }
}

#[test]
fn who_asks_for_a_run_is_invited_to_send_its_body_and_its_secret_goes_no_further() {
    let upstream = Server::fixed(200, "done");
    let proxy = Setup::new(&upstream).start();
    let mut wire = proxy.wire();
    wire.send(
        "POST /r HTTP/1.1\r\nHost: a\r\nPrefer: respond-async, wait=5\r\nExpect: 100-continue\r\n\
         X-Webhook-Secret: hush\r\nContent-Length: 3\r\n\r\n",
    );
    assert_eq!(wire.head().0.split(' ').nth(1), Some("100"));
    wire.send("abc");
    assert_eq!(wire.head().0.split(' ').nth(1), Some("200"));
    let seen = upstream.only();
    assert_eq!(seen.text(), "abc");
    for gone in ["expect", "x-webhook-secret"] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
}

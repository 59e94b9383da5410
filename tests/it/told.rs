//! Synchronous calls with a webhook: the caller gets the response as it streams in, and the webhook is told.

use crate::harness::{Gate, Server, Setup, encoded, free_port};

#[test]
fn a_response_streams_to_its_caller_before_it_has_ended() {
    let rest = Gate::shut();
    let open = rest.clone();
    let upstream = Server::new(move |_, answer| {
        answer.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
        open.wait();
        answer.raw("4\r\nlast\r\n0\r\n\r\n")
    });
    let receiver = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let url = encoded(&receiver.url("/"));
    let mut wire = proxy.wire();
    wire.send(format!(
        "GET /?webhookEndpoint={url} HTTP/1.1\r\nHost: a\r\n\r\n"
    ));
    assert!(wire.head().0.starts_with("HTTP/1.1 200"));
    assert_eq!(wire.bytes(10), b"5\r\nfirst\r\n");
    rest.open();
    assert_eq!(wire.bytes(14), b"4\r\nlast\r\n0\r\n\r\n");
    assert_eq!(receiver.only().body, b"firstlast");
}

#[test]
fn a_response_over_the_limit_reaches_its_caller_whole() {
    const LONG: &str = "0123456789012345678901234567890123456789";
    let upstream = Server::fixed(200, LONG);
    let receiver = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("limits.response_body", "20 B")
        .start();
    let url = encoded(&receiver.url("/"));
    let reply = proxy.get(format!("/?webhookEndpoint={url}"));
    assert_eq!((reply.status, reply.text()), (200, LONG.into()));
    let seen = receiver.only();
    assert_eq!(
        seen.header("raincheck-run-reason"),
        Some("response_too_large")
    );
}

#[test]
fn a_caller_whose_upstream_is_gone_is_told_so() {
    let receiver = Server::fixed(200, "");
    let proxy = Setup::to(&free_port().to_string()).start_unkept();
    let url = encoded(&receiver.url("/"));
    let reply = proxy.get(format!("/?webhookEndpoint={url}"));
    reply.problem(502, "unreachable");
    assert!(reply.header("raincheck-run-id").is_some());
    let seen = receiver.only();
    assert_eq!(seen.header("raincheck-run-reason"), Some("unreachable"));
    assert_eq!(
        seen.body, reply.body,
        "the webhook is told what the caller was"
    );
}

#[test]
fn a_callers_response_is_the_runs_whatever_would_be_repeated_without_him() {
    let upstream = Server::fixed(503, "busy");
    let receiver = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("route.async.attempts", 3)
        .set("route.async.repeat", "always")
        .start();
    let url = encoded(&receiver.url("/"));
    let reply = proxy.get(format!("/?webhookEndpoint={url}"));
    assert_eq!((reply.status, reply.text()), (503, "busy".into()));
    let seen = receiver.only();
    assert_eq!(seen.header("raincheck-upstream-status"), Some("503"));
    assert_eq!(seen.body, b"busy");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_caller_gets_the_answer_of_a_peer_that_is_there() {
    let upstream = Server::fixed(200, "here");
    let receiver = Server::fixed(200, "");
    let gone = free_port().to_string();
    let proxy = Setup::new(&upstream)
        .set(
            "upstream.app.peers",
            vec![gone, upstream.address().to_string()],
        )
        .start();
    let url = encoded(&receiver.url("/"));
    for _ in 0..2 {
        let reply = proxy.get(format!("/?webhookEndpoint={url}"));
        assert_eq!((reply.status, reply.text()), (200, "here".into()));
    }
}

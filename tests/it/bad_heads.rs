//! Heads that are refused before anything else is looked at.

use crate::harness::{Server, Setup};

fn refused(request: impl AsRef<[u8]>, status: u16, code: impl Into<Option<&'static str>>) {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let mut wire = proxy.wire();
    // The proxy may answer and close before it has read all.
    let _ = wire.try_send(request.as_ref());
    let reply = wire.reply();
    if let Some(code) = code.into() {
        reply.problem(status, code);
    }
    assert_eq!(reply.status, status);
    wire.assert_closed();
    assert!(upstream.seen().is_empty());
}

#[test]
fn no_host() {
    refused("GET / HTTP/1.1\r\n\r\n", 400, "bad-request");
}

#[test]
fn two_hosts_that_differ() {
    refused("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, None);
}

#[test]
fn content_length_with_transfer_encoding() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    refused(head, 400, None);
}

#[test]
fn a_host_that_differs_from_an_absolute_target() {
    let head = "GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n";
    refused(head, 400, None);
}

#[test]
fn two_lengths_that_differ() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde";
    refused(head, 400, None);
}

#[test]
fn a_head_over_64_kib() {
    let head = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(66_000)
    );
    refused(head, 431, "head-too-large");
}

#[test]
fn a_head_just_under_64_kib_is_fine() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let ask = crate::harness::Ask::get("/").header("X", "x".repeat(60_000));
    assert_eq!(proxy.ask(&ask).status, 200);
}

#[test]
fn dot_segments_plain_and_encoded() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    for target in [
        "/a/../b",
        "/..",
        "/.",
        "/a/./b",
        "/a/%2e%2e/b",
        "/%2E",
        "/a/.%2e",
        "/a/%2e./b",
        "/a/..?x",
    ] {
        proxy.get(target).problem(400, "ambiguous-path");
    }
    assert!(upstream.seen().is_empty());
    for target in ["/...", "/a/..b", "/a.", "/.well-known/x", "/x?a=../.."] {
        assert_eq!(proxy.get(target).status, 200, "{target}");
    }
}

#[test]
fn an_absolute_targets_authority_replaces_host() {
    let upstream = Server::echo();
    let proxy = Setup::new(&upstream)
        .set("route.host", "right.example")
        .start();
    let mut wire = proxy.wire();
    wire.send("GET http://right.example/p?q HTTP/1.1\r\nHost: right.example\r\n\r\n");
    assert_eq!(wire.reply().status, 200);
    let seen = upstream.only();
    assert_eq!(seen.target, "/p?q");
    assert_eq!(seen.header("host"), Some("right.example"));
}

#[test]
fn garbage_gets_no_answer_that_helps() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let mut wire = proxy.wire();
    wire.send("\x16\x03\x01 nonsense\r\n\r\n");
    wire.finish();
    if let Ok(reply) = wire.read_reply(false) {
        assert_eq!(reply.status, 400);
    }
    assert!(upstream.seen().is_empty());
}

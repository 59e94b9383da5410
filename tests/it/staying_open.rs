//! One connection, many requests: what a 202 leaves behind it.

use crate::harness::{Server, Setup};

const RUN: &str = "POST /?async=true HTTP/1.1\r\nHost: a\r\n";

#[test]
fn a_connection_stays_open_after_100_continue() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let mut wire = proxy.wire();
    for body in ["abc", "xyz"] {
        wire.send(format!(
            "{RUN}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        ));
        assert!(wire.head().0.starts_with("HTTP/1.1 100"));
        wire.send(body);
        let reply = wire.reply();
        proxy.remember(&reply);
        assert_eq!(
            (reply.status, reply.header("connection")),
            (202, Some("keep-alive"))
        );
    }
    upstream.wait_for(2);
}

#[test]
fn requests_sent_without_waiting_are_all_answered() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let mut wire = proxy.wire();
    let one = format!("{RUN}Content-Length: 3\r\n\r\nabc");
    let chunked = format!("{RUN}Transfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n");
    wire.send([one.clone(), chunked, one].concat());
    for _ in 0..3 {
        let reply = wire.reply();
        proxy.remember(&reply);
        assert_eq!(reply.status, 202);
    }
    let mut bodies: Vec<_> = upstream
        .wait_for(3)
        .into_iter()
        .map(|seen| seen.text())
        .collect();
    bodies.sort();
    assert_eq!(bodies, ["abc", "abc", "xyz"]);
}

//! `convert_after` in trouble: clients that leave, upstreams that break, a store that cannot be written, stops and kills.

use rusqlite::Connection;

use super::conversion::{LATE, SOON, accepted, converting, gated};
use crate::harness::{Ask, Gate, Raincheck, RunHandle, Server, Setup, eventually, free_port};

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

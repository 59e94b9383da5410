//! Waiting for a run: `?wait=N`, `Prefer: wait=N`, and its state changes as events.

use crate::harness::{Ask, Gate, Server, Setup, Wire, eventually, header, try_get};

fn gated() -> (Gate, Server) {
    let gate = Gate::shut();
    let wait = gate.clone();
    let upstream = Server::new(move |_, answer| {
        wait.wait();
        answer.reply(200, &[("X-From", "upstream")], "done")
    });
    (gate, upstream)
}

/// The record's or the response's target with a wait.
fn waiting(location: &str, seconds: u32) -> String {
    format!("{location}&wait={seconds}")
}

#[test]
fn a_look_is_held_until_the_run_has_ended() {
    let (gate, upstream) = gated();
    let proxy = Setup::new(&upstream).start();
    let run = proxy.run(&Ask::post("/?async=true", "x"));
    upstream.wait_for(1);
    let mut record = proxy.wire();
    record.send(Ask::get(waiting(&run.location, 60)).bytes("a"));
    let mut response = proxy.wire();
    response.send(Ask::get(waiting(&run.response(), 60)).bytes("a"));
    let mut preferred = proxy.wire();
    preferred.send(
        Ask::get(&run.location)
            .header("Prefer", "wait=300")
            .bytes("a"),
    );
    let mut head = proxy.wire();
    head.send(Ask::new("HEAD", waiting(&run.location, 60)).bytes("a"));
    // They wait: one that does not is answered.
    assert_eq!(proxy.get(waiting(&run.location, 0)).status, 202);
    for wire in [&mut record, &mut response, &mut preferred, &mut head] {
        assert!(!wire.has_answer());
    }
    gate.open();
    let reply = record.reply();
    assert_eq!(
        (reply.status, &reply.json()["state"]),
        (200, &"succeeded".into())
    );
    assert_eq!(reply.header("preference-applied"), None);
    let reply = response.reply();
    assert_eq!((reply.status, reply.text()), (200, "done".into()));
    assert_eq!(reply.header("x-from"), Some("upstream"));
    let reply = preferred.reply();
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("preference-applied"), Some("wait=60"));
    assert_eq!(head.read_reply(true).expect("an answer").status, 200);
    // One that has ended is answered at once.
    assert_eq!(proxy.get(waiting(&run.location, 60)).status, 200);
}

#[test]
fn a_look_whose_time_is_over_gets_what_is_there() {
    let (gate, upstream) = gated();
    let proxy = Setup::new(&upstream).start();
    let run = proxy.run(&Ask::post("/?async=true", "x"));
    for target in [&run.location, &run.response()] {
        let reply = proxy.get(waiting(target, 1));
        assert_eq!(
            (reply.status, &reply.json()["state"]),
            (202, &"running".into())
        );
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    gate.open();
    proxy.finished(&run);
}

#[test]
fn a_wait_that_cannot_be_is_refused_with_what_can() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let run = proxy.run(&Ask::post("/?async=true", "x"));
    for wrong in ["61", "-1", "soon", "", "1.5"] {
        let target = format!("{}&wait={wrong}", run.location);
        let detail = proxy.get(target).problem(400, "bad-request");
        assert!(detail.contains("from 0 to 60"), "{detail}");
    }
    let garbage = Ask::get(&run.location).header("Prefer", "wait=soon");
    let reply = proxy.ask(&garbage);
    assert!(matches!(reply.status, 200 | 202));
    assert_eq!(reply.header("preference-applied"), None);
    // Who may not look is told nothing of it.
    let other = proxy.run(&Ask::post("/?async=true", "x").header("X-Api-Key", "k"));
    proxy
        .get(format!("{}?wait=x", other.bare()))
        .problem(404, "unknown-run");
    proxy
        .get(format!("{}?wait=60", other.bare()))
        .problem(404, "unknown-run");
}

/// The next event or comment of a chunked stream, whole.
fn event(wire: &mut Wire) -> String {
    let mut size = Vec::new();
    while !size.ends_with(b"\r\n") {
        size.extend(wire.bytes(1));
    }
    let size = String::from_utf8(size).expect("size");
    let size = usize::from_str_radix(size.trim(), 16).expect("size");
    let mut chunk = wire.bytes(size + 2);
    chunk.truncate(size);
    String::from_utf8(chunk).expect("text")
}

/// The state that an event tells.
fn state(event: &str) -> String {
    let data = event
        .strip_prefix("event: run\ndata: ")
        .and_then(|rest| rest.strip_suffix("\n\n"))
        .unwrap_or_else(|| panic!("{event:?}"));
    let record: serde_json::Value = serde_json::from_str(data).expect("JSON");
    record["state"].as_str().expect("state").to_owned()
}

#[test]
fn events_tell_each_state_from_the_present_one_to_the_last() {
    let (gate, upstream) = gated();
    let proxy = Setup::new(&upstream)
        .set("route.async.concurrency", 1)
        .start();
    let first = proxy.run(&Ask::post("/?async=true", "x"));
    upstream.wait_for(1);
    let run = proxy.run(&Ask::post("/?async=true", "x"));
    let mut wire = proxy.wire();
    let ask = Ask::get(&run.location).header("Accept", "text/event-stream");
    wire.send(ask.bytes("a"));
    let (status, headers) = wire.head();
    assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    let line = |name: &str| header(&headers, name);
    assert_eq!(line("content-type"), Some("text/event-stream"));
    assert_eq!(line("cache-control"), Some("no-store"));
    assert_eq!(line("raincheck-run-state"), Some("queued"));
    assert_eq!(state(&event(&mut wire)), "queued");
    gate.open();
    assert_eq!(state(&event(&mut wire)), "running");
    assert_eq!(state(&event(&mut wire)), "succeeded");
    assert_eq!(wire.bytes(5), b"0\r\n\r\n", "the last one ends the stream");
    // One that has ended tells that, and no more.
    let reply = proxy.ask(&ask);
    assert_eq!(state(&reply.text()), "succeeded");
    let head = Ask::new("HEAD", &run.location).header("Accept", "text/event-stream");
    assert_eq!(
        proxy.ask(&head).header("content-type"),
        Some("text/event-stream")
    );
    proxy.finished(&first);
}

#[test]
fn many_who_wait_for_one_run_are_told_at_once() {
    let (gate, upstream) = gated();
    let proxy = Setup::new(&upstream).start();
    let run = proxy.run(&Ask::post("/?async=true", "x"));
    let mut wires: Vec<_> = (0..200).map(|_| proxy.wire()).collect();
    for wire in &mut wires {
        wire.send(Ask::get(waiting(&run.location, 60)).bytes("a"));
    }
    gate.open();
    for wire in &mut wires {
        assert_eq!(wire.reply().status, 200);
    }
}

#[test]
fn a_drain_holds_nobody_up() {
    let (gate, upstream) = gated();
    let mut proxy = Setup::new(&upstream).start();
    let run = proxy.run(&Ask::post("/?async=true", "x"));
    upstream.wait_for(1);
    let mut wire = proxy.wire();
    wire.send(Ask::get(waiting(&run.location, 60)).bytes("a"));
    let mut events = proxy.wire();
    let ask = Ask::get(&run.location).header("Accept", "text/event-stream");
    events.send(ask.bytes("a"));
    events.head();
    assert_eq!(state(&event(&mut events)), "running");
    proxy.terminate();
    eventually("not ready", || {
        let ready = try_get(proxy.admin(), "/readyz");
        ready.is_none_or(|reply| reply.status == 503).then_some(())
    });
    assert_eq!(wire.reply().status, 202);
    assert_eq!(events.bytes(5), b"0\r\n\r\n");
    gate.open();
    assert_eq!(proxy.wait().code(), Some(0));
    proxy.start();
    assert_eq!(proxy.finished(&run)["state"], "succeeded");
}

//! How a run's body comes in.

use std::fs;

use crate::harness::{Ask, Raincheck, RunHandle, Server, Setup};

fn spool_files(proxy: &Raincheck) -> Vec<String> {
    fn below(folder: &std::path::Path, into: &mut Vec<String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                below(&path, into);
            } else {
                into.push(path.display().to_string());
            }
        }
    }
    let mut files = Vec::new();
    below(&proxy.store_folder(), &mut files);
    files.retain(|file| file.contains("spool"));
    files
}

#[test]
fn bodies_of_every_size_arrive_unchanged() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    for (n, size) in [0, 1, 131_071, 131_072, 131_073, 1_000_000]
        .into_iter()
        .enumerate()
    {
        let body: Vec<u8> = (0..size).map(|n| (n % 253) as u8).collect();
        let run = proxy.run(&Ask::post("/?async=true", &body));
        proxy.finished(&run);
        let seen = &upstream.wait_for(n + 1)[n];
        assert_eq!(seen.body.len(), size);
        assert!(seen.body == body, "{size} bytes differ");
        assert_eq!(
            seen.header("content-length"),
            Some(size.to_string().as_str())
        );
    }
    crate::harness::eventually("an empty spool", || {
        spool_files(&proxy).is_empty().then_some(())
    });
}

#[test]
fn a_chunked_body_is_a_body_like_any_other() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let mut wire = proxy.wire();
    wire.send("POST /?async=true HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    wire.send("3\r\nabc\r\n");
    wire.send("4;ext=1\r\ndefg\r\n0\r\nTrailer: x\r\n\r\n");
    let reply = wire.reply();
    proxy.remember(&reply);
    assert_eq!(reply.status, 202);
    proxy.finished(&RunHandle::of(&reply));
    assert_eq!(upstream.only().body, b"abcdefg");
    // The connection is in order afterwards.
    assert_eq!(proxy.ask_on(&mut wire, &Ask::get("/")).status, 200);
}

#[test]
fn expect_100_continue_is_answered() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let mut wire = proxy.wire();
    wire.send("POST /?async=true HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert!(wire.head().0.starts_with("HTTP/1.1 100"));
    wire.send("abc");
    let reply = wire.reply();
    proxy.remember(&reply);
    assert_eq!(reply.status, 202);
    proxy.finished(&RunHandle::of(&reply));
    assert_eq!(upstream.only().header("expect"), None);
}

#[test]
fn a_refused_request_is_not_told_to_continue() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    let mut wire = proxy.wire();
    wire.send(
        "POST /?async=true&webhookEndpoint=no HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    );
    let reply = wire.reply();
    reply.problem(400, "invalid-webhook-endpoint");
    assert!(reply.interim.is_empty());
}

#[test]
fn a_declared_length_over_the_limit_is_refused_at_once() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("limits.request_body", "1 KiB")
        .start();
    let mut wire = proxy.wire();
    wire.send("POST /?async=true HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n");
    let detail = wire.reply().problem(413, "request-too-large");
    assert!(
        detail.contains("1 KiB") || detail.contains("1024") || detail.contains("1,024"),
        "{detail}"
    );
    wire.assert_closed();
    proxy.run(&Ask::post("/?async=true", "x".repeat(1024)));
}

#[test]
fn a_chunked_body_over_the_limit_is_refused_midway() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("limits.request_body", "1 KiB")
        .start();
    let mut wire = proxy.wire();
    wire.send("POST /?async=true HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    wire.send(format!("400\r\n{}\r\n", "x".repeat(1024)));
    wire.send("1\r\nx\r\n");
    wire.reply().problem(413, "request-too-large");
    assert!(upstream.seen().is_empty());
    assert_eq!(proxy.metric("raincheck_store_runs_accepted", &[]), 0.0);
}

#[test]
fn a_client_that_leaves_midway_leaves_nothing_behind() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream).start();
    for size in [100, 300_000] {
        let mut wire = proxy.wire();
        wire.send(format!(
            "POST /?async=true HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
            2 * size
        ));
        wire.send("x".repeat(size));
        wire.finish();
        drop(wire);
        let mut wire = proxy.wire();
        wire.send("POST /?async=true HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        wire.send(format!("{size:x}\r\n{}\r\n", "x".repeat(size)));
        drop(wire);
    }
    crate::harness::eventually("an empty spool", || {
        spool_files(&proxy).is_empty().then_some(())
    });
    assert_eq!(proxy.metric("raincheck_store_runs_accepted", &[]), 0.0);
    assert!(upstream.seen().is_empty());
}

#[test]
fn a_body_that_stalls_is_408() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("limits.body_idle_timeout", "100ms")
        .start();
    let mut wire = proxy.wire();
    wire.send("POST /?async=true HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    wire.reply().problem(408, "request-timeout");
    wire.assert_closed();
    assert_eq!(proxy.metric("raincheck_store_runs_accepted", &[]), 0.0);
}

#[test]
fn a_body_that_drips_for_too_long_is_408() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("limits.body_idle_timeout", "20s")
        .set("limits.body_timeout", "300ms")
        .start();
    let mut wire = proxy.wire();
    wire.send("POST /?async=true HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    while wire.try_send(b"x").is_ok() {
        std::thread::park_timeout(std::time::Duration::from_millis(20));
        if wire.has_answer() {
            break;
        }
    }
    wire.reply().problem(408, "request-timeout");
}

#[test]
fn past_the_memory_budget_bodies_are_spooled_and_arrive_unchanged() {
    let upstream = Server::fixed(200, "");
    let proxy = Setup::new(&upstream)
        .set("limits.intake_memory", "128 KiB")
        .start();
    let mut holder = proxy.wire();
    holder.send("POST /?async=true HTTP/1.1\r\nHost: a\r\nContent-Length: 120001\r\n\r\n");
    holder.send("x".repeat(120_000));
    let run = proxy.run(&Ask::post("/?async=true", "y".repeat(50_000)));
    proxy.finished(&run);
    assert_eq!(upstream.only().body, "y".repeat(50_000).as_bytes());
    holder.send("x");
    let reply = holder.reply();
    proxy.remember(&reply);
    assert_eq!(reply.status, 202);
    assert_eq!(upstream.wait_for(2)[1].body.len(), 120_001);
}

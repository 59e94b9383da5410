//! CPU of a plain request through Raincheck, as a multiple of a bare Pingora proxy's with the same peer.
//!
//! `cargo bench --bench figures -- pass_through`: rounds in turn (bare, ours, bare, ours, …), 64 connections, CPU time of the
//! proxies' processes alone. The ratio of each pair and their median are printed.

use std::time::Duration;

use crate::{load, peer, process, proxies};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(3);
const CONNECTIONS: usize = 64;
const REQUEST: &[u8] =
    b"GET /items/42?page=3&sort=name HTTP/1.1\r\nHost: app.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";

/// Prints the figures.
pub(crate) async fn compare() {
    let peer = peer::start(None).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bare = proxies::bare(&peer.address).await;
    let ours = proxies::raincheck(&peer.address, folder.path(), "").await;
    let mut ratios = Vec::new();
    println!(
        "pass-through, {CONNECTIONS} connections, load {}",
        process::machine_load()
    );
    round(&bare).await;
    round(&ours).await;
    for _ in 0..ROUNDS {
        let (b, o) = (round(&bare).await, round(&ours).await);
        println!(
            "bare {:5.1} µs at {:6.0}/s   raincheck {:5.1} µs at {:6.0}/s   × {:.3}",
            b.0,
            b.1,
            o.0,
            o.1,
            o.0 / b.0
        );
        ratios.push(o.0 / b.0);
    }
    println!(
        "CPU per request, median of {ROUNDS} pairs: × {:.3} (goal ≤ 1.10), load {}",
        process::median(&mut ratios),
        process::machine_load()
    );
    println!(
        "the peer answered {}",
        peer.answered.load(std::sync::atomic::Ordering::Relaxed)
    );
}

/// One round: CPU µs per request, and requests per second.
async fn round(proxy: &proxies::Proxy) -> (f64, f64) {
    let before = proxy.process.cpu();
    let measured = load::load(&proxy.address, REQUEST, 200, CONNECTIONS, ROUND).await;
    assert_eq!(measured.failed, 0, "every request is answered 200");
    let cpu = proxy.process.cpu() - before;
    (
        cpu.as_secs_f64() * 1e6 / measured.answered as f64,
        measured.rate(),
    )
}

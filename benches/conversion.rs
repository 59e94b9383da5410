//! CPU of a plain request that is answered in time on a route that converts slow ones, as a multiple of the same
//! request's on a route that does not.
//!
//! `cargo bench --bench figures -- conversion`: rounds in turn (plain, converting, plain, …), 64 connections, CPU time
//! of the proxies' processes alone; a GET, and a POST of 1 KiB whose body is kept while it is sent.

use std::time::Duration;

use crate::{load, peer, process, proxies};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(3);
const CONNECTIONS: usize = 64;

/// Prints the figures.
pub(crate) async fn compare() {
    let peer = peer::start(None).await;
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let plain = proxies::raincheck(&peer.address, folders[0].path(), "").await;
    let more = "convert_after = \"30s\"";
    let converting = proxies::raincheck(&peer.address, folders[1].path(), more).await;
    let get = b"GET /items/42?page=3&sort=name HTTP/1.1\r\nHost: app.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
    let mut post = b"POST /items HTTP/1.1\r\nHost: app.example\r\nUser-Agent: bench\r\nContent-Length: 1024\r\n\r\n".to_vec();
    post.resize(post.len() + 1024, b'x');
    for (name, request) in [("GET", &get[..]), ("POST of 1 KiB", &post)] {
        println!(
            "{name}, {CONNECTIONS} connections, load {}",
            process::machine_load()
        );
        round(&plain, request).await;
        round(&converting, request).await;
        let mut ratios = Vec::new();
        for _ in 0..ROUNDS {
            let (p, c) = (
                round(&plain, request).await,
                round(&converting, request).await,
            );
            println!(
                "plain {:5.1} µs at {:6.0}/s, p99 {:?}   converting {:5.1} µs at {:6.0}/s, p99 {:?}   × {:.3}",
                p.cpu,
                p.rate,
                p.p99,
                c.cpu,
                c.rate,
                c.p99,
                c.cpu / p.cpu
            );
            ratios.push(c.cpu / p.cpu);
        }
        println!(
            "{name}: CPU per request, median of {ROUNDS} pairs: × {:.3} (goal ≤ 1.10), load {}",
            process::median(&mut ratios),
            process::machine_load()
        );
    }
}

struct Round {
    /// Microseconds per request.
    cpu: f64,
    /// Requests per second.
    rate: f64,
    p99: Duration,
}

async fn round(proxy: &proxies::Proxy, request: &[u8]) -> Round {
    let before = proxy.process.cpu();
    let measured = load::load(&proxy.address, request, 200, CONNECTIONS, ROUND).await;
    assert_eq!(measured.failed, 0, "every request is answered 200");
    let cpu = proxy.process.cpu() - before;
    Round {
        cpu: cpu.as_secs_f64() * 1e6 / measured.answered as f64,
        rate: measured.rate(),
        p99: measured.latency(0.99),
    }
}

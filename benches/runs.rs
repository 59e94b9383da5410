//! Whole runs (202, upstream, record, webhook to a local sink) beside three round trips through bare Pingora.
//!
//! `cargo bench --bench figures -- runs`: rounds in turn. A round of ours posts `RUNS` runs over 64 connections and ends when the
//! sink has had every webhook; CPU is that of the proxies' processes alone.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use crate::{load, peer, process, proxies};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);
pub(crate) const CONNECTIONS: usize = 64;

/// Prints the figures.
pub(crate) async fn compare() {
    let (application, sink) = (peer::start(None).await, peer::start(None).await);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bare = proxies::bare(&application.address).await;
    let ours = proxies::raincheck(&application.address, folder.path(), "").await;
    let plain = request("/work");
    let run = request_with_webhook(&sink.address);
    println!(
        "whole runs, 256-byte bodies, {CONNECTIONS} connections, load {}",
        process::machine_load()
    );
    whole(&ours, &run, &sink, CONNECTIONS).await;
    let (mut rates, mut cpus) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = bare.process.cpu();
        let three = load::load(&bare.address, &plain, 200, CONNECTIONS, ROUND).await;
        let bare_cpu = (bare.process.cpu() - before).as_secs_f64() * 3e6 / three.answered as f64;
        let bare_rate = three.rate() / 3.0;
        let (rate, cpu, count, p99) = whole(&ours, &run, &sink, CONNECTIONS).await;
        println!(
            "three bare round trips {bare_cpu:6.1} µs at {bare_rate:6.0}/s   a run {cpu:6.1} µs at {rate:6.0}/s ({count}, 202 p99 {p99:?})   rate × {:.2}, CPU × {:.2}",
            rate / bare_rate,
            cpu / bare_cpu
        );
        rates.push(rate / bare_rate);
        cpus.push(cpu / bare_cpu);
    }
    println!(
        "medians: rate × {:.2} (goal ≥ 0.45), CPU × {:.2} (goal ≤ 2.2), load {}",
        process::median(&mut rates),
        process::median(&mut cpus),
        process::machine_load()
    );
}

/// A request for a run that is told to this sink.
pub(crate) fn request_with_webhook(sink: &str) -> Vec<u8> {
    request(&format!(
        "/work?async=true&webhookEndpoint=http%3A%2F%2F{}%2Fhook",
        sink.replace(':', "%3A")
    ))
}

fn request(target: &str) -> Vec<u8> {
    let body = "x".repeat(256);
    format!("POST {target} HTTP/1.1\r\nHost: app.example\r\nContent-Type: text/plain\r\nContent-Length: 256\r\n\r\n{body}").into_bytes()
}

/// Waits until the sink has had so many webhooks.
pub(crate) async fn told(sink: &peer::Peer, webhooks: u64) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while sink.answered.load(Ordering::Relaxed) < webhooks {
        assert!(
            Instant::now() < deadline,
            "every webhook arrives within two minutes"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One round of runs: completed runs per second, CPU µs per run, how many, and the 99th percentile of the 202's latency.
pub(crate) async fn whole(
    ours: &proxies::Proxy,
    run: &[u8],
    sink: &peer::Peer,
    connections: usize,
) -> (f64, f64, u64, Duration) {
    let told_before = sink.answered.load(Ordering::Relaxed);
    let (before, started) = (ours.process.cpu(), Instant::now());
    let measured = load::load(&ours.address, run, 202, connections, ROUND).await;
    assert_eq!(measured.failed, 0, "every request is answered 202");
    told(sink, told_before + measured.answered).await;
    let took = started.elapsed().as_secs_f64();
    let cpu = (ours.process.cpu() - before).as_secs_f64() * 1e6 / measured.answered as f64;
    (
        measured.answered as f64 / took,
        cpu,
        measured.answered,
        measured.latency(0.99),
    )
}

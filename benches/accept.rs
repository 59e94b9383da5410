//! Durable 202s (256-byte bodies, fsync on) beside those of the same gate on a store in memory.
//!
//! `cargo bench --bench figures -- accept`: rounds in turn. The application never answers and the route carries out
//! one run at a time, so that all but one of the runs are taken in only.

use std::{path::Path, sync::Arc, time::Duration};

use raincheck::{app, config::Config, plugin::Core, store::Store};

use crate::{load, memory_store::MemoryStore, peer, process, proxies};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);
const CONNECTIONS: usize = 64;
const RETENTION: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(86400);
/// Of a route whose application never answers: runs are taken in, and wait.
pub(crate) const WAITING: &str =
    "concurrency = 1\nresponse_grace_period = \"12h\"\n[limits]\nunfinished_runs = 100000000\n";

/// Serves the configuration in `file` on a store in memory, until killed.
pub(crate) fn serve(file: &str) {
    let config = Config::load(Path::new(file)).expect("the benchmark's configuration is right");
    let spool = config.store.path.clone();
    std::fs::create_dir_all(&spool).expect("the folder can be written");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    runtime.block_on(async {
        let _running = app::start_on(config, |config, runtime| {
            Core::open_on(config, runtime, |clock, _| {
                let store: Arc<dyn Store> = MemoryStore::new(spool, clock.clone(), RETENTION);
                Ok(store)
            })
        })
        .await
        .expect("the proxy starts");
        std::future::pending::<()>().await;
    });
}

/// Prints the figures.
pub(crate) async fn compare() {
    let application = peer::start(Some(DAY)).await;
    let (disk, memory) = (folder(), folder());
    let ours = proxies::raincheck(&application.address, disk.path(), WAITING).await;
    let other = proxies::in_memory(&application.address, memory.path(), WAITING).await;
    println!(
        "202s, 256-byte bodies, {CONNECTIONS} connections, fsync on, load {}",
        process::machine_load()
    );
    round(&ours).await;
    round(&other).await;
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let (memory, memory_cpu, _) = round(&other).await;
        let (rate, cpu, p99) = round(&ours).await;
        println!(
            "in memory {memory_cpu:5.1} µs at {memory:6.0}/s   durable {cpu:5.1} µs at {rate:6.0}/s (p99 {p99:?})   rate × {:.2}",
            rate / memory
        );
        rates.push((rate / memory, cpu));
    }
    rates.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut cpus: Vec<f64> = rates.iter().map(|(_, cpu)| *cpu).collect();
    cpus.sort_by(f64::total_cmp);
    println!(
        "medians: rate × {:.2} (goal ≥ 0.65), CPU {:.1} µs (goal ≤ 45), load {}",
        rates[ROUNDS / 2].0,
        cpus[ROUNDS / 2],
        process::machine_load()
    );
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A request for a run that is taken in and waits.
pub(crate) fn request() -> Vec<u8> {
    let body = "x".repeat(256);
    format!("POST /work?async=true HTTP/1.1\r\nHost: app.example\r\nContent-Type: text/plain\r\nContent-Length: 256\r\n\r\n{body}").into_bytes()
}

/// 202s per second, CPU µs for each, and the 99th percentile of their latency.
pub(crate) async fn round(proxy: &proxies::Proxy) -> (f64, f64, Duration) {
    let before = proxy.process.cpu();
    let measured = load::load(&proxy.address, &request(), 202, CONNECTIONS, ROUND).await;
    assert_eq!(measured.failed, 0, "every request is answered 202");
    let cpu = (proxy.process.cpu() - before).as_secs_f64() * 1e6 / measured.answered as f64;
    (measured.rate(), cpu, measured.latency(0.99))
}

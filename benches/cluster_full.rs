//! A database with ten million finished runs beside an empty one on the same server: the rate of 202s, and lists.
//!
//! `cargo bench --bench figures -- cluster_full`. It takes some ten minutes and 12 GB of disk below `TMPDIR`.

use std::time::{Duration, Instant};

use crate::{accept, dashboard, load, peer, postgres::Cluster, process, proxies};

const RUNS: u64 = 10_000_000;
/// In the other one: enough for a page of each list.
const FEW: u64 = 1_000;
const ROUNDS: usize = 5;
/// Copies the only run that is over, with its response: as many times as `{runs}` says, 128 of them in a millisecond.
const FILL: &str = "
    SET synchronous_commit = off;
    CREATE TEMPORARY TABLE copy AS
      SELECT (lpad(to_hex(accepted - 1 - i / 128), 12, '0') || '7' || lpad(to_hex(i % 128 * 32), 3, '0')
        || '8' || lpad(to_hex(i), 15, '0'))::uuid AS id FROM raincheck.run, generate_series(1, {runs}) AS i;
    INSERT INTO raincheck.response (id, head, body, len, file)
      SELECT copy.id, one.head, one.body, one.len, one.file FROM copy, raincheck.response AS one;
    INSERT INTO raincheck.run (id, state, reason, route, name, dialect, accepted, started, finished, done, attempts,
        d_state, d_attempts, d_host, fixed, doc, secret)
      SELECT copy.id, state, reason, route, name, dialect, accepted, started, finished, done, attempts,
        d_state, d_attempts, d_host, fixed, doc, secret FROM copy, raincheck.run AS one;";

/// A replica on a database of its own.
struct Side {
    proxy: proxies::Proxy,
    _folder: tempfile::TempDir,
}

/// Prints the figures.
pub(crate) async fn compare() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    // The first run is answered at once, all others never.
    let (quick, slow) = (
        peer::start(None).await,
        peer::start(Some(accept::DAY)).await,
    );
    let full = side(&cluster, "full", RUNS, (&quick, &slow)).await;
    let empty = side(&cluster, "empty", FEW, (&quick, &slow)).await;
    accept::round(&full.proxy).await;
    accept::round(&empty.proxy).await;
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let (without, ..) = accept::round(&empty.proxy).await;
        let (with, ..) = accept::round(&full.proxy).await;
        println!(
            "202s: empty {without:6.0}/s   full {with:6.0}/s   takes × {:.2}",
            without / with
        );
        ratios.push(without / with);
    }
    println!(
        "median: a 202 takes × {:.2} (goal ≤ 1.2), load {}",
        process::median(&mut ratios),
        process::machine_load()
    );
    for (what, query) in [
        ("all", ""),
        ("succeeded", "?state=succeeded"),
        ("failed", "?state=failed"),
        ("of a route", "?route=app&success=true"),
        ("by name", "?name=/work&state=succeeded"),
    ] {
        let target = format!("/api/v1/runs{query}");
        let with = dashboard::look(&full.proxy.admin, &target).await;
        let without = dashboard::look(&empty.proxy.admin, &target).await;
        let half = |times: &[Duration]| times[times.len() / 2];
        println!(
            "list {what:10}   empty p50 {:7.2?}   full p50 {:7.2?} p99 {:7.2?}   × {:.2} (goal ≤ 1.2)",
            half(&without),
            half(&with),
            with[with.len() * 99 / 100],
            half(&with).as_secs_f64() / half(&without).as_secs_f64()
        );
    }
}

/// A database with so many finished runs, and a replica on it whose application never answers.
async fn side(
    cluster: &Cluster,
    name: &str,
    runs: u64,
    (quick, slow): (&peer::Peer, &peer::Peer),
) -> Side {
    let url = cluster.database(name);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = proxies::on_postgres(&quick.address, folder.path(), &url, "").await;
    let mut stream = tokio::net::TcpStream::connect(&first.address)
        .await
        .expect("it listens");
    let status = load::exchange(&mut stream, &accept::request(), &mut Vec::new()).await;
    assert_eq!(status, Some(202), "the run is accepted");
    while cluster.ask(name, "SELECT count(*) FROM raincheck.run") != "1" {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(first);
    let filling = Instant::now();
    cluster.ask(name, &FILL.replace("{runs}", &runs.to_string()));
    cluster.ask(name, "VACUUM ANALYZE");
    cluster.ask(name, "CHECKPOINT");
    let size = cluster.ask(
        name,
        "SELECT pg_size_pretty(pg_database_size(current_database()))",
    );
    let stored = cluster.ask(name, "SELECT count(*) FROM raincheck.run");
    println!(
        "{name}: {stored} finished runs, {size}, filled in {:.0?}",
        filling.elapsed()
    );
    let proxy = proxies::on_postgres(&slow.address, folder.path(), &url, accept::WAITING).await;
    Side {
        proxy,
        _folder: folder,
    }
}

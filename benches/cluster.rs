//! The store of several replicas beside the embedded one: durable 202s, and what a whole run costs the database.
//!
//! `cargo bench --bench figures -- cluster | cluster_runs`. PostgreSQL has to be installed; it runs on the same machine.

use std::time::Duration;

use crate::{accept, peer, postgres::Cluster, process, proxies, runs};

const ROUNDS: usize = 5;
const DATABASE: &str = "bench";
const FEW: usize = 8;
const STATISTICS: Duration = Duration::from_secs(2);

/// Prints the figures.
pub(crate) async fn compare() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let url = cluster.database(DATABASE);
    let application = peer::start(Some(accept::DAY)).await;
    let folder = || tempfile::tempdir().expect("a temporary folder");
    let (ours, theirs) = (folder(), folder());
    let sqlite = proxies::raincheck(&application.address, ours.path(), accept::WAITING).await;
    let postgres =
        proxies::on_postgres(&application.address, theirs.path(), &url, accept::WAITING).await;
    accept::round(&sqlite).await;
    accept::round(&postgres).await;
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let (embedded, ..) = accept::round(&sqlite).await;
        let before = cpu(&cluster);
        let accepted = "SELECT sum(n) FROM raincheck.tally WHERE kind = 0";
        let count = || {
            cluster
                .ask(DATABASE, accepted)
                .parse::<f64>()
                .unwrap_or_default()
        };
        let counted = count();
        let (shared, ..) = accept::round(&postgres).await;
        let each = (cpu(&cluster) - before).as_secs_f64() * 1e6 / (count() - counted);
        println!(
            "202s: SQLite {embedded:6.0}/s   PostgreSQL {shared:6.0}/s   × {:.2}   database CPU {each:.0} µs each",
            shared / embedded
        );
        ratios.push(shared / embedded);
    }
    println!(
        "median × {:.2} (goal ≥ 0.4), load {}",
        process::median(&mut ratios),
        process::machine_load()
    );
}

/// Prints what whole runs, a webhook each, cost the database: at a load that it keeps up with, where a run starts when it is
/// accepted, and at one where runs queue up.
pub(crate) async fn whole() {
    for connections in [FEW, runs::CONNECTIONS] {
        whole_over(connections).await;
    }
}

async fn whole_over(connections: usize) {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let url = cluster.database(DATABASE);
    let (application, sink) = (peer::start(None).await, peer::start(None).await);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let proxy = proxies::on_postgres(&application.address, folder.path(), &url, "").await;
    let run = runs::request_with_webhook(&sink.address);
    runs::whole(&proxy, &run, &sink, connections).await;
    let live = || {
        let sql = "SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = 'live'";
        let number = cluster.ask(DATABASE, sql);
        number.parse::<f64>().unwrap_or_default()
    };
    let (mut cpus, mut changes) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // Statistics come a second late.
        tokio::time::sleep(STATISTICS).await;
        let (before, changed) = (cpu(&cluster), live());
        let (rate, _, count, p99) = runs::whole(&proxy, &run, &sink, connections).await;
        let used = (cpu(&cluster) - before).as_secs_f64() * 1e6 / count as f64;
        tokio::time::sleep(STATISTICS).await;
        let rows = (live() - changed) / count as f64;
        println!(
            "whole runs over {connections} connections: {rate:6.0}/s (202 p99 {p99:?})   database CPU {used:5.0} µs, row changes in `live` {rows:.2} each"
        );
        cpus.push(used);
        changes.push(rows);
    }
    println!(
        "medians: database CPU {:.0} µs (goal ≤ 120), row changes {:.2} (goal ≤ 3), load {}",
        process::median(&mut cpus),
        process::median(&mut changes),
        process::machine_load()
    );
}

/// CPU of all processes of the server.
fn cpu(cluster: &Cluster) -> Duration {
    let processes = cluster.processes().into_iter();
    processes.map(process::cpu_of).sum()
}

//! Two replicas beside one, each held to a quarter of a core, so that neither the database nor the load is the limit.
//!
//! `cargo bench --bench figures -- cluster_two`, as root: the processes are put into control groups.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use futures::future::join_all;

use crate::{accept, load, peer, postgres::Cluster, process, proxies, runs};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(6);
const SHARE: f64 = 0.25;
const DATABASE: &str = "bench";

/// Prints the figures.
pub(crate) async fn compare() {
    accepted().await;
    whole().await;
}

async fn accepted() {
    let application = peer::start(Some(accept::DAY)).await;
    let request = accept::request();
    rounds("202s", &application, accept::WAITING, async |replicas| {
        let (answered, took) = load_of(replicas, &request).await;
        answered as f64 / took.as_secs_f64()
    })
    .await;
}

async fn whole() {
    let (application, sink) = (peer::start(None).await, peer::start(None).await);
    let request = runs::request_with_webhook(&sink.address);
    rounds("whole runs", &application, "", async |replicas| {
        let (told, began) = (sink.answered.load(Ordering::Relaxed), Instant::now());
        let (answered, _) = load_of(replicas, &request).await;
        runs::told(&sink, told + answered).await;
        answered as f64 / began.elapsed().as_secs_f64()
    })
    .await;
}

/// What a round over these replicas reaches, one replica and two in turn.
async fn rounds(
    what: &str,
    application: &peer::Peer,
    more: &str,
    round: impl AsyncFn(&[&proxies::Proxy]) -> f64,
) {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let url = cluster.database(DATABASE);
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
    // The other one is started for its rounds only: it would take a part of the work.
    let one = replica(application, &folders[0], &url, more).await;
    round(&[&one]).await;
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let alone = round(&[&one]).await;
        let other = replica(application, &folders[1], &url, more).await;
        round(&[&one, &other]).await;
        let both = round(&[&one, &other]).await;
        drop(other);
        println!(
            "{what}: one {alone:6.0}/s   two {both:6.0}/s   × {:.2}",
            both / alone
        );
        ratios.push(both / alone);
        // What it held is taken over before one is measured again.
        while cluster.ask(DATABASE, "SELECT count(*) FROM raincheck.replica") != "1" {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    println!(
        "{what}: median × {:.2} (goal ≥ 1.6), load {}",
        process::median(&mut ratios),
        process::machine_load()
    );
}

async fn replica(
    application: &peer::Peer,
    folder: &tempfile::TempDir,
    url: &str,
    more: &str,
) -> proxies::Proxy {
    let mut proxy = proxies::on_postgres(&application.address, folder.path(), url, more).await;
    proxy.process.hold_to(SHARE);
    proxy
}

/// As many connections in all, whether over one replica or two: 202s, and how long they were asked for.
async fn load_of(replicas: &[&proxies::Proxy], request: &[u8]) -> (u64, Duration) {
    let each = runs::CONNECTIONS / replicas.len();
    let began = Instant::now();
    let loads = replicas
        .iter()
        .map(|replica| load::load(&replica.address, request, 202, each, ROUND));
    let measured = join_all(loads).await;
    assert!(
        measured.iter().all(|one| one.failed == 0),
        "every request is answered 202"
    );
    let answered = measured.iter().map(|one| one.answered).sum();
    (answered, began.elapsed())
}

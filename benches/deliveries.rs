//! Deliveries: their rate beside reqwest alone, and what 100,000 that wait cost in memory and at a start.
//!
//! `cargo bench --bench figures -- deliveries`: `TOLD` pending deliveries with bodies of 1 KiB in a real store, to a sink
//! on the loopback, signed; and as many bare POSTs of the same bytes by the same client library, `AT_A_TIME` of each.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use raincheck::{
    config::{Config, Durability},
    courier::{Courier, Links, Parts},
    metrics::Metrics,
    model::{
        delivery::DeliveryState,
        exchange::{Body, StoredRequest, StoredResponse},
        policy::Policy,
        retry::{Next, Outcome},
        run::{Access, End, Extra, Facts},
        secret::Secret,
    },
    plugin::clock,
    store::{
        Accepted, NewRun, Settlement, Store,
        sqlite::{Settings, SqliteStore},
    },
};

use crate::{peer, process};

const TOLD: usize = 20_000;
const AT_A_TIME: usize = 64;
const WAITING: usize = 100_000;
const BODY: &[u8] = &[b'x'; 1024];

/// Prints the figures.
pub(crate) async fn compare() {
    // One TLS provider, as in the program.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let sink = peer::start(None).await;
    let url = format!("http://{}/hook", sink.address);
    for round in 1..=3 {
        let (bare, bare_cpu) = cpu_of(bare(&url)).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        fill(folder.path(), &url, TOLD).await;
        let (told, told_cpu) = cpu_of(told(folder.path())).await;
        println!(
            "round {round}: {told:.0} deliveries/s, reqwest alone {bare:.0}/s: {:.2} × (goal ≥ 0.5); \
             {told_cpu:.0} and {bare_cpu:.0} µs of CPU each, the sink's included; load {}",
            told / bare,
            process::machine_load()
        );
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    fill(folder.path(), "http://127.0.0.1:9/dead", WAITING).await;
    wait(folder.path()).await;
}

/// What a rate was, and the microseconds of CPU that this process spent on each.
async fn cpu_of(work: impl Future<Output = f64>) -> (f64, f64) {
    let used = || {
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
    };
    let before = used();
    let rate = work.await;
    (rate, (used() - before) / TOLD as f64 * 1e6)
}

/// POSTs a second, by the client library alone.
async fn bare(url: &str) -> f64 {
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let started = Instant::now();
    let posts = (0..AT_A_TIME).map(|_| {
        let (client, url) = (client.clone(), url.to_owned());
        tokio::spawn(async move {
            for _ in 0..TOLD / AT_A_TIME {
                let body = Bytes::from_static(BODY);
                let answer = client.post(&url).body(body).send().await;
                answer
                    .expect("the sink answers")
                    .bytes()
                    .await
                    .expect("a body");
            }
        })
    });
    futures::future::join_all(posts.collect::<Vec<_>>()).await;
    TOLD as f64 / started.elapsed().as_secs_f64()
}

/// Deliveries a second, from the store and back into it.
async fn told(folder: &Path) -> f64 {
    let store = open(folder, Durability::Fsync);
    let started = Instant::now();
    let courier = courier(&store);
    while delivered(&store).await < TOLD as u64 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rate = TOLD as f64 / started.elapsed().as_secs_f64();
    courier.drain(Duration::from_secs(1)).await;
    store.close().await;
    rate
}

async fn delivered(store: &SqliteStore) -> u64 {
    let books = store.books().await.expect("the books");
    books.deliveries(DeliveryState::Delivered)
}

/// What those that wait cost: their receiver takes no connection.
async fn wait(folder: &Path) {
    let before = process::resident_of(std::process::id());
    let started = Instant::now();
    let store = open(folder, Durability::Fsync);
    let courier = courier(&store);
    while courier.lines().len() < WAITING - 2 * AT_A_TIME {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let ready = started.elapsed();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let each = process::resident_of(std::process::id()).saturating_sub(before) / WAITING as u64;
    println!(
        "{WAITING} pending: scheduled {:.2} s after the start (goal ≤ 2), {each} bytes of memory each (goal ≤ 1000)",
        ready.as_secs_f64()
    );
    courier.drain(Duration::from_secs(1)).await;
    store.close().await;
}

fn courier(store: &Arc<SqliteStore>) -> Courier {
    let mut settings = config().webhook.clone();
    settings.concurrency = AT_A_TIME;
    settings.per_host = AT_A_TIME;
    let secret: Arc<[Secret]> = Arc::new([Secret::new(*b"a secret of twenty-four b")]);
    Courier::start(Parts {
        store: Arc::clone(store) as Arc<dyn Store>,
        clock: clock::system(),
        metrics: Metrics::new().expect("metrics have different names"),
        settings,
        secrets: Arc::new(move |_| Arc::clone(&secret)),
        links: Links::default(),
        runtime: tokio::runtime::Handle::current(),
    })
    .expect("a courier")
}

fn config() -> Config {
    let text =
        "[webhook]\nallow_networks = [\"127.0.0.0/8\"]\n[[route]]\nname = \"app\"\n[route.async]\n";
    Config::embedded(text).expect("the configuration is right")
}

fn open(folder: &Path, durability: Durability) -> Arc<SqliteStore> {
    let settings = Settings {
        path: folder.join("store"),
        durability,
        retention: Duration::from_secs(72 * 3600),
        max_bytes: 0,
        public_prefix: "/_raincheck".into(),
    };
    let metrics = Arc::new(Metrics::new().expect("metrics have different names"));
    SqliteStore::open(settings, clock::system(), metrics).expect("the store opens")
}

/// Stores `count` runs that have ended and whose deliveries wait.
async fn fill(folder: &Path, url: &str, count: usize) {
    let store = open(folder, Durability::Relaxed);
    let config = config();
    let policy = &config.routes[0]
        .run
        .as_ref()
        .expect("a route with runs")
        .policy;
    let fills = (0..AT_A_TIME).map(|nth| {
        let share = count / AT_A_TIME + usize::from(nth < count % AT_A_TIME);
        let (store, policy, url) = (Arc::clone(&store), Arc::clone(policy), url.to_owned());
        tokio::spawn(async move {
            for _ in 0..share {
                end_one(&store, &policy, &url).await;
            }
        })
    });
    futures::future::join_all(fills.collect::<Vec<_>>()).await;
    store.close().await;
}

async fn end_one(store: &SqliteStore, policy: &Arc<Policy>, url: &str) {
    let now = clock::system().now();
    let new = NewRun {
        id: store.next_id(),
        policy: Arc::clone(policy),
        facts: Facts {
            dialect: "cerebrium".into(),
            asynchronous: true,
            name: "/work".into(),
            method: "POST".into(),
            path: "/work".into(),
            has_key: false,
            webhook_endpoint: Some(url.to_owned()),
            depth: 0,
            traceparent: None,
            access: Access::Anybody,
            extra: Extra::default(),
        },
        request: StoredRequest {
            head: Bytes::from_static(b"POST /work HTTP/1.1\r\nHost: app.example\r\n\r\n"),
            body: Body::EMPTY,
            client: None,
            tls: false,
            webhook_secret: None,
        },
        key: None,
        accepted_at: now,
        start: true,
    };
    let Ok(Accepted::New(Some(claim))) = store.accept(new).await else {
        panic!("the run is not started");
    };
    let settlement = Settlement {
        began: now,
        outcome: Outcome::Answered {
            status: 200,
            retry_after: None,
        },
        progress: claim.run.progress,
        next: Next::End(End::Succeeded),
        response: Some(StoredResponse {
            head: Bytes::from_static(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"),
            body: Body::Inline(Bytes::from_static(BODY)),
        }),
        claim_delivery: false,
    };
    store
        .settle_run(*claim, settlement)
        .await
        .expect("the end is recorded");
}

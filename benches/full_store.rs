//! A store that holds a million finished runs beside an empty one: start-up, the rate of 202s, looking up a record.
//!
//! `cargo bench --bench figures -- full_store`. Filling it takes a minute or two.

use std::{path::Path, sync::Arc, time::Instant};

use bytes::Bytes;
use futures::{StreamExt, stream};
use raincheck::{
    config::{Config, Durability},
    metrics::Metrics,
    model::{
        exchange::{Body, StoredRequest, StoredResponse},
        id::RunId,
        policy::Policy,
        retry::Next,
        run::{Access, End, Extra, Facts},
        time::SharedClock,
    },
    plugin::clock,
    store::{
        Accepted, NewRun, Settlement, Store,
        sqlite::{Settings, SqliteStore},
    },
};

use crate::{accept, load, peer, process, proxies};

const RUNS: usize = 1_000_000;
/// As many submitters as make the batches large.
const AT_ONCE: usize = 512;
const LOOKS: usize = 2000;
const ROUNDS: usize = 5;

/// Prints the figures.
pub(crate) async fn compare() {
    let application = peer::start(Some(accept::DAY)).await;
    let temporary = || tempfile::tempdir().expect("a temporary folder");
    let (full, empty) = (temporary(), temporary());
    let filling = Instant::now();
    let known = fill(full.path()).await;
    println!("{RUNS} runs stored in {:.0?}", filling.elapsed());
    let starting = Instant::now();
    let ours = proxies::raincheck(&application.address, full.path(), accept::WAITING).await;
    println!("start-up {:.0?} (goal ≤ 1 s)", starting.elapsed());
    look(&ours, &known).await;
    let other = proxies::raincheck(&application.address, empty.path(), accept::WAITING).await;
    accept::round(&ours).await;
    accept::round(&other).await;
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let (without, ..) = accept::round(&other).await;
        let (with, ..) = accept::round(&ours).await;
        println!(
            "202s: empty {without:6.0}/s   full {with:6.0}/s   × {:.2}",
            with / without
        );
        ratios.push(with / without);
    }
    println!(
        "median × {:.2} (goal ≥ 0.9), load {}",
        process::median(&mut ratios),
        process::machine_load()
    );
}

/// Looks up records one after the other, over one connection.
async fn look(proxy: &proxies::Proxy, known: &[RunId]) {
    let mut stream = tokio::net::TcpStream::connect(&proxy.address)
        .await
        .expect("the proxy listens");
    let (mut buffer, mut times) = (Vec::new(), Vec::new());
    for id in known.iter().step_by(known.len() / LOOKS) {
        let request = format!("GET /_raincheck/runs/{id} HTTP/1.1\r\nHost: app.example\r\n\r\n");
        let asked = Instant::now();
        let status = load::exchange(&mut stream, request.as_bytes(), &mut buffer).await;
        assert_eq!(status, Some(200), "a finished run is shown");
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    println!(
        "looking up a record: p50 {:.0?}, p99 {:.0?} (goal ≤ 1 ms)",
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );
}

/// Puts the runs into the store that [`proxies::raincheck`] opens in `folder`.
pub(crate) async fn fill(folder: &Path) -> Vec<RunId> {
    let config = Config::for_upstream("http://127.0.0.1:1").expect("a plain upstream is right");
    let settings = Settings {
        path: folder.join("store"),
        durability: Durability::Relaxed,
        retention: accept::DAY,
        max_bytes: 0,
        public_prefix: config.server.public_prefix.clone(),
    };
    let metrics = Arc::new(Metrics::new().expect("metrics are made"));
    let clock = clock::system();
    let store = SqliteStore::open(settings, clock.clone(), metrics).expect("a new store is made");
    let run = config.routes[0].run.as_ref().expect("the route takes runs");
    let policy = run.policy.clone();
    let known = stream::iter(0..RUNS)
        .map(|_| finished(store.as_ref(), &clock, policy.clone()))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    store.close().await;
    known
}

/// Stores a run from its acceptance to its end.
async fn finished(store: &SqliteStore, clock: &SharedClock, policy: Arc<Policy>) -> RunId {
    let id = store.next_id();
    let new = NewRun {
        id,
        policy,
        facts: Facts {
            dialect: "cerebrium".into(),
            asynchronous: true,
            name: "/work".into(),
            method: "POST".into(),
            path: "/work".into(),
            has_key: false,
            webhook_endpoint: None,
            depth: 0,
            traceparent: None,
            access: Access::Anybody,
            extra: Extra::default(),
        },
        request: StoredRequest {
            head: Bytes::from_static(
                b"POST /work HTTP/1.1\r\nHost: app.example\r\nContent-Length: 256\r\n\r\n",
            ),
            body: Body::Inline(Bytes::from_static(&[b'x'; 256])),
            client: None,
            tls: false,
            webhook_secret: None,
        },
        key: None,
        accepted_at: clock.now(),
        start: true,
    };
    let accepted = store.accept(new).await.expect("the run is stored");
    let Accepted::New(Some(claim)) = accepted else {
        panic!("the run is not started");
    };
    let settlement = Settlement {
        began: claim.run.accepted_at,
        outcome: raincheck::model::retry::Outcome::Answered {
            status: 200,
            retry_after: None,
        },
        progress: claim.run.progress,
        next: Next::End(End::Succeeded),
        response: Some(StoredResponse {
            head: Bytes::from_static(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"),
            body: Body::Inline(Bytes::from_static(b"{\"answer\":42,\"ok\":true}")),
        }),
        claim_delivery: false,
    };
    store
        .settle_run(*claim, settlement)
        .await
        .expect("the end is recorded");
    id
}

//! The store alone: whole lives of runs per second, and what a million finished runs cost.
//! `cargo bench --bench store -- [RUNS]`, or `-- lists [RUNS]` for the lists of a namespace's activations; the figures are this machine's, so quote them with its load.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints its figures, takes the system's time, and its tasks end with it"
)]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use raincheck::{
    config::Durability,
    metrics::Metrics,
    model::{
        delivery::DeliveryOutcome,
        exchange::{Body, StoredRequest, StoredResponse},
        filter::Filter,
        id::RunId,
        policy::{Policy, Repeat, StatusSet, WebhookBody, WebhookPolicy},
        retry::Next,
        run::{Access, End, Extra, Facts, RunState},
        time::{Clock, Timestamp},
    },
    store::{
        Accepted, DeliveryAttempt, NewRun, Page, Settlement, Store,
        sqlite::{Settings, SqliteStore},
    },
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Lives that go on at a time.
const SUBMITTERS: usize = 256;
/// Lives that are measured, in an empty store and in a full one.
const MEASURED: usize = 100_000;
/// Look-ups that are measured.
const LOOKUPS: usize = 10_000;

struct System;

impl Clock for System {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

fn main() {
    let kept = std::env::args().find_map(|word| word.parse().ok());
    let kept: usize = kept.unwrap_or(1_000_000);
    let folder = tempfile::tempdir_in(".").expect("the folder of the benchmark");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    if std::env::args().any(|word| word == "lists") {
        runtime.block_on(lists(folder.path(), kept));
    } else {
        runtime.block_on(figures(folder.path(), kept));
    }
}

/// Lists of a namespace among many activations: one of a hundred has the name that is asked for.
async fn lists(folder: &Path, kept: usize) {
    let path = folder.join("store");
    let store = open(&path, Durability::Relaxed);
    let started = Instant::now();
    activations(&store, kept).await;
    println!(
        "{kept} activations made in {:.0} s",
        started.elapsed().as_secs_f64()
    );
    store.close().await;
    let store = open(&path, Durability::Fsync);
    let all = Filter {
        states: vec![RunState::Succeeded, RunState::Failed, RunState::Cancelled],
        route: Some("app".into()),
        ..Filter::default()
    };
    let named = Filter {
        name: Some("sample/hello-7".into()),
        ..all.clone()
    };
    let since = Filter {
        started_since: Some(System.now()),
        since: Some(System.now()),
        ..named.clone()
    };
    for (what, filter, skip) in [
        ("30 by name", &named, 0),
        ("30 by name, skipping 5,000", &named, 5000),
        ("30 of all", &all, 0),
        ("30 of all, skipping 50,000", &all, 50_000),
        ("none since a time, by name", &since, 0),
    ] {
        let page = Page {
            before: None,
            skip,
            limit: 30,
        };
        let mut took = Vec::new();
        for _ in 0..200 {
            let started = Instant::now();
            let listed = store.list(filter.clone(), page).await;
            took.push(started.elapsed());
            let found = listed.expect("the store can be read").runs.len();
            assert_eq!(
                found,
                if filter == &since {
                    0
                } else {
                    30.min(kept / 100)
                }
            );
        }
        took.sort();
        println!(
            "list {what}, among {kept}: p50 {:.2} ms, p99 {:.2} ms",
            millis(took[100]),
            millis(took[198])
        );
    }
    let started = Instant::now();
    let count = store.count(named).await.expect("the store can be read");
    println!("count {count} by name: {:.1} ms", millis(started.elapsed()));
    let started = Instant::now();
    let count = store.count(all).await.expect("the store can be read");
    println!("count {count}: {:.0} ms", millis(started.elapsed()));
    store.close().await;
}

/// Lets `count` short runs of a hundred actions live.
async fn activations(store: &Arc<SqliteStore>, count: usize) {
    let policy = Arc::new(policy());
    let body = Bytes::from_static(b"{}");
    let submitters = (0..SUBMITTERS).map(|nth| {
        let share = count / SUBMITTERS + usize::from(nth < count % SUBMITTERS);
        let (store, policy, body) = (Arc::clone(store), Arc::clone(&policy), body.clone());
        tokio::spawn(async move {
            for one in 0..share {
                let facts = Facts {
                    dialect: "openwhisk".into(),
                    name: format!("sample/hello-{}", (nth + one) % 100),
                    ..facts(false)
                };
                life(&store, &policy, &body, facts).await;
            }
        })
    });
    for submitter in submitters.collect::<Vec<_>>() {
        submitter.await.expect("a submitter ends");
    }
}

async fn figures(folder: &Path, kept: usize) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load at the start: {}", load.trim());
    let path = folder.join("store");
    let store = open(&path, Durability::Fsync);
    report(
        "empty store, with webhook",
        MEASURED,
        lives(&store, MEASURED, true),
    )
    .await;
    report(
        "the same, without",
        MEASURED,
        lives(&store, MEASURED, false),
    )
    .await;
    store.close().await;

    let store = open(&path, Durability::Relaxed);
    let ids = lives(&store, kept, true).await;
    store.close().await;
    let started = Instant::now();
    let store = open(&path, Durability::Fsync);
    println!(
        "open with {kept} finished runs: {:.1} ms",
        millis(started.elapsed())
    );
    report(
        "full store, with webhook",
        MEASURED,
        lives(&store, MEASURED, true),
    )
    .await;
    look_up(&store, &ids).await;
    store.close().await;
}

fn open(path: &Path, durability: Durability) -> Arc<SqliteStore> {
    let settings = Settings {
        path: path.to_owned(),
        durability,
        retention: Duration::from_secs(72 * 3600),
        max_bytes: 0,
        public_prefix: "/_raincheck".into(),
    };
    let metrics = Arc::new(Metrics::new().expect("metrics have different names"));
    SqliteStore::open(settings, Arc::new(System), metrics).expect("the store opens")
}

async fn report(what: &str, count: usize, work: impl Future<Output = Vec<RunId>>) {
    let cpu = cpu();
    let started = Instant::now();
    work.await;
    let took = started.elapsed().as_secs_f64();
    let cpu = (self::cpu() - cpu) / count as f64 * 1e6;
    let rate = count as f64 / took;
    println!("{what}: {rate:.0} lives/s, {cpu:.1} µs of CPU each");
}

/// Lets `count` runs live: accepted as started, ended, and told if there is a webhook.
async fn lives(store: &Arc<SqliteStore>, count: usize, webhook: bool) -> Vec<RunId> {
    let policy = Arc::new(policy());
    let body = Bytes::from(vec![b'x'; 1024]);
    let submitters = (0..SUBMITTERS).map(|nth| {
        let share = count / SUBMITTERS + usize::from(nth < count % SUBMITTERS);
        let (store, policy, body) = (Arc::clone(store), Arc::clone(&policy), body.clone());
        tokio::spawn(async move {
            let mut ids = Vec::with_capacity(share);
            for _ in 0..share {
                ids.push(life(&store, &policy, &body, facts(webhook)).await);
            }
            ids
        })
    });
    let done = futures::future::join_all(submitters.collect::<Vec<_>>()).await;
    done.into_iter()
        .flat_map(|ids| ids.expect("a submitter ends"))
        .collect()
}

async fn life(store: &SqliteStore, policy: &Arc<Policy>, body: &Bytes, facts: Facts) -> RunId {
    let id = store.next_id();
    let new = NewRun {
        id,
        policy: Arc::clone(policy),
        facts,
        request: StoredRequest {
            head: Bytes::from_static(
                b"POST /predict HTTP/1.1\r\nhost: app\r\ncontent-length: 1024\r\n\r\n",
            ),
            body: Body::Inline(body.clone()),
            client: None,
            tls: false,
            webhook_secret: None,
        },
        key: None,
        accepted_at: System.now(),
        start: true,
    };
    let Ok(Accepted::New(Some(claim))) = store.accept(new).await else {
        panic!("a run was not accepted");
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
            head: Bytes::from_static(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1024\r\n\r\n",
            ),
            body: Body::Inline(body.clone()),
        }),
        claim_delivery: true,
    };
    let settled = store.settle_run(*claim, settlement).await;
    let settled = settled.expect("a claim is settled");
    if let Some(delivery) = settled.delivery {
        let attempt = DeliveryAttempt {
            outcome: DeliveryOutcome::Answered {
                status: 200,
                retry_after: None,
            },
            started_at: System.now(),
            chance: 0.5,
            address: None,
            took: Duration::from_millis(7),
            detail: String::new(),
            excerpt: "thanks".into(),
        };
        let told = store.settle_delivery(*delivery, attempt).await;
        told.expect("a delivery is settled");
    }
    id
}

async fn look_up(store: &SqliteStore, ids: &[RunId]) {
    let mut took = Vec::with_capacity(LOOKUPS);
    for _ in 0..LOOKUPS {
        let id = ids[fastrand::usize(..ids.len())];
        let started = Instant::now();
        store.find(id).await.expect("the store can be read");
        took.push(started.elapsed());
    }
    took.sort();
    let (p50, p99) = (took[LOOKUPS / 2], took[LOOKUPS * 99 / 100]);
    println!(
        "look-up among {}: p50 {:.3} ms, p99 {:.3} ms",
        ids.len(),
        millis(p50),
        millis(p99)
    );
}

fn policy() -> Policy {
    Policy {
        route: "app".into(),
        response_grace_period: Duration::from_secs(900),
        max_queue_time: Duration::from_secs(86_400),
        repeat: Repeat::Idempotent,
        attempts: 1,
        retry_statuses: vec![429, 502, 503, 504],
        success_statuses: StatusSet(vec![200..=399]),
        response_body: 64 << 20,
        webhook: WebhookPolicy {
            on: vec![RunState::Succeeded, RunState::Failed, RunState::Cancelled],
            schedule: vec![Duration::ZERO, Duration::from_secs(5)],
            body: WebhookBody::Raw,
        },
    }
}

fn facts(webhook: bool) -> Facts {
    Facts {
        dialect: "cerebrium".into(),
        asynchronous: true,
        name: "/predict".into(),
        method: "POST".into(),
        path: "/predict".into(),
        has_key: false,
        webhook_endpoint: webhook.then(|| "https://hooks.example.com/in".into()),
        depth: 1,
        traceparent: None,
        access: Access::Owner([7; 32]),
        extra: Extra::default(),
    }
}

/// Seconds of CPU that this process has used.
fn cpu() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

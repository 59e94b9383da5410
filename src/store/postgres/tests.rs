//! The conformance suite on this back end, and tests of what only it has.

use proptest::{prelude::*, test_runner::Config};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;
use crate::{
    model::{
        run::{End, RunState},
        time::ManualClock,
    },
    store::{
        Found, Store,
        conformance::{self, CHECKS, Subject},
    },
};

#[path = "../../../tests/common/postgres.rs"]
mod cluster;

use cluster::{Bouncer, Cluster};

async fn open(url: &str, folder: &TempDir, clock: &ManualClock) -> Arc<PostgresStore> {
    let settings = Settings {
        url: Secret::new(url.as_bytes()),
        path: folder.path().to_owned(),
        folder: None,
        retention: conformance::RETENTION,
        public_prefix: "/_raincheck".into(),
    };
    let metrics = Arc::new(Metrics::new().unwrap());
    let clock = Arc::new(clock.clone());
    PostgresStore::open(settings, clock, metrics, Handle::current())
        .await
        .unwrap()
}

/// A replica on a new database, and what is asked of it.
struct Stage {
    subject: Subject,
    store: Arc<PostgresStore>,
    clock: ManualClock,
    _folder: TempDir,
}

impl Stage {
    async fn on(url: &str) -> Self {
        let clock = conformance::clock();
        let folder = tempfile::tempdir().unwrap();
        let store = open(url, &folder, &clock).await;
        let subject = Subject {
            store: store.clone(),
            clock: clock.clone(),
        };
        Self {
            subject,
            store,
            clock,
            _folder: folder,
        }
    }
}

#[test]
fn it_conforms() {
    if let Some(cluster) = Cluster::start() {
        conforms(&cluster, |name| cluster.url(name));
    }
}

#[test]
fn it_conforms_behind_pgbouncer() {
    let cluster = Cluster::start();
    let bouncer = cluster.as_ref().and_then(Bouncer::start);
    if let (Some(cluster), Some(bouncer)) = (&cluster, &bouncer) {
        conforms(cluster, |name| bouncer.url(name));
    }
}

fn conforms(cluster: &Cluster, url: impl Fn(&str) -> String) {
    let runtime = Runtime::new().unwrap();
    for (number, (name, check)) in CHECKS.iter().enumerate() {
        let database = format!("check{number}");
        cluster.database(&database);
        runtime.block_on(async {
            let Stage { subject, store, .. } = &Stage::on(&url(&database)).await;
            conformance::passes(name, *check, subject.clone()).await;
            store.close().await;
        });
    }
}

#[test]
fn of_replicas_that_start_at_once_on_a_new_database_one_makes_the_tables() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let runtime = Runtime::new().unwrap();
    for round in 0..5 {
        let url = cluster.database(&format!("new{round}"));
        runtime.block_on(async {
            let clock = conformance::clock();
            let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
            let opened = folders.each_ref().map(|folder| open(&url, folder, &clock));
            let stores = futures::future::join_all(opened).await;
            for store in &stores {
                assert_eq!(store.identity().loop_id, stores[0].identity().loop_id);
                assert_eq!(store.sharing().await.unwrap().replicas.len(), 3);
            }
            for store in stores {
                store.close().await;
            }
        });
    }
}

#[test]
fn replicas_share_what_there_is_and_a_fenced_one_can_settle_nothing() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let url = cluster.database("shared");
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let clock = conformance::clock();
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let one = open(&url, &folders[0], &clock).await;
        let other = open(&url, &folders[1], &clock).await;
        let subject = |store: &Arc<PostgresStore>| Subject {
            store: store.clone(),
            clock: clock.clone(),
        };
        let (first, second) = (subject(&one), subject(&other));
        assert_eq!(one.identity().loop_id, other.identity().loop_id);
        let queued = first.accept(first.new_run("app")).await;
        assert_eq!(second.run(queued).await.state, RunState::Queued);
        let claims = tokio::join!(first.claim("app", 5), second.claim("app", 5));
        assert_eq!(claims.0.len() + claims.1.len(), 1);
        // The second is taken for dead while it carries a run out.
        let claim = second.accept_started(second.new_run("app")).await;
        let id = claim.run.id;
        let fenced = format!(
            "UPDATE raincheck.replica SET fenced = true WHERE id = {}",
            other.shared.owner()
        );
        cluster.ask("shared", &fenced);
        let settlement = crate::store::Settlement {
            began: claim.run.accepted_at,
            outcome: crate::model::retry::Outcome::Internal,
            progress: claim.run.progress,
            next: crate::model::retry::Next::End(crate::model::run::End::Succeeded),
            response: None,
            claim_delivery: false,
        };
        let refused = other.settle_run(claim, settlement).await;
        assert!(refused.is_err(), "{refused:?}");
        // It goes on under another number, and what it held is taken over: a POST is not repeated.
        let again = second.accept(second.new_run("app")).await;
        assert_eq!(second.run(again).await.state, RunState::Queued);
        loop {
            if first.run(id).await.state.is_final() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        one.close().await;
        other.close().await;
    });
}

#[test]
fn what_cannot_be_opened_says_what_to_do() {
    let Some(mut cluster) = Cluster::start() else {
        return;
    };
    let url = cluster.database("there");
    let runtime = Runtime::new().unwrap();
    let refused = |url: &str| {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            url: Secret::new(url.as_bytes()),
            path: folder.path().to_owned(),
            folder: None,
            retention: conformance::RETENTION,
            public_prefix: String::new(),
        };
        let metrics = Arc::new(Metrics::new().unwrap());
        let clock = Arc::new(conformance::clock());
        let opened = runtime.block_on(async {
            PostgresStore::open(settings, clock, metrics, Handle::current()).await
        });
        opened
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    for (url, says) in [
        ("postgres://u:secret@localhost", "names no database"),
        (&url.replace("/there", "/nothing"), "createdb"),
    ] {
        let said = refused(url);
        assert!(said.contains(says), "{url}: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
    assert_eq!(refused(&url), "");
    let other = cluster.database("other");
    cluster.ask(
        "other",
        "CREATE SCHEMA raincheck; CREATE TABLE raincheck.clouds()",
    );
    assert!(refused(&other).contains("not Raincheck's"));
    let demanding = format!("{url}?sslmode=require");
    assert!(refused(&demanding).contains("ssl = on"));
    cluster.ask("there", "UPDATE raincheck.version SET version = 99");
    assert!(refused(&url).contains("version 99"), "{}", refused(&url));
    cluster.kill();
    assert!(
        refused(&url).contains("that the server runs"),
        "{}",
        refused(&url)
    );
}

#[test]
fn pieces_of_a_body_whose_run_was_never_stored_are_swept() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let url = cluster.database("pieces");
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let stage = Stage::on(&url).await;
        let Stage {
            subject,
            store,
            clock,
            ..
        } = &stage;
        let mut writer = store.spool().writer(0);
        writer
            .write(bytes::Bytes::from(vec![7; 300_000]))
            .await
            .unwrap();
        let mut new = subject.new_run("app");
        new.request.body = writer.finish().await.unwrap();
        let kept = subject.accept(new).await;
        let orphan = row::uuid(store.next_id());
        cluster.ask(
            "pieces",
            &format!("INSERT INTO raincheck.request_piece VALUES ('{orphan}', 'x', 0, 'x')"),
        );
        let ids = || cluster.ask("pieces", "SELECT DISTINCT id FROM raincheck.request_piece");
        assert_eq!(ids().lines().count(), 2);
        clock.advance(pieces::UNNAMED + Duration::from_secs(1));
        store.tidy().await.unwrap();
        assert_eq!(ids(), row::uuid(kept).to_string());
        store.close().await;
    });
}

#[test]
fn the_law_holds_whatever_is_done() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let runtime = Runtime::new().unwrap();
    let steps = proptest::collection::vec(conformance::step(), 1..60);
    let config = Config {
        cases: 8,
        max_shrink_iters: 50,
        failure_persistence: None,
        ..Config::default()
    };
    let case = std::cell::Cell::new(0);
    proptest!(config, |(steps in steps)| {
        case.set(case.get() + 1);
        let url = cluster.database(&format!("law{}", case.get()));
        runtime.block_on(async {
            let Stage { subject, store, .. } = &Stage::on(&url).await;
            conformance::the_law_holds(subject.clone(), steps).await;
            store.close().await;
        });
    });
}

#[test]
fn a_day_is_dropped_whole_when_all_in_it_has_expired() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let url = cluster.database("days");
    let runtime = Runtime::new().unwrap();
    let tables = || {
        let sql = "SELECT count(*) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhparent
             WHERE relname = 'run' AND relkind = 'p'";
        cluster.ask("days", sql).parse::<usize>().unwrap()
    };
    runtime.block_on(async {
        let stage = Stage::on(&url).await;
        let Stage { subject, store, clock, .. } = &stage;
        assert_eq!(tables(), 4);
        let claim = subject.accept_started(subject.new_run("app")).await;
        let over = claim.run.id;
        subject.end(claim, End::Succeeded, false).await;
        let waiting = subject.accept(subject.new_run("app")).await;
        clock.advance(conformance::RETENTION * 4);
        store.tidy().await.unwrap();
        assert_eq!(tables(), 7, "an empty one goes; a run waits in the first");
        assert!(matches!(store.find(over).await.unwrap(), Found::Expired));
        store.cancel(waiting).await.unwrap();
        store.tidy().await.unwrap();
        assert_eq!(tables(), 7, "its end is to be kept");
        clock.advance(conformance::RETENTION + Duration::from_secs(601));
        // Another one was cut off while it dropped a day.
        let sql = "UPDATE raincheck.day SET dropped = 1 WHERE name = (SELECT min(name) FROM raincheck.day) RETURNING name";
        let part = cluster.ask("days", sql);
        let part = part.lines().next().unwrap();
        let detach = format!(
            "ALTER TABLE raincheck.attempt DETACH PARTITION raincheck.attempt_{part} CONCURRENTLY"
        );
        let reader = store.shared.link.connect().await.unwrap();
        let read = "BEGIN; SELECT count(*) FROM raincheck.attempt";
        reader.batch_execute(read).await.unwrap();
        let url = format!("{url}?options=-c%20statement_timeout%3D300ms");
        let hasty = Link::new(&Secret::new(url.as_bytes()), Handle::current()).unwrap();
        let cut = hasty.connect().await.unwrap().batch_execute(&detach).await;
        assert!(cut.is_err());
        reader.batch_execute("COMMIT").await.unwrap();
        let sql = "SELECT count(*) FROM pg_inherits WHERE inhdetachpending";
        assert_eq!(cluster.ask("days", sql), "1");
        store.tidy().await.unwrap();
        assert!(matches!(store.find(waiting).await.unwrap(), Found::Unknown | Found::Expired));
        let left = cluster.ask("days", &format!("SELECT count(*) FROM pg_class WHERE relname LIKE '%{part}'"));
        assert_eq!(left, "0");
        store.close().await;
    });
}

#[test]
fn a_long_answer_does_not_hold_up_the_writes_beside_it() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let url = cluster.database("beside");
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let stage = Stage::on(&url).await;
        let Stage {
            subject: s, store, ..
        } = &stage;
        let mut running = Vec::new();
        for _ in 0..100 {
            let mut new = s.new_run("app");
            new.request.body = crate::model::exchange::Body::Inline(vec![7; 50_000].into());
            s.accept(new).await;
            running.push(s.accept_started(s.new_run("other")).await);
        }
        let ends = running
            .into_iter()
            .map(|claim| s.end(claim, End::Succeeded, false));
        let (claims, ends) = tokio::join!(s.claim("app", 100), futures::future::join_all(ends));
        assert_eq!((claims.len(), ends.len()), (100, 100));
        assert_eq!(s.books().await.runs(RunState::Succeeded), 100);
        store.close().await;
    });
}

#[test]
fn a_count_of_unfinished_runs_misses_none_that_is_committed_beside_it() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let url = cluster.database("counted");
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let Stage { subject, store, .. } = &Stage::on(&url).await;
        for round in 1..=50 {
            let counting = store.queue.submit(lease::Recount, None);
            let (_, counted) = tokio::join!(subject.accept(subject.new_run("app")), counting);
            assert!(counted.is_ok());
            assert_eq!(store.unfinished("app"), round);
        }
        store.close().await;
    });
}

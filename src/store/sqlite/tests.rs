//! The conformance suite on this back end, and tests of what only it has.

mod backup;
mod beside;
mod opening;
mod pair;
mod trouble;

use proptest::{prelude::*, test_runner::Config};
use tempfile::TempDir;

use super::*;
use crate::store::conformance::{self, CHECKS, Subject};

pub(super) fn settings(folder: &Path) -> Settings {
    Settings {
        path: folder.join("data"),
        durability: Durability::Relaxed,
        retention: conformance::RETENTION,
        max_bytes: 0,
        public_prefix: "/_raincheck".into(),
    }
}

/// A store under test; the folder goes with it.
pub(super) struct Opened {
    pub(super) subject: Subject,
    pub(super) sqlite: Arc<SqliteStore>,
    pub(super) folder: TempDir,
}

impl Opened {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = conformance::clock();
        let sqlite = open(folder.path(), &clock).unwrap();
        let subject = Subject {
            store: sqlite.clone(),
            clock,
        };
        Self {
            subject,
            sqlite,
            folder,
        }
    }
}

pub(super) fn open(
    folder: &Path,
    clock: &crate::model::time::ManualClock,
) -> Result<Arc<SqliteStore>, OpenError> {
    let metrics = Arc::new(Metrics::new().unwrap());
    SqliteStore::open(settings(folder), Arc::new(clock.clone()), metrics)
}

/// Opens it though others are alive on it.
pub(super) fn beside(
    folder: &Path,
    clock: &crate::model::time::ManualClock,
) -> Result<Arc<SqliteStore>, OpenError> {
    let metrics = Arc::new(Metrics::new().unwrap());
    let clock = Arc::new(clock.clone());
    SqliteStore::enter(settings(folder), clock, metrics, Entry::Beside)
}

#[tokio::test]
async fn it_conforms() {
    for (name, check) in CHECKS {
        let opened = Opened::new();
        conformance::passes(name, *check, opened.subject.clone()).await;
    }
}

#[tokio::test]
async fn what_has_expired_is_removed_in_bounded_pieces() {
    let opened = Opened::new();
    let s = &opened.subject;
    for _ in 0..1100 {
        s.accept(s.new_run("app")).await;
    }
    for claim in s.claim("app", 2000).await {
        s.end(claim, crate::model::run::End::Succeeded, false).await;
    }
    s.clock.advance(conformance::RETENTION);
    let mut pieces = Vec::new();
    loop {
        let piece = s.store.tidy().await.unwrap();
        pieces.push(piece.runs);
        if !piece.more {
            break;
        }
    }
    assert!(pieces.len() > 1);
    assert_eq!(pieces.iter().sum::<u64>(), 1100);
    s.clock.advance(conformance::RETENTION);
    assert!(s.store.tidy().await.unwrap().tombstones > 0);
}

#[test]
fn the_law_holds_whatever_is_done() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let steps = proptest::collection::vec(conformance::step(), 1..60);
    let config = Config {
        cases: 24,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    };
    proptest!(config, |(steps in steps)| {
        let opened = Opened::new();
        runtime.block_on(conformance::the_law_holds(opened.subject.clone(), steps));
    });
}

//! When writing fails, or nobody waits.

use futures::FutureExt;

use super::*;
use crate::{
    model::run::{End, RunState},
    store::{AcceptError, Accepted, Store, Unwritable, sqlite::committer::Fault},
};

#[tokio::test]
async fn a_commit_that_seemed_to_fail_is_looked_up() {
    let opened = Opened::new();
    let s = &opened.subject;
    *opened.sqlite.shared.fault.lock() = Some(Fault::AfterCommit);
    let id = s.accept(s.new_run("app")).await;
    assert_eq!(s.run(id).await.state, RunState::Queued);
    assert_eq!(s.books().await.accepted, 1);
    assert_eq!(opened.sqlite.unfinished("app"), 1);
    assert_eq!(opened.sqlite.ready(), Ok(()));
}

#[tokio::test]
async fn a_commit_that_failed_is_no_202_and_ends_wait() {
    let opened = Opened::new();
    let s = &opened.subject;
    let claim = s.accept_started(s.new_run("app")).await;
    let running = claim.run.id;
    *opened.sqlite.shared.fault.lock() = Some(Fault::BeforeCommit);
    let new = s.new_run("app");
    let refused = new.id;
    let outcome = opened.sqlite.accept(new).await;
    assert!(matches!(
        outcome,
        Err(AcceptError::Unwritable(Unwritable::Failing))
    ));
    let found = opened.sqlite.find(refused).await.unwrap();
    assert!(matches!(found, crate::store::Found::Unknown));
    *opened.sqlite.shared.fault.lock() = Some(Fault::BeforeCommit);
    let settled = s.end(claim, End::Succeeded, false).await;
    assert_eq!(settled.run.state, RunState::Succeeded);
    assert_eq!(s.run(running).await.state, RunState::Succeeded);
    assert_eq!(opened.sqlite.ready(), Ok(()));
    assert_eq!(s.books().await.accepted, 1);
}

#[tokio::test]
async fn a_claim_that_nobody_waits_for_is_given_back() {
    let opened = Opened::new();
    let s = &opened.subject;
    let mut new = s.new_run("app");
    new.start = true;
    let id = new.id;
    let store = Arc::clone(&opened.sqlite);
    assert!(store.accept(new).now_or_never().is_none());
    let queued = opened.sqlite.notices().runs.notified();
    if s.run_if_there(id).await != Some(RunState::Queued) {
        queued.await;
    }
    let claim = s.claim("app", 1).await.remove(0);
    assert_eq!((claim.run.id, claim.run.progress.attempts), (id, 1));
}

#[tokio::test]
async fn at_the_size_limit_no_run_is_accepted_and_ends_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let clock = conformance::clock();
    let mut settings = settings(folder.path());
    settings.max_bytes = 1;
    let metrics = Arc::new(Metrics::new().unwrap());
    let sqlite =
        SqliteStore::open(settings, Arc::new(clock.clone()), Arc::clone(&metrics)).unwrap();
    assert_eq!(sqlite.ready(), Err(Unwritable::Full));
    assert_eq!(metrics.store_writable.get(), 0);
    let s = Subject {
        store: sqlite.clone(),
        clock,
    };
    let refused = sqlite.accept(s.new_run("app")).await;
    assert!(matches!(
        refused,
        Err(AcceptError::Unwritable(Unwritable::Full))
    ));
    assert!(s.claim("app", 1).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_submitters_are_all_stored_once() {
    let opened = Opened::new();
    let lives = (0..256).map(|_| {
        let s = opened.subject.clone();
        async move {
            for _ in 0..4 {
                let claim = s.accept_started(s.with_webhook("app")).await;
                let settled = s.end(claim, End::Succeeded, true).await;
                s.deliver(*settled.delivery.unwrap(), 200).await;
            }
        }
    });
    futures::future::join_all(lives).await;
    let books = opened.subject.books().await;
    assert_eq!(books.accepted, 1024);
    assert_eq!(books.runs(RunState::Succeeded), 1024);
    assert_eq!(opened.sqlite.unfinished("app"), 0);
}

#[tokio::test]
async fn a_change_that_cannot_be_made_fails_alone() {
    let opened = Opened::new();
    let s = &opened.subject;
    let first = s.new_run("app");
    let mut twice = s.new_run("app");
    twice.id = first.id;
    let (first, twice, other) = tokio::join!(
        opened.sqlite.accept(first),
        opened.sqlite.accept(twice),
        opened.sqlite.accept(s.new_run("app"))
    );
    assert!(matches!(first, Ok(Accepted::New(None))));
    assert!(twice.is_err());
    assert!(matches!(other, Ok(Accepted::New(None))));
    assert_eq!(s.books().await.accepted, 2);
    assert_eq!(opened.sqlite.unfinished("app"), 2);
}

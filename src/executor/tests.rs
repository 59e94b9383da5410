//! The executor's order, slots and drain, on a store in memory and an upstream that waits for a gate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::{runtime::Handle, sync::Semaphore};

use super::{
    Attempted, Contact, Executor, Parts, Upstream,
    testing::{FakeStore, policy, run},
};
use crate::{
    metrics::Metrics,
    model::{
        retry::{Next, Outcome},
        run::{End, Reason},
    },
    store::RunClaim,
    worker::handoff,
};

const ANSWERED: Outcome = Outcome::Answered {
    status: 200,
    retry_after: None,
};

/// Answers each attempt once its gate lets one through.
struct Gate {
    passes: Semaphore,
    most: AtomicUsize,
    under_way: AtomicUsize,
}

#[async_trait]
impl Upstream for Gate {
    async fn attempt(&self, _claim: &RunClaim, contact: &Arc<Contact>) -> Attempted {
        contact.connected(false);
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.passes.acquire().await.unwrap().forget();
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        ANSWERED.into()
    }
}

fn stage(concurrency: usize) -> (Executor, Arc<FakeStore>, Arc<Gate>) {
    let store = FakeStore::new();
    let (handoff, _) = handoff::handoff(1);
    let parts = Parts {
        store: store.clone(),
        clock: Arc::new(store.clock.clone()),
        metrics: Metrics::new().unwrap(),
        handoff,
        runtime: Handle::current(),
    };
    let gate = Arc::new(Gate {
        passes: Semaphore::new(0),
        most: AtomicUsize::new(0),
        under_way: AtomicUsize::new(0),
    });
    let executor = Executor::new(parts, [("app".to_owned(), concurrency)]);
    executor.begin(gate.clone());
    (executor, store, gate)
}

#[tokio::test]
async fn queued_runs_are_carried_out_in_order_and_never_more_at_a_time_than_slots() {
    let (_executor, store, gate) = stage(2);
    let runs: Vec<_> = (1..=6).map(|n| run(n, policy("app"), "POST")).collect();
    let ids: Vec<_> = runs.iter().map(|run| run.id).collect();
    runs.into_iter().for_each(|run| store.queue(run));
    gate.passes.add_permits(6);
    let settled = store.settled(6).await;
    assert!(
        settled
            .iter()
            .all(|(_, next)| *next == Next::End(End::Succeeded))
    );
    assert_eq!(store.claims(), ids);
    assert!(gate.most.load(Ordering::SeqCst) <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_a_while_loses_no_run() {
    let (_executor, store, gate) = stage(1);
    store.fail_claims(true);
    store.queue(run(1, policy("app"), "POST"));
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(store.settlements().is_empty());
    store.fail_claims(false);
    gate.passes.add_permits(1);
    assert_eq!(store.settled(1).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_still_runs_when_the_drain_is_over_is_interrupted_and_what_waits_stays_queued() {
    let (executor, store, gate) = stage(1);
    store.queue(run(1, policy("app"), "POST"));
    store.queue(run(2, policy("app"), "POST"));
    while gate.under_way.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    executor.drain(Duration::from_secs(30)).await;
    let interrupted = Next::End(End::Failed(Reason::Interrupted));
    let ends: Vec<_> = store
        .settlements()
        .into_iter()
        .map(|(_, next)| next)
        .collect();
    assert_eq!(ends, [interrupted]);
    assert_eq!(store.claims().len(), 1);
}

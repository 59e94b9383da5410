//! The executor on a store in memory and an upstream whose answers wait for a gate.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{
    testing::{FakeStore, claim, policy, request, run},
    *,
};
use crate::{
    model::{
        exchange::Body,
        id::RunId,
        retry::Next,
        run::{End, Reason},
    },
    worker::handoff::handoff,
};

/// An upstream whose answers wait for a gate.
struct Gated {
    gate: Semaphore,
    begun: Notify,
    order: Mutex<Vec<RunId>>,
    under_way: AtomicUsize,
    most: AtomicUsize,
    sends: bool,
    panics: bool,
}

impl Gated {
    fn new(open: usize) -> Self {
        Self {
            gate: Semaphore::new(open),
            begun: Notify::new(),
            order: Mutex::default(),
            under_way: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            sends: true,
            panics: false,
        }
    }
}

#[async_trait]
impl Upstream for Gated {
    async fn attempt(&self, claim: &RunClaim, contact: &Arc<Contact>) -> Attempted {
        assert!(!self.panics, "as the test wants it");
        if self.sends {
            contact.connected(false);
        }
        self.order.lock().push(claim.run.id);
        let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(under_way, Ordering::SeqCst);
        self.begun.notify_one();
        self.gate.acquire().await.expect("the gate stays").forget();
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        let outcome = Outcome::Answered {
            status: 200,
            retry_after: None,
        };
        outcome.into()
    }

    async fn pass(&self, _session: &ServerSession, _call: Call) -> Option<Passage> {
        unreachable!("no caller waits in these tests")
    }

    async fn take_over(&self, _claim: &RunClaim, _passage: Passage) -> Attempted {
        unreachable!("no caller waits in these tests")
    }
}

fn executor(store: &Arc<FakeStore>, routes: &[(&str, usize)]) -> Executor {
    let (handoff, _receiver) = handoff(1, Arc::new(Anybody));
    let parts = Parts {
        store: store.clone(),
        clock: Arc::new(store.clock.clone()),
        metrics: Metrics::new().expect("no two metrics share a name"),
        handoff,
        runtime: Handle::current(),
    };
    let routes = routes
        .iter()
        .map(|(name, slots)| ((*name).to_owned(), *slots));
    Executor::new(parts, routes)
}

const LONG: Duration = Duration::from_secs(3600);
const SUCCEEDED: Next = Next::End(End::Succeeded);

#[tokio::test(start_paused = true)]
async fn queued_runs_are_carried_out_in_order_within_the_routes_slots() {
    let store = FakeStore::new();
    let ids: Vec<_> = (1..=9)
        .map(|number| {
            let run = run(number, policy("app"), "GET");
            let id = run.id;
            store.queue(run);
            id
        })
        .collect();
    let executor = executor(&store, &[("app", 2)]);
    let upstream = Arc::new(Gated::new(9));
    executor.begin(upstream.clone());
    let settled = store.settled(9).await;
    assert!(settled.iter().all(|(_, next)| *next == SUCCEEDED));
    assert_eq!(store.claims(), ids);
    assert!(upstream.most.load(Ordering::SeqCst) <= 2);
    executor.drain(LONG).await;
    assert!(executor.live().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_queued_later_is_heard_of() {
    let store = FakeStore::new();
    let executor = executor(&store, &[("app", 2)]);
    executor.begin(Arc::new(Gated::new(9)));
    tokio::task::yield_now().await;
    store.queue(run(1, policy("app"), "GET"));
    store.settled(1).await;
    executor.drain(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_long_queue_on_one_route_does_not_hold_up_another() {
    let store = FakeStore::new();
    for number in 1..=200 {
        store.queue(run(number, policy("busy"), "GET"));
    }
    let other = run(201, policy("other"), "GET");
    let other_id = other.id;
    store.queue(other);
    let executor = executor(&store, &[("busy", 100), ("other", 1)]);
    executor.begin(Arc::new(Gated::new(201)));
    store.settled(201).await;
    let place = store.claims().iter().position(|id| *id == other_id);
    assert!(place.is_some_and(|place| place <= 64), "{place:?}");
    executor.drain(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_free_only_if_nobody_waits_for_it() {
    let store = FakeStore::new();
    let executor = executor(&store, &[("app", 1)]);
    assert!(executor.reserve("app").is_none(), "it has not begun");
    let upstream = Arc::new(Gated::new(0));
    executor.begin(upstream.clone());
    let slot = loop {
        // The first look into the store shows that nobody waits.
        match executor.reserve("app") {
            Some(slot) => break slot,
            None => tokio::task::yield_now().await,
        }
    };
    assert!(executor.reserve("app").is_none(), "the slot is taken");
    assert!(executor.reserve("gone").is_none());
    executor.start(slot, claim(policy("app"), request("GET", "", Body::EMPTY)));
    upstream.begun.notified().await;
    let waiting = run(2, policy("app"), "GET");
    let (first, second) = (upstream.order.lock()[0], waiting.id);
    store.queue(waiting);
    upstream.gate.add_permits(2);
    let settled = store.settled(2).await;
    assert_eq!(settled, [(first, SUCCEEDED), (second, SUCCEEDED)]);
    executor.drain(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_attempt_ends_at_once_and_is_not_settled() {
    let store = FakeStore::new();
    let executor = executor(&store, &[("app", 1)]);
    let upstream = Arc::new(Gated::new(0));
    store.queue(run(1, policy("app"), "GET"));
    executor.begin(upstream.clone());
    upstream.begun.notified().await;
    let id = upstream.order.lock()[0];
    executor.live().cancel(id);
    executor.drain(LONG).await;
    assert_eq!(store.settlements(), []);
    assert!(executor.live().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_drain_interrupts_what_was_sent_and_queues_what_was_not() {
    for (sends, method, expected) in [
        (true, "POST", None),
        (true, "GET", Some(Duration::ZERO)),
        (false, "POST", Some(Duration::from_secs(1))),
    ] {
        let store = FakeStore::new();
        let executor = executor(&store, &[("app", 1)]);
        let upstream = Arc::new(Gated {
            sends,
            ..Gated::new(0)
        });
        store.queue(run(1, policy("app"), method));
        executor.begin(upstream.clone());
        upstream.begun.notified().await;
        executor.drain(Duration::from_secs(5)).await;
        let expected = match expected {
            None => Next::End(End::Failed(Reason::Interrupted)),
            Some(pause) => Next::Again {
                due: testing::START.after(pause),
            },
        };
        assert_eq!(store.settlements()[0].1, expected, "{sends} {method}");
        assert!(executor.reserve("app").is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn the_grace_period_ends_an_attempt() {
    let store = FakeStore::new();
    let executor = executor(&store, &[("app", 1)]);
    store.queue(run(1, policy("app"), "GET"));
    executor.begin(Arc::new(Gated::new(0)));
    let settled = store.settled(1).await;
    assert_eq!(settled[0].1, Next::End(End::Failed(Reason::Timeout)));
    executor.drain(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_comes_after_the_grace_period_is_ended_unsent() {
    let store = FakeStore::new();
    let executor = executor(&store, &[("app", 1)]);
    let mut late = run(1, policy("app"), "GET");
    late.started_at = Some(testing::START);
    store.clock.advance(late.policy.response_grace_period);
    store.queue(late);
    let upstream = Arc::new(Gated::new(1));
    executor.begin(upstream.clone());
    let settled = store.settled(1).await;
    assert_eq!(settled[0].1, Next::End(End::Failed(Reason::Unreachable)));
    assert!(upstream.order.lock().is_empty());
    executor.drain(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_the_run_and_frees_its_slot() {
    let store = FakeStore::new();
    let executor = executor(&store, &[("app", 1)]);
    store.queue(run(1, policy("app"), "GET"));
    store.queue(run(2, policy("app"), "GET"));
    executor.begin(Arc::new(Gated {
        panics: true,
        ..Gated::new(0)
    }));
    let settled = store.settled(2).await;
    let internal = Next::End(End::Failed(Reason::Internal));
    assert!(settled.iter().all(|(_, next)| *next == internal));
    executor.drain(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn claims_are_tried_again_while_the_store_fails() {
    let store = FakeStore::new();
    store.fail_claims(true);
    store.queue(run(1, policy("app"), "GET"));
    let executor = executor(&store, &[("app", 1)]);
    executor.begin(Arc::new(Gated::new(1)));
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(store.settlements(), []);
    store.fail_claims(false);
    store.settled(1).await;
    executor.drain(LONG).await;
}

/// Lets every delivery out.
struct Anybody;

impl crate::worker::handoff::Admission for Anybody {
    fn enter(&self, _receiver: &str, _scarce: bool) -> bool {
        true
    }

    fn leave(&self, _: &str, _: Option<crate::model::delivery::DeliveryOutcome>) {}
}

//! What every store must do: one suite for all back ends.

mod deliveries;
mod lasting;
mod law;
mod lists;
mod memory;
mod runs;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};

use super::{
    Accepted, Cancelled, DeliveryAttempt, DeliveryClaim, Found, IdempotencyKey, NewRun,
    PendingDelivery, RunClaim, Settled, Settlement, Store,
};
use crate::model::{
    books::Books,
    delivery::{DeliveryOutcome, DeliveryState},
    exchange::{Body, StoredRequest, StoredResponse},
    id::RunId,
    policy::{Policy, Repeat, StatusSet, WebhookBody, WebhookPolicy},
    retry::Next,
    run::{Access, End, Extra, Facts, Reason, Run, RunState},
    secret::Secret,
    time::{Clock, ManualClock, Timestamp},
};

pub(crate) use self::law::{holds as the_law_holds, step};

/// How long finished runs are kept in the stores under test.
pub(crate) const RETENTION: Duration = Duration::from_secs(3600);

/// The clock of a store under test, at its start.
pub(crate) fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_millis(1_795_478_400_000))
}

/// A store under test.
#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: ManualClock,
}

/// One check: it is given an empty store.
pub(crate) type Check = fn(Subject) -> BoxFuture<'static, ()>;

/// All checks of one opened store.
pub(crate) const CHECKS: &[(&str, Check)] = &[
    ("ids never go back", |s| {
        Box::pin(runs::ids_never_go_back(s))
    }),
    ("claims come first come first served", |s| {
        Box::pin(runs::claims_in_order(s))
    }),
    ("a run is stored as started", |s| {
        Box::pin(runs::as_started(s))
    }),
    ("an unfinished run's request is shown until it ends", |s| {
        Box::pin(runs::request_is_shown(s))
    }),
    ("a request comes back whole", |s| {
        Box::pin(runs::request_comes_back(s))
    }),
    ("a response takes the request's place", |s| {
        Box::pin(runs::response_is_kept(s))
    }),
    ("a run is repeated when due", |s| {
        Box::pin(runs::repeated_when_due(s))
    }),
    ("a key is replayed", |s| Box::pin(runs::key_is_replayed(s))),
    ("a key that comes twice at once makes one run", |s| {
        Box::pin(runs::key_comes_twice_at_once(s))
    }),
    ("a cancel ends a run in each state", |s| {
        Box::pin(runs::cancel_in_each_state(s))
    }),
    ("a run expires", |s| Box::pin(runs::expires(s))),
    ("routes are counted apart", |s| {
        Box::pin(runs::routes_apart(s))
    }),
    ("a claim is settled once", |s| {
        Box::pin(runs::settled_once(s))
    }),
    ("a delivery is claimed with the end", |s| {
        Box::pin(deliveries::claimed_with_the_end(s))
    }),
    ("pending deliveries are told, listed and claimed", |s| {
        Box::pin(deliveries::told_listed_claimed(s))
    }),
    ("a redelivery begins a new round", |s| {
        Box::pin(deliveries::redelivered(s))
    }),
    ("a delivery is dead at its deadline", |s| {
        Box::pin(deliveries::dead_at_deadline(s))
    }),
    ("attempts are logged", |s| Box::pin(lists::attempts(s))),
    ("lists come newest first, in pages", |s| {
        Box::pin(lists::in_pages(s))
    }),
    ("lists and counts keep to their filter", |s| {
        Box::pin(lists::filtered(s))
    }),
    ("a delivery is tried again, then dead", |s| {
        Box::pin(deliveries::retried_then_dead(s))
    }),
    ("a delivery is released as it was", |s| {
        Box::pin(deliveries::released(s))
    }),
    ("a policy narrows deliveries", |s| {
        Box::pin(deliveries::narrowed(s))
    }),
    ("retention counts from the later end", |s| {
        Box::pin(lasting::retention(s))
    }),
    ("many runs are removed", |s| {
        Box::pin(lasting::retention_of_many(s))
    }),
    ("a long body goes through the spool", |s| {
        Box::pin(lasting::long_bodies(s))
    }),
    ("a closed store says so", |s| Box::pin(lasting::closed(s))),
];

/// Runs one check, and names it if it fails.
pub(crate) async fn passes(name: &str, check: Check, subject: Subject) {
    let outcome = AssertUnwindSafe(check(subject)).catch_unwind().await;
    assert!(outcome.is_ok(), "broken: {name}");
}

/// A route's promise, as most checks want it.
pub(crate) fn policy(route: &str) -> Policy {
    Policy {
        route: route.into(),
        response_grace_period: Duration::from_secs(900),
        max_queue_time: Duration::from_secs(7200),
        repeat: Repeat::Idempotent,
        attempts: 2,
        retry_statuses: vec![503],
        success_statuses: StatusSet(vec![200..=399]),
        response_body: 1 << 20,
        webhook: WebhookPolicy {
            on: vec![RunState::Succeeded, RunState::Failed, RunState::Cancelled],
            schedule: vec![Duration::ZERO, Duration::from_secs(5)],
            body: WebhookBody::Raw,
        },
    }
}

/// What was asked for, as most checks want it.
pub(crate) fn facts(method: &str) -> Facts {
    Facts {
        dialect: "cerebrium".into(),
        asynchronous: true,
        name: "/run".into(),
        method: method.into(),
        path: "/run".into(),
        has_key: false,
        webhook_endpoint: None,
        depth: 1,
        traceparent: None,
        access: Access::Anybody,
        extra: Extra::default(),
    }
}

impl Subject {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn new_run(&self, route: &str) -> NewRun {
        NewRun {
            id: self.store.next_id(),
            policy: Arc::new(policy(route)),
            facts: facts("POST"),
            request: StoredRequest {
                head: Bytes::from_static(b"POST /run HTTP/1.1\r\nHost: app\r\n\r\n"),
                body: Body::Inline(Bytes::from_static(b"request")),
                client: None,
                tls: false,
                webhook_secret: None,
            },
            key: None,
            accepted_at: self.now(),
            start: false,
        }
    }

    pub(crate) fn with_webhook(&self, route: &str) -> NewRun {
        let mut new = self.new_run(route);
        new.facts.webhook_endpoint = Some("https://user:pw@hooks.example:8443/in?x=1".into());
        new.request.webhook_secret = Some(Secret::new(*b"hush"));
        new
    }

    pub(crate) async fn accept(&self, new: NewRun) -> RunId {
        let id = new.id;
        match self.store.accept(new).await.unwrap() {
            Accepted::New(None) => id,
            other => panic!("not queued: {other:?}"),
        }
    }

    pub(crate) async fn accept_started(&self, mut new: NewRun) -> RunClaim {
        new.start = true;
        match self.store.accept(new).await.unwrap() {
            Accepted::New(Some(claim)) => *claim,
            other => panic!("not started: {other:?}"),
        }
    }

    pub(crate) async fn claim(&self, route: &str, limit: usize) -> Vec<RunClaim> {
        self.store.claim_runs(route, limit).await.unwrap().claimed
    }

    pub(crate) async fn end(&self, claim: RunClaim, end: End, claim_delivery: bool) -> Settled {
        let settlement = Settlement {
            began: claim.run.accepted_at,
            outcome: crate::model::retry::Outcome::Answered {
                status: 200,
                retry_after: None,
            },
            progress: claim.run.progress,
            next: Next::End(end),
            response: Some(response("200 OK", b"answer")),
            claim_delivery,
        };
        self.store.settle_run(claim, settlement).await.unwrap()
    }

    pub(crate) async fn again(&self, claim: RunClaim, due: Timestamp) -> Run {
        let settlement = Settlement {
            began: claim.run.accepted_at,
            outcome: crate::model::retry::Outcome::Answered {
                status: 200,
                retry_after: None,
            },
            progress: claim.run.progress,
            next: Next::Again { due },
            response: None,
            claim_delivery: false,
        };
        self.store.settle_run(claim, settlement).await.unwrap().run
    }

    pub(crate) async fn deliver(&self, claim: DeliveryClaim, status: u16) -> Run {
        let attempt = DeliveryAttempt {
            outcome: DeliveryOutcome::Answered {
                status,
                retry_after: None,
            },
            started_at: self.now(),
            chance: 0.5,
            address: None,
            took: Duration::from_millis(7),
            detail: String::new(),
            excerpt: "thanks".into(),
        };
        self.store.settle_delivery(claim, attempt).await.unwrap()
    }

    /// Claims due deliveries, the longest due first.
    pub(crate) async fn deliveries(&self, limit: usize) -> Vec<DeliveryClaim> {
        let mut due = self.pending().await;
        due.retain(|pending| pending.due <= self.now());
        due.sort_by_key(|pending| pending.due);
        let ids = due.iter().take(limit).map(|pending| pending.id).collect();
        self.store.claim_deliveries(ids).await.unwrap()
    }

    /// What waits and nobody holds, read two at a time.
    pub(crate) async fn pending(&self) -> Vec<PendingDelivery> {
        let mut all: Vec<PendingDelivery> = Vec::new();
        loop {
            let after = all.last().map(|last| last.id);
            let page = self.store.pending_deliveries(after, 2).await.unwrap();
            let last = page.len() < 2;
            all.extend(page);
            if last {
                return all;
            }
        }
    }

    pub(crate) async fn run(&self, id: RunId) -> Run {
        match self.store.find(id).await.unwrap() {
            Found::Run(run) => *run,
            other => panic!("not found: {other:?}"),
        }
    }

    /// The state of a run, if it is there.
    pub(crate) async fn run_if_there(&self, id: RunId) -> Option<RunState> {
        match self.store.find(id).await.unwrap() {
            Found::Run(run) => Some(run.state),
            Found::Expired | Found::Unknown => None,
        }
    }

    /// Reads the books, which balance at any time.
    pub(crate) async fn books(&self) -> Books {
        let books = self.store.books().await.unwrap();
        assert_eq!(books.accepted, books.runs.values().sum::<u64>());
        let ended: u64 = RunState::ALL
            .iter()
            .filter(|state| state.is_final())
            .map(|state| books.runs(*state))
            .sum();
        assert!(books.deliveries.values().sum::<u64>() <= ended);
        books
    }
}

/// A response as an upstream would have answered.
pub(crate) fn response(status: &str, body: &'static [u8]) -> StoredResponse {
    StoredResponse {
        head: format!("HTTP/1.1 {status}\r\ncontent-type: text/plain\r\n\r\n").into(),
        body: Body::Inline(Bytes::from_static(body)),
    }
}

//! The law: whatever is done in whatever order, each run has one final state, the books balance, and there is no
//! delivery without an end.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::model::filter::Filter;

/// One step of a random life.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Accept {
        start: bool,
        webhook: bool,
    },
    Claim(usize),
    Settle {
        which: usize,
        succeeds: Option<bool>,
    },
    Cancel(usize),
    ClaimDeliveries(usize),
    Deliver {
        which: usize,
        status: u16,
    },
    Release(usize),
    Redeliver(usize),
    ExpireDeliveries,
    Wait(u64),
    Expire,
    Tidy,
}

/// Any step.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), any::<bool>()).prop_map(|(start, webhook)| Step::Accept { start, webhook }),
        3 => (1..4_usize).prop_map(Step::Claim),
        4 => (any::<usize>(), any::<Option<bool>>())
            .prop_map(|(which, succeeds)| Step::Settle { which, succeeds }),
        1 => any::<usize>().prop_map(Step::Cancel),
        2 => (1..4_usize).prop_map(Step::ClaimDeliveries),
        3 => (any::<usize>(), prop_oneof![Just(200), Just(500), Just(410)])
            .prop_map(|(which, status)| Step::Deliver { which, status }),
        1 => any::<usize>().prop_map(Step::Release),
        1 => any::<usize>().prop_map(Step::Redeliver),
        1 => Just(Step::ExpireDeliveries),
        1 => (0..4000_u64).prop_map(Step::Wait),
        1 => Just(Step::Expire),
        1 => Just(Step::Tidy),
    ]
}

/// What must be so by all that was done.
#[derive(Default)]
struct Expected {
    /// Every run: whether and how it has ended.
    runs: HashMap<RunId, Option<RunState>>,
    claims: Vec<RunClaim>,
    deliveries: Vec<DeliveryClaim>,
}

impl Expected {
    /// Notes an end; a run has only one.
    fn ends(&mut self, run: &Run) {
        assert!(run.state.is_final());
        let before = self.runs.insert(run.id, Some(run.state));
        assert_eq!(before, Some(None), "run {} ended twice", run.id);
    }
}

/// Takes `steps` and checks the law after each.
pub(crate) async fn holds(s: Subject, steps: Vec<Step>) {
    let mut expected = Expected::default();
    for step in steps {
        take(&s, &mut expected, step).await;
        check(&s, &expected).await;
    }
}

async fn take(s: &Subject, expected: &mut Expected, step: Step) {
    match step {
        Step::Accept { start, webhook } => {
            let mut new = if webhook {
                s.with_webhook("app")
            } else {
                s.new_run("app")
            };
            new.start = start;
            expected.runs.insert(new.id, None);
            match s.store.accept(new).await.unwrap() {
                Accepted::New(claim) => expected.claims.extend(claim.map(|claim| *claim)),
                other => panic!("no key was given: {other:?}"),
            }
        }
        Step::Claim(limit) => expected.claims.extend(s.claim("app", limit).await),
        Step::Settle { which, succeeds } if !expected.claims.is_empty() => {
            let claim = expected.claims.swap_remove(which % expected.claims.len());
            settle(s, expected, claim, succeeds).await;
        }
        Step::Cancel(which) if !expected.runs.is_empty() => {
            let id = *expected
                .runs
                .keys()
                .nth(which % expected.runs.len())
                .unwrap();
            if let Cancelled::Now(run) = s.store.cancel(id).await.unwrap() {
                expected.ends(&run);
            }
        }
        Step::ClaimDeliveries(limit) => expected.deliveries.extend(s.deliveries(limit).await),
        Step::Deliver { which, status } if !expected.deliveries.is_empty() => {
            let claim = expected
                .deliveries
                .swap_remove(which % expected.deliveries.len());
            s.deliver(claim, status).await;
        }
        Step::Release(which) if !expected.deliveries.is_empty() => {
            let claim = expected
                .deliveries
                .swap_remove(which % expected.deliveries.len());
            s.store.release_delivery(claim).await.unwrap();
        }
        Step::Redeliver(which) if !expected.runs.is_empty() => {
            let ids = expected.runs.keys().copied();
            let id = ids.clone().nth(which % expected.runs.len()).unwrap();
            s.store.redeliver(vec![id]).await.unwrap();
        }
        Step::ExpireDeliveries => {
            for run in s.store.expire_deliveries().await.unwrap() {
                assert_eq!(run.delivery.unwrap().state, DeliveryState::Dead);
            }
        }
        Step::Wait(seconds) => s.clock.advance(Duration::from_secs(seconds)),
        Step::Expire => {
            for run in s.store.expire().await.unwrap() {
                expected.ends(&run);
            }
        }
        Step::Tidy => drop(s.store.tidy().await.unwrap()),
        Step::Settle { .. }
        | Step::Cancel(_)
        | Step::Deliver { .. }
        | Step::Release(_)
        | Step::Redeliver(_) => {}
    }
}

async fn settle(s: &Subject, expected: &mut Expected, claim: RunClaim, succeeds: Option<bool>) {
    let id = claim.run.id;
    let next = match succeeds {
        Some(true) => Next::End(End::Succeeded),
        Some(false) => Next::End(End::Failed(Reason::Broken)),
        None => Next::Again { due: s.now() },
    };
    let settlement = Settlement {
        began: claim.run.accepted_at,
        outcome: crate::model::retry::Outcome::Answered {
            status: 200,
            retry_after: None,
        },
        progress: claim.run.progress,
        next,
        response: Some(response("200 OK", b"answer")),
        claim_delivery: id.key() & 8 == 0,
    };
    match s.store.settle_run(claim, settlement).await {
        Ok(settled) => {
            if settled.run.state.is_final() {
                expected.ends(&settled.run);
            }
            let delivery = settled.delivery.map(|claim| *claim);
            expected.deliveries.extend(delivery);
        }
        Err(error) => {
            assert_eq!(error, crate::store::SettleError::WrongState);
            assert_eq!(expected.runs[&id], Some(RunState::Cancelled));
        }
    }
}

async fn check(s: &Subject, expected: &Expected) {
    let books = s.books().await;
    assert_eq!(books.accepted, expected.runs.len() as u64);
    let mut unfinished = 0;
    for state in RunState::ALL.into_iter().filter(|state| state.is_final()) {
        let ended = expected.runs.values().filter(|end| **end == Some(state));
        assert_eq!(books.runs(state), ended.count() as u64, "{state:?}");
    }
    for (id, end) in &expected.runs {
        let Found::Run(run) = s.store.find(*id).await.unwrap() else {
            assert!(end.is_some(), "an unfinished run is gone");
            continue;
        };
        assert_eq!(run.state.is_final().then_some(run.state), *end);
        let is_pending = run
            .delivery
            .as_ref()
            .is_some_and(|delivery| delivery.state == DeliveryState::Pending);
        assert!(run.delivery.is_none() || end.is_some());
        unfinished += u64::from(end.is_none() || is_pending);
    }
    assert_eq!(s.store.unfinished("app"), unfinished);
    let all = s.store.count(Filter::default()).await.unwrap();
    assert!(all <= books.accepted && all >= unfinished);
}

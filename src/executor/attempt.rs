//! One attempt of a run, from its claim to the commit of what became of it.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;

use super::{Attempted, Contact, Ending, Inner, Passage, Slot, Tee};
use crate::{
    metrics::seconds,
    model::{
        retry::{self, Next, Outcome},
        run::{End, Run},
        time::Timestamp,
    },
    store::{RunClaim, SettleError, Settled, Settlement, ending::receiver_address},
    worker::{ended, handoff::Room, live::Entered},
};

/// How an attempt begins.
pub(super) enum Begin {
    /// Its request is sent now; somebody may listen.
    Now(Option<Tee>),
    /// Its request was sent before it was a run's.
    UnderWay(Passage),
}

/// Starts an attempt as a task of its own. The run can be cancelled when this returns.
pub(super) fn start(executor: &Arc<Inner>, slot: Option<Slot>, claim: RunClaim, begin: Begin) {
    let entered = executor.live.enter(claim.run.id);
    let (contact, passage) = match begin {
        Begin::Now(tee) => (Arc::new(Contact::with_tee(tee)), None),
        Begin::UnderWay(passage) => {
            let contact = Arc::clone(passage.contact());
            contact.is_run_now();
            (contact, Some(passage))
        }
    };
    let work = carry_out(
        Arc::clone(executor),
        slot,
        entered,
        claim,
        (contact, passage),
    );
    executor.tasks.spawn_on(work, &executor.parts.runtime);
}

async fn carry_out(
    executor: Arc<Inner>,
    slot: Option<Slot>,
    entered: Entered,
    mut claim: RunClaim,
    (contact, passage): (Arc<Contact>, Option<Passage>),
) {
    let route = claim.run.policy.route.clone();
    let running = executor
        .parts
        .metrics
        .runs_running
        .with_label_values(&[&route]);
    running.inc();
    count_first_start(&executor, &claim.run);
    let began = executor.parts.clock.now();
    let mut attempted = attempt(&executor, &entered, &claim, &contact, passage).await;
    let outcome = attempted.as_ref().map(|attempted| attempted.outcome);
    if contact.is_heard() && retry::once_more_within(&mut claim.run, outcome) {
        contact.begin_again();
        attempted = attempt(&executor, &entered, &claim, &contact, None).await;
    }
    drop(entered);
    let outcome = attempted
        .as_ref()
        .map_or("cancelled", |attempted| attempted.outcome.as_str());
    executor
        .parts
        .metrics
        .run_attempts
        .with_label_values(&[&route, outcome])
        .inc();
    // A cancelled run has ended in the store already.
    let next = match attempted {
        Some(attempted) => settle(&executor, claim, began, (attempted, &contact)).await,
        None => Next::End(End::Cancelled),
    };
    if let Some(tee) = contact.tee() {
        tee.end(ending(tee, next));
    }
    running.dec();
    // The outcome kept its slot until here, where it is committed.
    drop(slot);
}

/// Carries the attempt out; none if the run was cancelled meanwhile.
async fn attempt(
    executor: &Inner,
    entered: &Entered,
    claim: &RunClaim,
    contact: &Arc<Contact>,
    passage: Option<Passage>,
) -> Option<Attempted> {
    let now = executor.parts.clock.now();
    let left = retry::grace_end(&claim.run).since(now);
    if left == Duration::ZERO {
        return Some(Outcome::GraceOver { sent: false }.into());
    }
    let Some(upstream) = executor.upstream.get() else {
        return Some(not_sent(contact).into());
    };
    let work = match passage {
        None => upstream.attempt(claim, contact),
        Some(passage) => upstream.take_over(claim, passage),
    };
    tokio::select! {
        biased;
        () = entered.cancelled() => None,
        () = executor.cut.cancelled() => Some(interrupted(contact).into()),
        attempted = tokio::time::timeout(left, AssertUnwindSafe(work).catch_unwind()) => {
            Some(match attempted {
                Ok(Ok(attempted)) => attempted,
                Ok(Err(_panic)) => {
                    tracing::error!(run_id = %claim.run.id, "an attempt panicked");
                    Outcome::Internal.into()
                }
                Err(_elapsed) => Outcome::GraceOver { sent: contact.may_have_sent() }.into(),
            })
        }
    }
}

fn interrupted(contact: &Contact) -> Outcome {
    if contact.may_have_sent() {
        Outcome::Interrupted
    } else {
        not_sent(contact)
    }
}

fn not_sent(contact: &Contact) -> Outcome {
    Outcome::NotSent {
        other_peer: contact.has_other_peer(),
    }
}

/// What a caller who listened is told at the end.
fn ending(tee: &Tee, next: Next) -> Ending {
    match next {
        _ if tee.is_whole() => Ending::Whole,
        Next::End(end) => Ending::Failed(end),
        Next::Again { .. } => Ending::Again,
    }
}

/// Decides what becomes of the run, and records it.
async fn settle(
    executor: &Inner,
    mut claim: RunClaim,
    began: Timestamp,
    (attempted, contact): (Attempted, &Contact),
) -> Next {
    let id = claim.run.id;
    let outcome = attempted.outcome;
    let now = executor.parts.clock.now();
    let traces = &executor.parts.metrics.traces;
    traces.attempt(&claim.run, outcome, began, now);
    let mut next = retry::after_attempt(&mut claim.run, outcome, now);
    if contact.is_heard() {
        next = retry::as_told(next, outcome);
    }
    tracing::debug!(run_id = %id, attempt = claim.run.progress.attempts, outcome = outcome.as_str(), ?next, "attempt ended");
    let room = match (next, &claim.run.facts.webhook_endpoint) {
        (Next::End(_), Some(endpoint)) => {
            executor.parts.handoff.reserve(&receiver_address(endpoint))
        }
        (Next::End(_) | Next::Again { .. }, _) => None,
    };
    let settlement = Settlement {
        began,
        outcome,
        progress: claim.run.progress,
        next,
        response: attempted.response,
        claim_delivery: room.is_some(),
    };
    match executor.parts.store.settle_run(claim, settlement).await {
        Ok(settled) => settled_as(executor, next, settled, room).await,
        Err(SettleError::WrongState) => {
            tracing::debug!(run_id = %id, "the run was cancelled before its outcome was recorded");
        }
        Err(error @ (SettleError::Fenced | SettleError::Closed)) => {
            tracing::warn!(run_id = %id, %error, "an outcome could not be recorded");
        }
    }
    next
}

async fn settled_as(executor: &Inner, next: Next, settled: Settled, room: Option<Room>) {
    match next {
        Next::End(_) => ended::finished(&executor.parts.metrics, &settled.run),
        Next::Again { due } => {
            if let Some(lane) = executor.lanes.load().get(&settled.run.policy.route) {
                lane.queued_until(due);
            }
            executor.freed.notify_one();
        }
    }
    let (Some(delivery), Some(room)) = (settled.delivery, room) else {
        return;
    };
    if let Err(claim) = room.give(*delivery) {
        let id = settled.run.id;
        if let Err(error) = executor.parts.store.release_delivery(*claim).await {
            tracing::warn!(run_id = %id, %error, "a delivery could not be given back");
        }
    }
}

fn count_first_start(executor: &Inner, run: &Run) {
    if let (1, Some(started)) = (run.progress.attempts, run.started_at) {
        executor
            .parts
            .metrics
            .run_queue
            .with_label_values(&[&run.policy.route])
            .observe(seconds(started.since(run.accepted_at)));
    }
}

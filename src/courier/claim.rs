//! The courier's two sources of work: the schedule of what is pending in the store, and what the executor hands over.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{Inner, attempt};
use crate::{
    model::id::RunId,
    store::StoreError,
    worker::handoff::{self, Place},
};

/// Between readings of all that is pending: a notice may be lost.
const LIST: Duration = Duration::from_secs(60);
/// After the store could not be read or written.
const PAUSE: Duration = Duration::from_secs(1);
/// Pending deliveries that are read at a time.
const PAGE: usize = 10_000;
/// Deliveries claimed in one commit at most.
const BATCH: usize = 64;

/// Claims deliveries when they are due and may go out, until the courier stops.
pub(super) async fn claim_due(courier: Arc<Inner>) {
    let mut listed: Option<Instant> = None;
    while !courier.stopping.is_cancelled() {
        let notices = &courier.parts.store.notices().deliveries;
        let mut told = std::pin::pin!(notices.told.notified());
        told.as_mut().enable();
        match notices.take() {
            Some(pending) => courier.lines.add(&pending),
            None => listed = None,
        }
        if listed.is_none_or(|listed| listed.elapsed() >= LIST) {
            listed = list(&courier).await.then(Instant::now);
        }
        let next = choose(&courier);
        if !next.is_empty() {
            if !claim(&courier, next).await {
                pause(&courier).await;
            }
            continue;
        }
        let now = courier.parts.clock.now();
        let due = courier.lines.next_at().map_or(LIST, |at| at.since(now));
        // Something is due, but there is no slot for it: who ends tells.
        let wait = if due.is_zero() { PAUSE } else { due.min(LIST) };
        tokio::select! {
            () = told => {}
            () = courier.lines.freed().notified() => {}
            () = sleep(if listed.is_none() { PAUSE } else { wait }) => {}
            () = courier.stopping.cancelled() => {}
        }
    }
}

/// Starts what the executor hands over, until the courier closes.
pub(super) async fn take_handed(courier: Arc<Inner>, mut handed: handoff::Receiver) {
    loop {
        tokio::select! {
            next = handed.next() => match next {
                Some(next) => attempt::start(&courier, next.claim, next.place),
                None => return,
            },
            () = courier.closing.cancelled() => break,
        }
    }
    handed.close();
    while let Some(next) = handed.next().await {
        attempt::start(&courier, next.claim, next.place);
    }
}

/// Puts all that is pending in the store into the schedule; whether it could be read.
async fn list(courier: &Inner) -> bool {
    let mut after = None;
    while !courier.stopping.is_cancelled() {
        match courier.parts.store.pending_deliveries(after, PAGE).await {
            Ok(page) => {
                courier.lines.add(&page);
                after = page.last().map(|pending| pending.id);
                if page.len() < PAGE {
                    break;
                }
            }
            Err(error) => return complain(&error),
        }
    }
    true
}

/// Takes what is due and may go out, each with its place.
fn choose(courier: &Inner) -> Vec<(RunId, Place)> {
    let mut chosen = Vec::new();
    while chosen.len() < BATCH {
        let Some(slot) = courier.handoff.try_slot() else {
            break;
        };
        let Some((id, receiver)) = courier.lines.next(courier.handoff.is_scarce()) else {
            break;
        };
        chosen.push((id, courier.handoff.place(slot, receiver)));
    }
    chosen
}

/// Claims them in the store and starts them. One that cannot be claimed has another holder, or has ended.
async fn claim(courier: &Arc<Inner>, mut chosen: Vec<(RunId, Place)>) -> bool {
    let ids = chosen.iter().map(|(id, _)| *id).collect();
    match courier.parts.store.claim_deliveries(ids).await {
        Ok(claims) => {
            for claim in claims {
                if let Some(at) = chosen.iter().position(|(id, _)| *id == claim.run.id) {
                    let (_, place) = chosen.swap_remove(at);
                    attempt::start(courier, claim, place);
                }
            }
            true
        }
        Err(error) => {
            // They are pending still, and listed again.
            courier.parts.store.notices().deliveries.miss();
            complain(&error)
        }
    }
}

async fn pause(courier: &Inner) {
    tokio::select! {
        () = sleep(PAUSE) => {}
        () = courier.stopping.cancelled() => {}
    }
}

fn complain(error: &StoreError) -> bool {
    match error {
        StoreError::Closed => tracing::debug!(%error, "deliveries wait"),
        StoreError::Failed(_) => tracing::warn!(%error, "deliveries could not be claimed"),
    }
    false
}

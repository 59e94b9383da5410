//! The courier's two sources of work: due deliveries in the store, and those that the executor hands over.

use std::{sync::Arc, time::Duration};

use tokio::sync::OwnedSemaphorePermit;

use super::{Inner, attempt};
use crate::{
    store::{Claims, DeliveryClaim, StoreError},
    worker::handoff,
};

/// Between looks at the store when nothing is known to be due: a notice may be lost.
const POLL: Duration = Duration::from_secs(1);
/// The least pause before the store is asked again though something is said to be due.
const BREATH: Duration = Duration::from_millis(20);
/// Deliveries claimed in one commit at most.
const BATCH: usize = 64;

/// Claims due deliveries as slots become free, until the courier stops.
pub(super) async fn claim_due(courier: Arc<Inner>) {
    while let Some(slots) = free_slots(&courier).await {
        let mut told = std::pin::pin!(courier.parts.store.notices().deliveries.notified());
        told.as_mut().enable();
        let wanted = slots.len();
        let wait = match courier.parts.store.claim_deliveries(wanted).await {
            Ok(claims) => begin(&courier, claims, slots),
            Err(StoreError::Closed) => return,
            Err(error @ StoreError::Failed(_)) => {
                tracing::warn!(%error, "deliveries could not be claimed");
                drop(slots);
                Some(POLL)
            }
        };
        let Some(wait) = wait else { continue };
        tokio::select! {
            () = told => {}
            () = tokio::time::sleep(wait) => {}
            () = courier.stopping.cancelled() => {}
        }
    }
}

/// Starts what the executor hands over, until the courier closes.
pub(super) async fn take_handed(courier: Arc<Inner>, mut handed: handoff::Receiver) {
    loop {
        tokio::select! {
            next = handed.next() => match next {
                Some(next) => attempt::start(&courier, next.claim, next.slot),
                None => return,
            },
            () = courier.closing.cancelled() => break,
        }
    }
    handed.close();
    while let Some(next) = handed.next().await {
        attempt::start(&courier, next.claim, next.slot);
    }
}

/// Waits for a free slot and takes the other free ones too; none once the courier stops.
async fn free_slots(courier: &Inner) -> Option<Vec<OwnedSemaphorePermit>> {
    let first = tokio::select! {
        biased;
        () = courier.stopping.cancelled() => return None,
        slot = courier.handoff.slot() => slot?,
    };
    let others = std::iter::from_fn(|| courier.handoff.try_slot());
    Some(std::iter::once(first).chain(others).take(BATCH).collect())
}

/// Starts what was claimed; says how long to wait before the next look, if at all.
fn begin(
    courier: &Arc<Inner>,
    claims: Claims<DeliveryClaim>,
    slots: Vec<OwnedSemaphorePermit>,
) -> Option<Duration> {
    let full = claims.claimed.len() == slots.len();
    for (claim, slot) in claims.claimed.into_iter().zip(slots) {
        attempt::start(courier, claim, slot);
    }
    if full {
        return None;
    }
    let now = courier.parts.clock.now();
    let due = claims.next_due.map_or(POLL, |due| due.since(now));
    Some(due.clamp(BREATH, POLL))
}

//! The verbs of a delivery: claim, settle, release.

use std::sync::Arc;

use rusqlite::{OptionalExtension, Result};

use super::{
    queue::{Queue, Verb},
    row::{self, StoredRun, millis, time},
    transaction::{Mark, Tx},
};
use crate::{
    model::{delivery::DeliveryState, run::Run, time::Timestamp},
    store::{Claims, DeliveryClaim, Fence, SettleError},
};

/// Takes due deliveries.
pub(super) struct ClaimDeliveries {
    pub(super) limit: usize,
    pub(super) now: Timestamp,
}

impl Verb for ClaimDeliveries {
    type Outcome = Claims<DeliveryClaim>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Outcome> {
        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
        let due = tx.select(
            "INDEXED BY run_pending WHERE d_state = 0 AND slot IS NULL AND d_due <= ?1 ORDER BY d_due, rid LIMIT ?2",
            (millis(self.now), limit),
        )?;
        let fence = tx.shared.fence;
        let mut claimed = Vec::with_capacity(due.len());
        for StoredRun { run, holder } in due {
            tx.write(&Mark::of(&run, holder), &run, Some(fence))?;
            claimed.push(DeliveryClaim {
                response: row::read_response(tx.db, run.id.key())?,
                endpoint: run.facts.webhook_endpoint.clone().unwrap_or_default(),
                secret: row::read_secret(tx.db, run.id.key())?,
                run,
                fence,
            });
        }
        let next_due = tx
            .db
            .prepare_cached(
                "SELECT d_due FROM run INDEXED BY run_pending WHERE d_state = 0 AND slot IS NULL ORDER BY d_due LIMIT 1",
            )?
            .query_row([], |row| row.get(0))
            .optional()?
            .map(time);
        Ok(Claims { claimed, next_due })
    }

    fn unheard(self, claims: Self::Outcome, queue: &Arc<Queue>) {
        for claim in claims.claimed {
            give_back(claim.run, claim.fence, queue);
        }
    }
}

/// Records an attempt of a delivery, or that there was none; everything was decided before.
pub(super) struct SettleDelivery {
    pub(super) before: Mark,
    /// As it is to stand.
    pub(super) run: Run,
    /// Whether there is a webhook secret.
    pub(super) secret: bool,
}

impl Verb for SettleDelivery {
    type Outcome = std::result::Result<(), SettleError>;
    const PATIENT: bool = true;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Outcome> {
        if !tx.write(&self.before, &self.run, None)? {
            return tx.why_not(self.run.id, true).map(Err);
        }
        let state = self.run.delivery.as_ref().map(|delivery| delivery.state);
        if self.secret && state == Some(DeliveryState::Delivered) {
            tx.forget_secret(self.run.id)?;
        }
        Ok(Ok(()))
    }
}

/// Sets a claimed delivery free: nobody heard of the claim.
pub(super) fn give_back(run: Run, fence: Fence, queue: &Arc<Queue>) {
    let before = Mark::of(&run, Some(fence));
    let secret = false;
    // If the queue is closed, the next start sets it free.
    drop(queue.submit(SettleDelivery {
        before,
        run,
        secret,
    }));
}

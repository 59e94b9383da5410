//! The verbs of a delivery: claim, settle, release, expire, redeliver.

use std::sync::Arc;

use rusqlite::{Result, params};

use super::{
    queue::{Queue, Verb},
    row::{self, StoredRun, millis},
    transaction::{AttemptOf, Mark, Tx},
};
use crate::{
    model::{attempt::DeliveryTry, delivery::DeliveryState, id::RunId, run::Run, time::Timestamp},
    store::{DeliveryClaim, Fence, Redelivered, SettleError},
};

/// How many deliveries expire in one piece.
const EXPIRE_PIECE: usize = 500;

/// Takes deliveries by their runs.
pub(super) struct ClaimDeliveries {
    pub(super) ids: Vec<RunId>,
}

impl Verb for ClaimDeliveries {
    type Outcome = Vec<DeliveryClaim>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Outcome> {
        let fence = tx.shared.fence;
        let mut claimed = Vec::with_capacity(self.ids.len());
        for id in &self.ids {
            let Some(StoredRun { run, holder: None }) = tx.find(*id)? else {
                continue;
            };
            if run.delivery.as_ref().map(|delivery| delivery.state) != Some(DeliveryState::Pending)
            {
                continue;
            }
            tx.hold(&run, fence)?;
            claimed.push(DeliveryClaim {
                response: row::read_response(tx.db, run.id.key())?,
                endpoint: run.facts.webhook_endpoint.clone().unwrap_or_default(),
                secret: row::read_secret(tx.db, run.id.key())?,
                run,
                fence,
            });
        }
        Ok(claimed)
    }

    fn unheard(self, claimed: Self::Outcome, queue: &Arc<Queue>) {
        for claim in claimed {
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
    /// The attempt's entry in the log.
    pub(super) entry: Option<DeliveryTry>,
}

impl Verb for SettleDelivery {
    type Outcome = std::result::Result<(), SettleError>;
    const PATIENT: bool = true;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Outcome> {
        if !tx.write_delivery(&self.before, &self.run, None)? {
            return tx.why_not(self.run.id, true).map(Err);
        }
        let state = self.run.delivery.as_ref().map(|delivery| delivery.state);
        if self.secret && state == Some(DeliveryState::Delivered) {
            tx.forget_secret(self.run.id)?;
        }
        if let Some(entry) = &self.entry {
            tx.log_attempt(self.run.id, AttemptOf::Delivery, entry.attempt, entry)?;
        }
        Ok(Ok(()))
    }
}

/// Sets a claimed delivery free: nobody heard of the claim.
pub(super) fn give_back(run: Run, fence: Fence, queue: &Arc<Queue>) {
    let release = SettleDelivery {
        before: Mark::of(&run, Some(fence)),
        run,
        secret: false,
        entry: None,
    };
    // If the queue is closed, the next start sets it free.
    drop(queue.submit(release));
}

/// Ends deliveries whose deadline has come.
pub(super) struct ExpireDeliveries {
    pub(super) now: Timestamp,
}

impl Verb for ExpireDeliveries {
    type Outcome = Vec<Run>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<Run>> {
        let late = tx.select(
            "INDEXED BY run_overdue WHERE d_state = 0 AND slot IS NULL AND d_until <= ?1 ORDER BY d_until LIMIT ?2",
            (millis(self.now), EXPIRE_PIECE as i64),
        )?;
        let mut ended = Vec::with_capacity(late.len());
        for StoredRun { mut run, holder } in late {
            let before = Mark::of(&run, holder);
            let policy = Arc::clone(&run.policy);
            let over = run
                .delivery
                .as_mut()
                .is_some_and(|delivery| delivery.give_up(&policy.webhook, self.now));
            if over {
                tx.write_delivery(&before, &run, None)?;
                ended.push(run);
            }
        }
        Ok(ended)
    }
}

/// Begins new rounds of attempts.
pub(super) struct Redeliver {
    pub(super) ids: Vec<RunId>,
    pub(super) now: Timestamp,
}

impl Redeliver {
    fn one(&self, tx: &mut Tx<'_>, id: RunId) -> Result<Redelivered> {
        let Some(StoredRun { mut run, holder }) = tx.find(id)? else {
            let expired = tx
                .db
                .prepare_cached("SELECT 1 FROM tombstone WHERE rid = ?1 AND id = ?2")?
                .exists(params![id.key(), id.as_bytes()])?;
            return Ok(if expired {
                Redelivered::Expired
            } else {
                Redelivered::Unknown
            });
        };
        let before = Mark::of(&run, holder);
        let Some(delivery) = &mut run.delivery else {
            return Ok(Redelivered::NoDelivery(Box::new(run)));
        };
        if holder.is_some() {
            return Ok(Redelivered::UnderWay(Box::new(run)));
        }
        delivery.begin_again(self.now);
        tx.write_delivery(&before, &run, None)?;
        Ok(Redelivered::Now(Box::new(run)))
    }
}

impl Verb for Redeliver {
    type Outcome = Vec<Redelivered>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Outcome> {
        self.ids.iter().map(|id| self.one(tx, *id)).collect()
    }
}

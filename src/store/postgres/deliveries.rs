//! The verbs of a delivery: claim, settle, release, expire, redeliver.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    committer::Verb,
    link::LinkError,
    row::{self, StoredRun},
    shared::Shared,
    tx::{AttemptOf, Mark, Tx},
};
use crate::{
    model::{
        attempt::DeliveryTry, delivery::DeliveryState, id::RunId, run::Run, secret::Secret,
        time::Timestamp,
    },
    store::{DeliveryClaim, Fence, Redelivered, SettleError},
};

/// How many deliveries expire in one piece.
const EXPIRE_PIECE: i64 = 200;

/// Takes deliveries by their runs.
pub(super) struct ClaimDeliveries {
    pub(super) ids: Vec<RunId>,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Verb for ClaimDeliveries {
    type Outcome = Vec<DeliveryClaim>;

    async fn apply(&self, tx: &Tx<'_>) -> Result<Self::Outcome, LinkError> {
        let ids: Vec<Uuid> = self.ids.iter().map(|id| row::uuid(*id)).collect();
        let free = tx
            .select(
                // Another replica may have tried one since it was scheduled here: it is not due then.
                "WHERE id = ANY($1) AND d_state = 'pending' AND d_due <= $2 AND owner IS NULL
                 FOR UPDATE SKIP LOCKED",
                &[
                    (&ids, Type::UUID_ARRAY),
                    (&row::millis(self.now), Type::INT8),
                ],
            )
            .await?;
        let mut claimed = Vec::with_capacity(free.len());
        for StoredRun { run, .. } in free {
            let id = row::uuid(run.id);
            tx.take(run.id);
            let sql = "UPDATE raincheck.run SET owner = $2 WHERE id = $1 RETURNING secret";
            let params: [row::Param<'_>; 2] = [(&id, Type::UUID), (&tx.owner, Type::INT8)];
            let rows = tx.query(sql, &params).await?;
            let secret: Option<Vec<u8>> = rows.first().and_then(|row| row.get(0));
            let Some(response) = tx.response(run.id).await? else {
                continue;
            };
            claimed.push(DeliveryClaim {
                response,
                endpoint: run.facts.webhook_endpoint.clone().unwrap_or_default(),
                secret: secret.map(Secret::new),
                run,
                fence: Fence {
                    slot: 0,
                    epoch: tx.owner.cast_unsigned(),
                },
            });
        }
        // In the order in which they were asked for.
        claimed.sort_by_key(|claim| self.ids.iter().position(|id| *id == claim.run.id));
        Ok(claimed)
    }

    fn unheard(&self, claimed: &Self::Outcome, shared: &Shared) {
        shared.forget(claimed.iter().map(|claim| claim.run.id));
    }
}

/// Records an attempt of a delivery, or that there was none; everything was decided before.
pub(super) struct SettleDelivery {
    pub(super) before: Mark,
    /// As it is to stand.
    pub(super) run: Run,
    /// The attempt's entry in the log.
    pub(super) entry: Option<DeliveryTry>,
}

#[async_trait]
impl Verb for SettleDelivery {
    type Outcome = Result<(), SettleError>;
    const PATIENT: bool = true;

    async fn apply(&self, tx: &Tx<'_>) -> Result<Self::Outcome, LinkError> {
        if !self.before.is_held_by(tx.owner) {
            return Ok(Err(SettleError::Fenced));
        }
        if !tx.write(&self.before, &self.run, None).await?
            && let Some(why) = tx.why_not(&self.run, true).await?
        {
            tx.effects.lock().freed.push(self.run.id);
            return Ok(Err(why));
        }
        let state = self.run.delivery.as_ref().map(|delivery| delivery.state);
        if state == Some(DeliveryState::Delivered) {
            tx.forget_secret(self.run.id).await?;
        }
        if let Some(entry) = &self.entry {
            tx.log_attempt(self.run.id, AttemptOf::Delivery, entry.attempt, entry)
                .await?;
        }
        Ok(Ok(()))
    }
}

/// Ends deliveries whose deadline has come.
pub(super) struct ExpireDeliveries {
    pub(super) now: Timestamp,
}

#[async_trait]
impl Verb for ExpireDeliveries {
    type Outcome = Vec<Run>;

    async fn apply(&self, tx: &Tx<'_>) -> Result<Vec<Run>, LinkError> {
        let late = tx
            .select(
                "WHERE d_state = 'pending' AND owner IS NULL AND d_until <= $1 ORDER BY d_until LIMIT $2
                 FOR UPDATE SKIP LOCKED",
                &[
                    (&row::millis(self.now), Type::INT8),
                    (&EXPIRE_PIECE, Type::INT8),
                ],
            )
            .await?;
        let mut ended = Vec::with_capacity(late.len());
        for StoredRun { mut run, owner } in late {
            let before = Mark::of(&run, owner);
            let policy = Arc::clone(&run.policy);
            let over = run
                .delivery
                .as_mut()
                .is_some_and(|delivery| delivery.give_up(&policy.webhook, self.now));
            if over {
                tx.write(&before, &run, None).await?;
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
    async fn one(&self, tx: &Tx<'_>, id: RunId) -> Result<Redelivered, LinkError> {
        let uuid = row::uuid(id);
        let mut found = tx
            .select("WHERE id = $1 FOR UPDATE", &[(&uuid, Type::UUID)])
            .await?;
        let Some(StoredRun { mut run, owner }) = found.pop() else {
            return Ok(if tx.is_expired(id).await? {
                Redelivered::Expired
            } else {
                Redelivered::Unknown
            });
        };
        let before = Mark::of(&run, owner);
        let Some(delivery) = &mut run.delivery else {
            return Ok(Redelivered::NoDelivery(Box::new(run)));
        };
        if owner.is_some() {
            return Ok(Redelivered::UnderWay(Box::new(run)));
        }
        delivery.begin_again(self.now);
        tx.write(&before, &run, None).await?;
        Ok(Redelivered::Now(Box::new(run)))
    }
}

#[async_trait]
impl Verb for Redeliver {
    type Outcome = Vec<Redelivered>;

    async fn apply(&self, tx: &Tx<'_>) -> Result<Self::Outcome, LinkError> {
        let mut answers = Vec::with_capacity(self.ids.len());
        for id in &self.ids {
            answers.push(self.one(tx, *id).await?);
        }
        Ok(answers)
    }
}

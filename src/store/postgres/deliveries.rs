//! The verbs of a delivery: claim, settle, release, expire, redeliver.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    committer::Verb,
    link::LinkError,
    reader,
    row::{self, COLUMNS, StoredRun},
    shared::Shared,
    tx::{AttemptOf, Entry, Mark, Tx, With},
};
use crate::{
    model::{attempt::DeliveryTry, id::RunId, run::Run, secret::Secret, time::Timestamp},
    store::{Fence, Found, Redelivered, SettleError},
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
    /// Those that are held now with the secrets of their callers, and in whose name.
    type Outcome = (Vec<(Run, Option<Secret>)>, Fence);

    async fn apply(&self, tx: &Tx<'_>) -> Result<Self::Outcome, LinkError> {
        let ids: Vec<Uuid> = self.ids.iter().map(|id| row::uuid(*id)).collect();
        let sql = format!("SELECT {COLUMNS}, secret FROM raincheck.hold_1($1, $2, $3)");
        let params: [row::Param<'_>; 3] = [
            (&ids, Type::UUID_ARRAY),
            (&row::millis(self.now), Type::INT8),
            (&tx.owner, Type::INT8),
        ];
        // Another replica may have tried one since it was scheduled here: it is not due then.
        let rows = tx.query(&sql, &params).await?;
        let mut held = Vec::with_capacity(rows.len());
        for row in &rows {
            let StoredRun { run, .. } = row::read(row)?;
            tx.take(run.id);
            let secret: Option<Vec<u8>> = row.get("secret");
            held.push((run, secret.map(Secret::new)));
        }
        // In the order in which they were asked for.
        held.sort_by_key(|(run, _)| self.ids.iter().position(|id| *id == run.id));
        Ok((held, tx.fence()))
    }

    fn unheard(&self, (held, _): &Self::Outcome, shared: &Shared) {
        shared.let_go(held.iter().map(|(run, _)| &run.id));
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
        let entry = self.entry.as_ref();
        let with = With {
            response: None,
            entry: entry.map(|entry| Entry::new(AttemptOf::Delivery, entry.attempt, entry)),
        };
        if !tx.write(&self.before, &self.run, None, with).await?
            && let Some(why) = tx.why_not(&self.run, true).await?
        {
            tx.effects.lock().freed.push(self.run.id);
            return Ok(Err(why));
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
                "live WHERE d_state = 'pending' AND owner IS NULL AND d_until <= $1 ORDER BY d_until LIMIT $2
                 FOR UPDATE SKIP LOCKED",
                &[
                    (&row::millis(self.now), Type::INT8),
                    (&EXPIRE_PIECE, Type::INT8),
                ],
            )
            .await?;
        let ends = late.into_iter().filter_map(|StoredRun { mut run, owner }| {
            let before = Mark::of(&run, owner);
            let policy = Arc::clone(&run.policy);
            let delivery = run.delivery.as_mut()?;
            delivery
                .give_up(&policy.webhook, self.now)
                .then_some(async move {
                    tx.rewrite(&before, &run, None, With::default()).await?;
                    Ok(run)
                })
        });
        futures::future::try_join_all(ends).await
    }
}

/// Begins new rounds of attempts.
pub(super) struct Redeliver {
    pub(super) ids: Vec<RunId>,
    pub(super) now: Timestamp,
}

impl Redeliver {
    async fn one(&self, tx: &Tx<'_>, id: RunId) -> Result<Redelivered, LinkError> {
        revive(tx, id).await?;
        let Some(StoredRun { mut run, owner }) = tx.lock(id).await? else {
            return Ok(match reader::found(tx.db, tx.shared, id).await? {
                Found::Run(run) => Redelivered::NoDelivery(run),
                Found::Expired => Redelivered::Expired,
                Found::Unknown => Redelivered::Unknown,
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
        tx.rewrite(&before, &run, None, With::default()).await?;
        Ok(Redelivered::Now(Box::new(run)))
    }
}

/// Brings a run that is over back to those with something left to do, as it stands, if it has a delivery.
async fn revive(tx: &Tx<'_>, id: RunId) -> Result<(), LinkError> {
    let sql = "WITH back AS (
           DELETE FROM raincheck.run WHERE id = $1 AND d_state IS NOT NULL AND done > $2 RETURNING *)
         INSERT INTO raincheck.live(id, state, reason, route, name, dialect, accepted, started, finished, attempts,
           d_state, d_attempts, d_host, fixed, doc, secret)
         SELECT id, state, reason, route, name, dialect, accepted, started, finished, attempts, d_state, d_attempts,
           d_host, fixed, doc, secret FROM back";
    let kept_since = tx.shared.kept_since();
    let params: [row::Param<'_>; 2] = [(&row::uuid(id), Type::UUID), (&kept_since, Type::INT8)];
    tx.execute(sql, &params).await?;
    Ok(())
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

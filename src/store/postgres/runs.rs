//! The verbs of a run: accept, claim, settle, cancel, expire.

use async_trait::async_trait;
use tokio_postgres::types::Type;

use super::{
    committer::Verb,
    insert::Insert,
    link::LinkError,
    reader,
    row::{self, StoredRun},
    shared::Shared,
    tx::{AttemptOf, Entry, Mark, Tx, With},
};
use crate::{
    model::{
        attempt::RunAttempt,
        exchange::{StoredRequest, StoredResponse},
        id::RunId,
        retry,
        run::{End, Run, RunState},
        time::Timestamp,
    },
    store::{Accepted, Cancelled, Fence, Found, IdempotencyKey, SettleError, ending::end_run},
};

/// How many runs expire in one piece.
const EXPIRE_PIECE: i64 = 200;

/// Stores a run, queued or as started.
pub(super) struct Accept {
    pub(super) run: Run,
    pub(super) request: StoredRequest,
    pub(super) key: Option<IdempotencyKey>,
}

#[async_trait]
impl Verb for Accept {
    /// `Accepted::New(None)` here, whether started or not.
    type Outcome = (Accepted, Fence);

    async fn apply(&self, tx: &Tx<'_>) -> Result<Self::Outcome, LinkError> {
        if let Some(key) = &self.key
            && let Some(known) = self.replayed(tx, key).await?
        {
            return Ok((known, tx.shared.fence()));
        }
        let is_held = self.run.state == RunState::Running;
        if is_held {
            tx.take(self.run.id);
        }
        let owner = is_held.then_some(tx.owner);
        let new = Insert::new(&self.run, &self.request, owner);
        tx.inserts.lock().push(new);
        Ok((Accepted::New(None), tx.fence()))
    }

    fn key(&self) -> Option<[u8; 32]> {
        self.key.map(|key| key.scope)
    }

    fn unheard(&self, (accepted, _): &Self::Outcome, shared: &Shared) {
        if matches!(accepted, Accepted::New(_)) {
            shared.let_go(&[self.run.id]);
        }
    }
}

impl Accept {
    /// The run that has the key; none if it is this one.
    async fn replayed(
        &self,
        tx: &Tx<'_>,
        key: &IdempotencyKey,
    ) -> Result<Option<Accepted>, LinkError> {
        let (scope, fingerprint) = (&key.scope[..], &key.fingerprint[..]);
        let id = row::uuid(self.run.id);
        // Who inserts the same key elsewhere at this moment is waited for; the winner is read in a later statement.
        tx.execute(
            "INSERT INTO raincheck.idempotency(scope, id, fingerprint) VALUES($1, $2, $3) ON CONFLICT DO NOTHING",
            &[
                (&scope, Type::BYTEA),
                (&id, Type::UUID),
                (&fingerprint, Type::BYTEA),
            ],
        )
        .await?;
        let sql = "SELECT id, fingerprint FROM raincheck.idempotency WHERE scope = $1 FOR UPDATE";
        let rows = tx.query(sql, &[(&scope, Type::BYTEA)]).await?;
        let Some(known) = rows.first() else {
            return Ok(None);
        };
        let (owner, print): (uuid::Uuid, Vec<u8>) = (known.get(0), known.get(1));
        if owner == id {
            return Ok(None);
        }
        let owner = row::id(owner);
        let Found::Run(run) = reader::found(tx.db, tx.shared, owner).await? else {
            // Its run has expired: the key is free.
            let sql = "UPDATE raincheck.idempotency SET id = $2, fingerprint = $3 WHERE scope = $1";
            tx.execute(
                sql,
                &[
                    (&scope, Type::BYTEA),
                    (&id, Type::UUID),
                    (&fingerprint, Type::BYTEA),
                ],
            )
            .await?;
            return Ok(None);
        };
        if print != fingerprint {
            return Ok(Some(Accepted::KeyReused(owner)));
        }
        Ok(Some(Accepted::Replayed(run)))
    }
}

/// Takes due runs of a route. What another replica takes at the same moment is left to it.
pub(super) struct ClaimRuns {
    pub(super) route: String,
    pub(super) limit: usize,
    pub(super) now: Timestamp,
}

/// Runs that are held now.
pub(super) struct Started {
    /// As they stand.
    pub(super) runs: Vec<Run>,
    /// When the next one is due.
    pub(super) next_due: Option<Timestamp>,
    /// In whose name they are held.
    pub(super) fence: Fence,
}

#[async_trait]
impl Verb for ClaimRuns {
    type Outcome = Started;

    async fn apply(&self, tx: &Tx<'_>) -> Result<Self::Outcome, LinkError> {
        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
        let due = tx
            .select(
                "live WHERE route = $1 AND state = 'queued' AND due <= $2 ORDER BY due, id LIMIT $3
                 FOR UPDATE SKIP LOCKED",
                &[
                    (&self.route, Type::TEXT),
                    (&row::millis(self.now), Type::INT8),
                    (&limit, Type::INT8),
                ],
            )
            .await?;
        let runs = due.into_iter().map(async |StoredRun { mut run, owner }| {
            let before = Mark::of(&run, owner);
            run.state = RunState::Running;
            run.progress.attempts += 1;
            run.started_at.get_or_insert(self.now);
            tx.take(run.id);
            let owner = Some(tx.owner);
            tx.rewrite(&before, &run, owner, With::default()).await?;
            Ok::<_, LinkError>(run)
        });
        let runs = futures::future::try_join_all(runs).await?;
        let next_due = if runs.len() == self.limit {
            // There may be more that are due.
            Some(self.now)
        } else {
            let sql = "SELECT min(due) FROM raincheck.live WHERE route = $1 AND state = 'queued'";
            let next = tx.query(sql, &[(&self.route, Type::TEXT)]).await?;
            let next: Option<i64> = next.first().and_then(|row| row.get(0));
            next.map(row::time)
        };
        Ok(Started {
            runs,
            next_due,
            fence: tx.fence(),
        })
    }

    fn unheard(&self, started: &Self::Outcome, shared: &Shared) {
        shared.let_go(started.runs.iter().map(|run| &run.id));
    }
}

/// Records how an attempt ended; everything was decided before.
pub(super) struct SettleRun {
    pub(super) before: Mark,
    /// As it is to stand.
    pub(super) run: Run,
    /// If it ends; its pieces are stored.
    pub(super) response: Option<StoredResponse>,
    /// The attempt's entry in the log, if it has one.
    pub(super) entry: Option<RunAttempt>,
    /// Whether its delivery is held from now on.
    pub(super) holds: bool,
}

#[async_trait]
impl Verb for SettleRun {
    type Outcome = Result<(), SettleError>;
    const PATIENT: bool = true;

    async fn apply(&self, tx: &Tx<'_>) -> Result<Self::Outcome, LinkError> {
        if !self.before.is_held_by(tx.owner) {
            return Ok(Err(SettleError::Fenced));
        }
        let owner = self.holds.then_some(tx.owner);
        let with = With {
            response: self.response.clone(),
            entry: self
                .entry
                .as_ref()
                .map(|entry| Entry::new(AttemptOf::Run, entry.attempt, entry)),
        };
        if !tx.write(&self.before, &self.run, owner, with).await?
            && let Some(why) = tx.why_not(&self.run, false).await?
        {
            tx.effects.lock().freed.push(self.run.id);
            return Ok(Err(why));
        }
        Ok(Ok(()))
    }

    fn unheard(&self, _outcome: &Self::Outcome, shared: &Shared) {
        shared.let_go(&[self.run.id]);
    }
}

/// Ends an unfinished run as cancelled, whoever holds it.
pub(super) struct Cancel {
    pub(super) id: RunId,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Verb for Cancel {
    type Outcome = Cancelled;

    async fn apply(&self, tx: &Tx<'_>) -> Result<Cancelled, LinkError> {
        let locked = tx.lock(self.id).await?;
        let Some(StoredRun { mut run, owner }) = locked.filter(|it| !it.run.state.is_final())
        else {
            return Ok(match reader::found(tx.db, tx.shared, self.id).await? {
                Found::Run(run) if run.state == RunState::Cancelled => Cancelled::Before(run),
                Found::Run(run) => Cancelled::Finished(run),
                Found::Expired => Cancelled::Expired,
                Found::Unknown => Cancelled::Unknown,
            });
        };
        end_unasked(tx, &mut run, owner, End::Cancelled, self.now).await?;
        Ok(Cancelled::Now(Box::new(run)))
    }
}

/// Ends queued runs that have waited too long.
pub(super) struct Expire {
    pub(super) now: Timestamp,
}

#[async_trait]
impl Verb for Expire {
    type Outcome = Vec<Run>;

    async fn apply(&self, tx: &Tx<'_>) -> Result<Vec<Run>, LinkError> {
        let late = tx
            .select(
                "live WHERE state = 'queued' AND expires <= $1 ORDER BY expires LIMIT $2 FOR UPDATE SKIP LOCKED",
                &[
                    (&row::millis(self.now), Type::INT8),
                    (&EXPIRE_PIECE, Type::INT8),
                ],
            )
            .await?;
        let ends = late.into_iter().filter_map(|StoredRun { mut run, owner }| {
            let end = retry::after_waiting(&run, self.now)?;
            Some(async move {
                end_unasked(tx, &mut run, owner, end, self.now).await?;
                Ok(run)
            })
        });
        futures::future::try_join_all(ends).await
    }
}

/// Ends a run whose attempt, if there is one, was not asked: it was cancelled, has expired or was interrupted.
pub(super) async fn end_unasked(
    tx: &Tx<'_>,
    run: &mut Run,
    owner: Option<i64>,
    end: End,
    now: Timestamp,
) -> Result<(), LinkError> {
    let before = Mark::of(run, owner);
    let (response, _) = end_run(run, end, None, now, &tx.shared.public_prefix);
    let with = With {
        response: Some(response),
        entry: None,
    };
    tx.rewrite(&before, run, None, with).await
}

/// Queues a run again. If it is due at once it takes its old place in the queue: first come, first served.
pub(super) fn queue_again(run: &mut Run, due: Timestamp, now: Timestamp) {
    run.state = RunState::Queued;
    run.due_at = if due <= now { run.accepted_at } else { due };
}

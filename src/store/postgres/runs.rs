//! The verbs of a run: accept, claim, settle, cancel, expire.

use async_trait::async_trait;
use tokio_postgres::types::Type;

use super::{
    committer::Verb,
    link::LinkError,
    pieces::{self, REQUEST},
    row::{self, StoredRun},
    shared::Shared,
    tx::{AttemptOf, Mark, Tx},
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
    store::{
        Accepted, Cancelled, Claims, Fence, IdempotencyKey, RunClaim, SettleError, ending::end_run,
    },
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
        tx.inserts.lock().add(&self.run, &self.request, owner);
        let fence = Fence {
            slot: 0,
            epoch: tx.owner.cast_unsigned(),
        };
        Ok((Accepted::New(None), fence))
    }

    fn unheard(&self, (accepted, _): &Self::Outcome, shared: &Shared) {
        if matches!(accepted, Accepted::New(_)) {
            shared.forget([self.run.id]);
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
        let sql = "SELECT id, fingerprint FROM raincheck.idempotency WHERE scope = $1";
        let rows = tx.query(sql, &[(&scope, Type::BYTEA)]).await?;
        let Some(known) = rows.first() else {
            return Ok(None);
        };
        let (owner, print): (uuid::Uuid, Vec<u8>) = (known.get(0), known.get(1));
        if owner == id {
            return Ok(None);
        }
        let owner = row::id(owner);
        if print != fingerprint {
            return Ok(Some(Accepted::KeyReused(owner)));
        }
        let found = tx.find(owner).await?;
        Ok(found.map(|found| Accepted::Replayed(Box::new(found.run))))
    }
}

/// Takes due runs of a route. What another replica takes at the same moment is left to it.
pub(super) struct ClaimRuns {
    pub(super) route: String,
    pub(super) limit: usize,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Verb for ClaimRuns {
    type Outcome = Claims<RunClaim>;

    async fn apply(&self, tx: &Tx<'_>) -> Result<Self::Outcome, LinkError> {
        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
        let due = tx
            .select(
                "WHERE route = $1 AND state = 'queued' AND due <= $2 ORDER BY due, id LIMIT $3
                 FOR UPDATE SKIP LOCKED",
                &[
                    (&self.route, Type::TEXT),
                    (&row::millis(self.now), Type::INT8),
                    (&limit, Type::INT8),
                ],
            )
            .await?;
        let mut claimed = Vec::with_capacity(due.len());
        for StoredRun { mut run, owner } in due {
            let before = Mark::of(&run, owner);
            run.state = RunState::Running;
            run.progress.attempts += 1;
            run.started_at.get_or_insert(self.now);
            tx.take(run.id);
            tx.write(&before, &run, Some(tx.owner)).await?;
            claimed.push(RunClaim {
                request: request(tx, run.id).await?,
                run,
                fence: Fence {
                    slot: 0,
                    epoch: tx.owner.cast_unsigned(),
                },
            });
        }
        let sql = "SELECT min(due) FROM raincheck.run WHERE route = $1 AND state = 'queued'";
        let next = tx.query(sql, &[(&self.route, Type::TEXT)]).await?;
        let next: Option<i64> = next.first().and_then(|row| row.get(0));
        Ok(Claims {
            claimed,
            next_due: next.map(row::time),
        })
    }

    fn unheard(&self, claims: &Self::Outcome, shared: &Shared) {
        shared.forget(claims.claimed.iter().map(|claim| claim.run.id));
    }
}

async fn request(tx: &Tx<'_>, id: RunId) -> Result<StoredRequest, LinkError> {
    let found = read_request(tx.db, tx.shared, id).await?;
    let missing = || {
        LinkError::Spool(std::io::Error::other(format!(
            "the request of {id} is gone"
        )))
    };
    found.ok_or_else(missing)
}

/// Reads an unfinished run's request, its secret included. A long body is brought into a file here.
pub(super) async fn read_request(
    db: &tokio_postgres::Client,
    shared: &Shared,
    id: RunId,
) -> Result<Option<StoredRequest>, LinkError> {
    let sql = "SELECT head, body, len, client, tls, secret FROM raincheck.body JOIN raincheck.run USING (id)
         WHERE id = $1 AND state IN ('queued', 'running')";
    let rows = db.query_typed(sql, &[(&row::uuid(id), Type::UUID)]).await?;
    let Some(found) = rows.first() else {
        return Ok(None);
    };
    let body = pieces::body(db, shared, found, (id, REQUEST)).await?;
    Ok(Some(row::request(found, body)))
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
        let done = match &self.response {
            Some(response) => {
                tx.write_end(&self.before, &self.run, response, owner)
                    .await?
            }
            None => tx.write(&self.before, &self.run, None).await?,
        };
        if !done {
            let why = tx.why_not(&self.run, false).await?;
            if let Some(why) = why {
                tx.effects.lock().freed.push(self.run.id);
                return Ok(Err(why));
            }
        }
        if let Some(entry) = &self.entry {
            tx.log_attempt(self.run.id, AttemptOf::Run, entry.attempt, entry)
                .await?;
        }
        Ok(Ok(()))
    }

    fn unheard(&self, _outcome: &Self::Outcome, shared: &Shared) {
        shared.forget([self.run.id]);
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
        let id = row::uuid(self.id);
        let mut found = tx
            .select("WHERE id = $1 FOR UPDATE", &[(&id, Type::UUID)])
            .await?;
        let Some(StoredRun { mut run, owner }) = found.pop() else {
            return Ok(if tx.is_expired(self.id).await? {
                Cancelled::Expired
            } else {
                Cancelled::Unknown
            });
        };
        if run.state == RunState::Cancelled {
            return Ok(Cancelled::Before(Box::new(run)));
        }
        if run.state.is_final() {
            return Ok(Cancelled::Finished(Box::new(run)));
        }
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
                "WHERE state = 'queued' AND expires <= $1 ORDER BY expires LIMIT $2 FOR UPDATE SKIP LOCKED",
                &[
                    (&row::millis(self.now), Type::INT8),
                    (&EXPIRE_PIECE, Type::INT8),
                ],
            )
            .await?;
        let mut ended = Vec::with_capacity(late.len());
        for StoredRun { mut run, owner } in late {
            if let Some(end) = retry::after_waiting(&run, self.now) {
                end_unasked(tx, &mut run, owner, end, self.now).await?;
                ended.push(run);
            }
        }
        Ok(ended)
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
    tx.write_end(&before, run, &response, None).await?;
    Ok(())
}

/// Queues a run again. If it is due at once it takes its old place in the queue: first come, first served.
pub(super) fn queue_again(run: &mut Run, due: Timestamp, now: Timestamp) {
    run.state = RunState::Queued;
    run.due_at = if due <= now { run.accepted_at } else { due };
}

//! The verbs of a run: accept, claim, settle, cancel, expire, and giving a claim back.

use std::sync::Arc;

use rusqlite::{OptionalExtension, Result, params};

use super::{
    queue::{Queue, Verb},
    row::{self, StoredRun, millis, time},
    transaction::{AttemptOf, Leftovers, Mark, Tx},
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
const EXPIRE_PIECE: usize = 500;

/// Stores a run, queued or as started.
pub(super) struct Accept {
    pub(super) run: Run,
    pub(super) request: StoredRequest,
    pub(super) key: Option<IdempotencyKey>,
}

impl Accept {
    fn started(&self) -> bool {
        self.run.state == RunState::Running
    }

    fn replayed(&self, tx: &Tx<'_>, key: &IdempotencyKey) -> Result<Option<Accepted>> {
        let known = tx
            .db
            .prepare_cached("SELECT rid, fingerprint FROM idempotency WHERE scope = ?1")?
            .query_row([&key.scope[..]], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 32]>(1)?))
            })
            .optional()?;
        let Some((rid, fingerprint)) = known else {
            return Ok(None);
        };
        let mut found = tx.select("WHERE rid = ?1", [rid])?;
        let run = found.pop().ok_or(rusqlite::Error::QueryReturnedNoRows)?.run;
        Ok(Some(if fingerprint == key.fingerprint {
            Accepted::Replayed(Box::new(run))
        } else {
            Accepted::KeyReused(run.id)
        }))
    }

    pub(super) fn insert(&self, tx: &mut Tx<'_>) -> Result<()> {
        let Run { id, facts, .. } = &self.run;
        let ids = tx.policy_ids(&self.run.policy)?;
        let holder = self.started().then_some(tx.shared.fence);
        let queued = self.run.state == RunState::Queued;
        tx.db
            .prepare_cached(
                "INSERT INTO run(rid, id, state, route, policy, accepted, started, due, expires, attempts, progress,
                   slot, epoch, dialect, is_async, name, method, path, has_key, endpoint, depth, traceparent, access,
                   extra)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
                   ?21, ?22, ?23, ?24)",
            )?
            .execute(params![
                id.key(),
                id.as_bytes(),
                row::code(&RunState::ALL, &self.run.state),
                ids.route,
                ids.policy,
                millis(self.run.accepted_at),
                self.run.started_at.map(millis),
                queued.then(|| millis(self.run.due_at)),
                queued.then(|| millis(retry::queue_end(&self.run))),
                self.run.progress.attempts,
                row::pack(&self.run.progress),
                holder.map(|fence| fence.slot),
                holder.map(|fence| fence.epoch.cast_signed()),
                facts.dialect,
                facts.asynchronous,
                (facts.name != facts.path).then_some(&facts.name),
                facts.method,
                facts.path,
                facts.has_key,
                facts.webhook_endpoint,
                facts.depth,
                facts.traceparent,
                row::access(&facts.access),
                row::extra(&facts.extra)?,
            ])?;
        self.insert_request(tx)?;
        tx.record(None, &self.run, holder)
    }

    fn insert_request(&self, tx: &Tx<'_>) -> Result<()> {
        let rid = self.run.id.key();
        let (inline, spool, len) = row::body(&self.request.body);
        tx.db
            .prepare_cached(
                "INSERT INTO body(rid, head, body, spool, len, client, tls) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                rid,
                &self.request.head[..],
                inline,
                spool,
                len,
                self.request.client.map(|client| client.to_string()),
                self.request.tls
            ])?;
        if let Some(secret) = &self.request.webhook_secret {
            tx.db
                .prepare_cached("INSERT INTO webhook_secret(rid, secret) VALUES(?1, ?2)")?
                .execute((rid, secret.reveal()))?;
        }
        if let Some(key) = &self.key {
            tx.db
                .prepare_cached(
                    "INSERT INTO idempotency(scope, rid, fingerprint) VALUES(?1, ?2, ?3)",
                )?
                .execute((&key.scope[..], rid, &key.fingerprint[..]))?;
        }
        Ok(())
    }
}

impl Verb for Accept {
    /// `Accepted::New(None)` here, whether started or not.
    type Outcome = (Accepted, Fence);

    fn size(&self) -> usize {
        let body = match &self.request.body {
            crate::model::exchange::Body::Inline(bytes) => bytes.len(),
            crate::model::exchange::Body::Spooled { .. } => 0,
        };
        512 + self.request.head.len() + body
    }

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Outcome> {
        let fence = tx.shared.fence;
        if let Some(key) = &self.key
            && let Some(known) = self.replayed(tx, key)?
        {
            return Ok((known, fence));
        }
        self.insert(tx)?;
        Ok((Accepted::New(None), fence))
    }

    fn unheard(self, (accepted, fence): Self::Outcome, queue: &Arc<Queue>) {
        if self.started() && matches!(accepted, Accepted::New(_)) {
            give_back(self.run, fence, queue);
        }
    }
}

/// Takes due runs of a route.
pub(super) struct ClaimRuns {
    pub(super) route: String,
    pub(super) limit: usize,
    pub(super) now: Timestamp,
}

impl Verb for ClaimRuns {
    type Outcome = Claims<RunClaim>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Outcome> {
        let mut claims = Claims {
            claimed: Vec::new(),
            next_due: None,
        };
        let Some(route) = super::names::Names::route(tx.db, &self.route)? else {
            return Ok(claims);
        };
        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
        let due = tx.select(
            "INDEXED BY run_queued WHERE route = ?1 AND state = 0 AND due <= ?2 ORDER BY due, rid LIMIT ?3",
            (route, millis(self.now), limit),
        )?;
        let fence = tx.shared.fence;
        for StoredRun { mut run, holder } in due {
            let before = Mark::of(&run, holder);
            run.state = RunState::Running;
            run.progress.attempts += 1;
            run.started_at.get_or_insert(self.now);
            tx.write(&before, &run, Some(fence))?;
            let request = row::read_request(tx.db, run.id.key())?;
            claims.claimed.push(RunClaim {
                run,
                request,
                fence,
            });
        }
        claims.next_due = tx
            .db
            .prepare_cached(
                "SELECT due FROM run INDEXED BY run_queued WHERE route = ?1 AND state = 0 ORDER BY due LIMIT 1",
            )?
            .query_row([route], |row| row.get(0))
            .optional()?
            .map(time);
        Ok(claims)
    }

    fn unheard(self, claims: Self::Outcome, queue: &Arc<Queue>) {
        for claim in claims.claimed {
            give_back(claim.run, claim.fence, queue);
        }
    }
}

/// Records how an attempt ended; everything was decided before.
pub(super) struct SettleRun {
    pub(super) before: Mark,
    /// As it is to stand.
    pub(super) run: Run,
    /// If it ends.
    pub(super) response: Option<StoredResponse>,
    pub(super) leftovers: Leftovers,
    /// The attempt's entry in the log, if it has one.
    pub(super) entry: Option<RunAttempt>,
    /// Who holds its delivery from now on.
    pub(super) holder: Option<Fence>,
    /// Our own fence.
    pub(super) fence: Fence,
}

impl Verb for SettleRun {
    type Outcome = std::result::Result<(), SettleError>;
    const PATIENT: bool = true;

    fn size(&self) -> usize {
        let body = self.response.as_ref().map_or(0, |response| {
            let inline = row::body(&response.body).0;
            response.head.len() + inline.map_or(0, <[u8]>::len)
        });
        512 + body
    }

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Outcome> {
        let done = match &self.response {
            Some(response) => tx.write_end(
                &self.before,
                &self.run,
                response,
                self.leftovers.clone(),
                self.holder,
            )?,
            None => tx.write(&self.before, &self.run, None)?,
        };
        if !done {
            return tx.why_not(self.run.id, false).map(Err);
        }
        if let Some(entry) = &self.entry {
            tx.log_attempt(self.run.id, AttemptOf::Run, entry.attempt, entry)?;
        }
        Ok(Ok(()))
    }

    fn unheard(self, outcome: Self::Outcome, queue: &Arc<Queue>) {
        if outcome.is_ok() && self.holder.is_some() {
            super::deliveries::give_back(self.run, self.fence, queue);
        }
    }
}

/// Ends an unfinished run as cancelled.
pub(super) struct Cancel {
    pub(super) id: RunId,
    pub(super) now: Timestamp,
}

impl Verb for Cancel {
    type Outcome = Cancelled;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Cancelled> {
        let Some(StoredRun { mut run, holder }) = tx.find(self.id)? else {
            let expired = tx
                .db
                .prepare_cached("SELECT 1 FROM tombstone WHERE rid = ?1 AND id = ?2")?
                .exists(params![self.id.key(), self.id.as_bytes()])?;
            return Ok(if expired {
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
        end_unasked(tx, &mut run, holder, End::Cancelled, self.now)?;
        Ok(Cancelled::Now(Box::new(run)))
    }
}

/// Ends queued runs that have waited too long.
pub(super) struct Expire {
    pub(super) now: Timestamp,
}

impl Verb for Expire {
    type Outcome = Vec<Run>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<Run>> {
        let late = tx.select(
            "INDEXED BY run_expires WHERE state = 0 AND expires <= ?1 ORDER BY expires LIMIT ?2",
            (millis(self.now), EXPIRE_PIECE as i64),
        )?;
        let mut ended = Vec::with_capacity(late.len());
        for StoredRun { mut run, holder } in late {
            if let Some(end) = retry::after_waiting(&run, self.now) {
                end_unasked(tx, &mut run, holder, end, self.now)?;
                ended.push(run);
            }
        }
        Ok(ended)
    }
}

/// Ends a run whose attempt, if there is one, was not asked: it was cancelled, has expired or was interrupted.
pub(super) fn end_unasked(
    tx: &mut Tx<'_>,
    run: &mut Run,
    holder: Option<Fence>,
    end: End,
    now: Timestamp,
) -> Result<()> {
    let before = Mark::of(run, holder);
    let leftovers = tx.leftovers(run.id)?;
    let (response, _) = end_run(run, end, None, now, &tx.shared.settings.public_prefix);
    tx.write_end(&before, run, &response, leftovers, None)?;
    Ok(())
}

/// Queues a run again. If it is due at once it takes its old place in the queue: first come, first served.
pub(super) fn queue_again(run: &mut Run, due: Timestamp, now: Timestamp) {
    run.state = RunState::Queued;
    run.due_at = if due <= now { run.accepted_at } else { due };
}

/// Queues a claimed run again as it was: nothing was sent, and nobody heard of the claim.
struct GiveBack {
    before: Mark,
    run: Run,
}

impl Verb for GiveBack {
    type Outcome = ();
    const PATIENT: bool = true;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<()> {
        tx.write(&self.before, &self.run, None)?;
        Ok(())
    }
}

fn give_back(mut run: Run, fence: Fence, queue: &Arc<Queue>) {
    let before = Mark::of(&run, Some(fence));
    run.state = RunState::Queued;
    run.progress.attempts -= 1;
    if run.progress.attempts == 0 {
        run.started_at = None;
    }
    // If the queue is closed, the next start finds the run as interrupted.
    drop(queue.submit(GiveBack { before, run }));
}

//! Who is alive: each replica's heartbeat, and what becomes of what a dead one held.
//!
//! A replica is fenced by one column of its row, in the transaction that looks whether it has been silent: from then on
//! no transaction of its holds. Nothing else fences: a late heartbeat of one that was not fenced is as good as any.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_postgres::types::Type;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    committer::{Queue, Verb},
    link::LinkError,
    row::{self, StoredRun},
    runs::{end_unasked, queue_again},
    shared::Shared,
    tx::{AttemptOf, Entry, Mark, Tx, With},
};
use crate::{
    metrics::Metrics,
    model::{
        attempt::RunAttempt,
        retry::{self, Next, Outcome},
        run::{Reason, Run, RunState},
        time::Timestamp,
    },
};

/// Between heartbeats, and between looks at what others do.
const BEAT: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_secs(1);
/// A replica whose heart has not beaten for so long, by our own clock and while ours did, is dead.
pub(super) const DEAD: Duration = Duration::from_secs(20);
/// So old may our last heartbeat be when an attempt begins: others wait for longer.
pub(super) const FRESH: Duration = Duration::from_secs(10);
/// Runs that are taken over in one transaction: others get theirs in between.
const PIECE: i64 = 200;
/// Between looks for what is held in our name and nobody here knows of.
const LOST: Duration = Duration::from_secs(10);

/// When our last heartbeat that arrived was sent, on a clock that goes on while the machine sleeps.
#[derive(Debug)]
pub(super) struct Lease(AtomicI64);

impl Lease {
    /// One that was sent now.
    pub(super) fn since_now() -> Self {
        Self(AtomicI64::new(uptime()))
    }

    /// Whether nobody can have taken us for dead.
    pub(super) fn is_fresh(&self) -> bool {
        let age = uptime().saturating_sub(self.0.load(Ordering::Relaxed));
        u128::try_from(age).is_ok_and(|age| age < FRESH.as_millis())
    }

    pub(super) fn beat(&self, sent: i64) {
        self.0.store(sent, Ordering::Relaxed);
    }
}

/// Milliseconds since the machine's start.
fn uptime() -> i64 {
    let since = clock_gettime(ClockId::Boottime);
    since.tv_sec * 1000 + since.tv_nsec / 1_000_000
}

/// Registers this process anew; what was held under the number before is for others to take over.
pub(super) async fn register(shared: &Shared) {
    loop {
        let sent = uptime();
        match super::registered(&shared.link).await {
            Ok(number) => {
                shared.beaten(sent);
                let before = shared.replica.swap(number, Ordering::Relaxed);
                shared.held.lock().clear();
                if before != 0 {
                    shared.metrics.store_fenced.inc();
                    tracing::warn!(
                        before,
                        number,
                        "this replica was taken for dead; its runs are others'"
                    );
                }
                return;
            }
            Err(error) => {
                shared.note(false, &error);
                if shared.closing.load(Ordering::Relaxed) {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

/// Keeps this replica alive, takes over from dead ones, and tells of what others do, until `stop`.
pub(super) async fn keep(shared: Arc<Shared>, queue: Arc<Queue>, stop: CancellationToken) {
    tokio::select! {
        () = keep_on(&shared, &queue) => {}
        () = stop.cancelled() => {}
    }
}

async fn keep_on(shared: &Shared, queue: &Queue) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut others = Others::default();
    let (mut beaten, mut searched) = (None::<Instant>, Instant::now());
    loop {
        look.tick().await;
        if beaten.is_none_or(|beaten| beaten.elapsed() >= BEAT) {
            match beat(shared).await {
                Ok(seen) => {
                    beaten = Some(Instant::now());
                    shared.note(true, &"");
                    let alive = seen.len().max(1);
                    shared.alive.store(alive, Ordering::Relaxed);
                    let alive = i64::try_from(alive).unwrap_or(i64::MAX);
                    shared.metrics.store_replicas.set(alive);
                    for dead in others.silent(&seen) {
                        fence(shared, &dead).await;
                    }
                    // What cannot be counted now is counted at the next beat.
                    let _ = queue.submit(Recount, None).await;
                    // What cannot be asked now is asked at the next beat.
                    let _ = agree(shared).await;
                    take_over(shared, queue).await;
                }
                Err(error) => {
                    others = Others::default();
                    shared.note(false, &error);
                }
            }
        }
        if searched.elapsed() >= LOST {
            searched = Instant::now();
            // What cannot be looked for now is looked for again.
            let now = shared.now();
            let _ = queue.submit(GiveBack { now }, None).await;
        }
        if shared.alive.load(Ordering::Relaxed) > 1 {
            shared.notices.others.notify_waiters();
            shared.notices.changes.tell_waiters();
        }
    }
}

/// A replica as its row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Replica {
    id: i64,
    beat: i64,
}

/// When each of the others was last seen to change, on our own clock.
#[derive(Debug, Default)]
struct Others(HashMap<i64, (i64, Instant)>);

impl Others {
    /// Those that have been silent for too long.
    fn silent(&mut self, seen: &[Replica]) -> Vec<Replica> {
        let now = Instant::now();
        let known = std::mem::take(&mut self.0);
        let mut silent = Vec::new();
        for replica in seen {
            let since = match known.get(&replica.id) {
                Some((beat, since)) if *beat == replica.beat => *since,
                Some(_) | None => now,
            };
            if now.duration_since(since) >= DEAD {
                silent.push(*replica);
            }
            self.0.insert(replica.id, (replica.beat, since));
        }
        silent
    }
}

/// Our own heartbeat, and how the hearts of all stand. A fenced one registers anew.
async fn beat(shared: &Shared) -> Result<Vec<Replica>, LinkError> {
    let (owner, sent) = (shared.owner(), uptime());
    let (lives, seen) = shared
        .link
        .look(async |db| {
            let own = "UPDATE raincheck.replica SET beat = beat + 1, beat_at = clock_timestamp()
                 WHERE id = $1 AND NOT fenced";
            let lives = db.execute_typed(own, &[(&owner, Type::INT8)]).await? > 0;
            let all = "SELECT id, beat FROM raincheck.replica WHERE NOT fenced";
            let rows = db.query_typed(all, &[]).await?;
            let seen = rows.iter().map(|row| Replica {
                id: row.get(0),
                beat: row.get(1),
            });
            Ok((lives, seen.collect::<Vec<_>>()))
        })
        .await?;
    if lives {
        shared.beaten(sent);
    } else {
        register(shared).await;
    }
    Ok(seen)
}

/// Clocks that differ by less are as good as each other.
const SLACK: Duration = Duration::from_millis(500);

/// Goes by the database's clock if ours differs: all replicas have to agree on what is due.
pub(super) async fn agree(shared: &Shared) -> Result<(), LinkError> {
    let asked = Instant::now();
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    let rows = shared.link.query(sql, &[]).await?;
    let Some(theirs) = rows.first().map(|row| row::time(row.get(0))) else {
        return Ok(());
    };
    // It was read somewhere between our question and its answer.
    let theirs = theirs.after(asked.elapsed() / 2);
    let ours = shared.now();
    let apart = theirs.since(ours).max(ours.since(theirs));
    if apart >= SLACK {
        tracing::warn!(
            ?apart,
            "this machine's clock differs from the database's, which counts"
        );
        shared.clock.go_by(theirs);
    }
    Ok(())
}

/// Fences a replica, if its heart still stands where it was.
async fn fence(shared: &Shared, dead: &Replica) {
    if dead.id == shared.owner() {
        return;
    }
    let sql =
        "UPDATE raincheck.replica SET fenced = true WHERE id = $1 AND beat = $2 AND NOT fenced";
    let params: [row::Param<'_>; 2] = [(&dead.id, Type::INT8), (&dead.beat, Type::INT8)];
    match shared.link.execute(sql, &params).await {
        Ok(0) => {}
        Ok(_) => tracing::warn!(
            replica = dead.id,
            "a replica is dead; its runs are taken over"
        ),
        Err(error) => tracing::warn!(%error, "a dead replica cannot be fenced; it is tried again"),
    }
}

/// Counts unfinished runs anew, since other replicas change their numbers too. As a change, it is in order with our own.
pub(super) struct Recount;

#[async_trait]
impl Verb for Recount {
    type Outcome = ();

    async fn apply(&self, tx: &Tx<'_>) -> Result<(), LinkError> {
        let sql = "SELECT route, sum(n)::bigint FROM raincheck.tally
             WHERE (kind = 0 AND state IN ('queued', 'running')) OR (kind = 1 AND state = 'pending') GROUP BY route";
        let rows = tx.query(sql, &[]).await?;
        let counted = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        tx.effects.lock().recounted = Some(counted);
        Ok(())
    }
}

/// Takes over, piece by piece, whatever is held in the name of a fenced replica; then its row goes.
pub(super) async fn take_over(shared: &Shared, queue: &Queue) {
    loop {
        let now = shared.now();
        match queue.submit(Adopt { now }, None).await {
            Ok((_, 0)) | Err(_) => break,
            Ok((_, taken)) => {
                tracing::info!(
                    taken,
                    "runs and deliveries of a dead replica were taken over"
                );
                shared.notices.runs.notify_waiters();
                shared.notices.deliveries.miss();
            }
        }
    }
    let sql = "DELETE FROM raincheck.replica WHERE fenced
         AND NOT EXISTS (SELECT 1 FROM raincheck.live WHERE owner = replica.id)";
    if let Err(error) = shared.link.execute(sql, &[]).await {
        tracing::debug!(%error, "the rows of dead replicas stay for now");
    }
}

/// Takes over a piece of what fenced replicas held. What another one takes at this moment is left to it.
struct Adopt {
    now: Timestamp,
}

#[async_trait]
impl Verb for Adopt {
    type Outcome = usize;

    async fn apply(&self, tx: &Tx<'_>) -> Result<usize, LinkError> {
        let held = tx
            .select(
                "live WHERE owner IN (SELECT id FROM raincheck.replica WHERE fenced) LIMIT $1 FOR UPDATE SKIP LOCKED",
                &[(&PIECE, Type::INT8)],
            )
            .await?;
        let taken = held.len();
        let recovered = held
            .into_iter()
            .map(|StoredRun { run, owner }| recover(tx, run, owner, self.now));
        futures::future::try_join_all(recovered).await?;
        Ok(taken)
    }
}

/// Sets a delivery free that was under way; a run that was is queued again or ended, as the one rule of repeats says.
async fn recover(
    tx: &Tx<'_>,
    mut run: Run,
    owner: Option<i64>,
    now: Timestamp,
) -> Result<(), LinkError> {
    let before = Mark::of(&run, owner);
    if run.state != RunState::Running {
        return tx.rewrite(&before, &run, None, With::default()).await;
    }
    let (number, began) = (run.progress.attempts, run.started_at.unwrap_or(now));
    let next = retry::after_attempt(&mut run, Outcome::Interrupted, now);
    if number > 1 || matches!(next, Next::Again { .. }) {
        // When a later attempt began is not known any more: its entry tells no length.
        let began = if number > 1 { now } else { began };
        let entry = RunAttempt::new(number, began, now, Outcome::Interrupted);
        let entry = Entry::new(AttemptOf::Run, number, &entry);
        tx.log_attempt(run.id, &entry).await?;
    }
    match next {
        Next::End(end) => {
            tracing::warn!(run_id = %run.id, "a run was interrupted and may not be repeated");
            end_unasked(tx, &mut run, owner, end, now).await?;
            count(&tx.shared.metrics, &run);
        }
        Next::Again { due } => {
            queue_again(&mut run, due, now);
            tx.rewrite(&before, &run, None, With::default()).await?;
        }
    }
    Ok(())
}

/// Counts a run that ended here: nobody else hears of it.
fn count(metrics: &Metrics, run: &Run) {
    let reason = run.reason.map_or("", Reason::as_str);
    metrics
        .runs_finished
        .with_label_values(&[&run.policy.route, run.state.as_str(), reason])
        .inc();
}

/// Gives back what is held in our name and nobody here knows of: the answer to its claim was lost, so nothing was sent.
struct GiveBack {
    now: Timestamp,
}

#[async_trait]
impl Verb for GiveBack {
    type Outcome = ();

    async fn apply(&self, tx: &Tx<'_>) -> Result<(), LinkError> {
        let sql = "SELECT id FROM raincheck.live WHERE owner = $1";
        let ours = tx.query(sql, &[(&tx.owner, Type::INT8)]).await?;
        let lost: Vec<Uuid> = {
            let held = tx.shared.held.lock();
            let ours = ours.iter().map(|row| row.get(0));
            ours.filter(|id| !held.contains_key(&row::id(*id)))
                .collect()
        };
        if lost.is_empty() {
            return Ok(());
        }
        let lost = tx
            .select(
                "live WHERE id = ANY($1) AND owner = $2 FOR UPDATE",
                &[(&lost, Type::UUID_ARRAY), (&tx.owner, Type::INT8)],
            )
            .await?;
        for StoredRun { mut run, owner } in lost {
            let before = Mark::of(&run, owner);
            if run.state == RunState::Running {
                run.progress.attempts = run.progress.attempts.saturating_sub(1);
                if run.progress.attempts == 0 {
                    run.started_at = None;
                }
                queue_again(&mut run, self.now, self.now);
            }
            tx.rewrite(&before, &run, None, With::default()).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_fresh_for_less_than_others_wait() {
        let lease = Lease::since_now();
        assert!(lease.is_fresh());
        let age = |age: Duration| lease.beat(uptime() - i64::try_from(age.as_millis()).unwrap());
        age(FRESH - Duration::from_secs(1));
        assert!(lease.is_fresh());
        age(FRESH);
        assert!(!lease.is_fresh());
        assert!(FRESH + BEAT < DEAD);
    }
}

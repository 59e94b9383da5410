//! The one thread that writes: many changes in one transaction, one fsync for all of them.
//!
//! There is no timer: a batch grows by itself while the fsync of the one before runs. A batch carries a number, which
//! is in the file once it is committed; so an outcome that is unknown can be looked up.

use std::{sync::Arc, time::Duration, time::Instant};

use rusqlite::{Connection, OptionalExtension, Result};

use super::{
    connection::{self, Trouble},
    keeper::Keeper,
    others,
    queue::{Failure, Job},
    recovery,
    shared::Shared,
    slot::Slot,
    transaction::{Effects, Tx},
};
use crate::{metrics::seconds, store::Unwritable};

/// Between attempts while writing fails.
const RETRY: Duration = Duration::from_secs(1);

/// The writing thread's own things.
pub(super) struct Committer {
    shared: Arc<Shared>,
    /// None while the file cannot be opened.
    db: Option<Connection>,
    batch: i64,
    /// Changes that hold on until they can be written.
    patient: Vec<Box<dyn Job>>,
    slot: Slot,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, db: Connection, slot: Slot) -> Self {
        Self {
            shared,
            db: Some(db),
            batch: 0,
            patient: Vec::new(),
            slot,
        }
    }

    /// Recovers what dead processes held, before anything is served.
    pub(super) fn first(&mut self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let mut effects = Effects::default();
        let own = self.slot.number;
        // Held until it is committed.
        let mut dead = Vec::new();
        self.transaction(false, &mut effects, |tx| {
            tx.effects.unfinished_anew = Some(recovery::count_unfinished(tx)?);
            recovery::recover(tx, own, Some(shared.fence), shared.now())?;
            for other in others::look(tx.db, shared.fence)? {
                if let Some(slot) = other.if_dead(&shared.settings.path) {
                    recovery::recover(tx, slot.number, None, shared.now())?;
                    dead.push(slot);
                }
            }
            Ok(())
        })?;
        self.shared.follow_up(effects);
        Ok(())
    }

    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self, keeper: Keeper) {
        loop {
            let troubled = self.shared.condition.trouble().is_err();
            if troubled {
                self.shared.queue.pause(RETRY);
            }
            match self.shared.queue.take(!troubled) {
                Some(new) => self.commit(new),
                None => break,
            }
        }
        if !self.patient.is_empty() {
            self.commit(Vec::new());
        }
        self.close(keeper);
    }

    /// Commits a batch, with all that still wait for theirs; without any, tries whether writing works again.
    fn commit(&mut self, new: Vec<Box<dyn Job>>) {
        let mut jobs = std::mem::take(&mut self.patient);
        jobs.extend(new);
        let started = Instant::now();
        let mut effects = Effects::default();
        let probe = jobs.is_empty();
        let attempt = self.transaction(probe, &mut effects, |tx| {
            jobs.iter_mut().try_for_each(|job| job.apply(tx))
        });
        match attempt {
            Ok(()) => self.conclude(jobs, effects, started),
            Err(error) => match Trouble::of(&error) {
                Trouble::Full => self.put_off(jobs, Unwritable::Full),
                Trouble::Busy => self.put_off(jobs, Unwritable::Failing),
                Trouble::Statement => self.one_by_one(jobs, started),
                Trouble::Unknown => self.unknown(jobs, &error, effects, started),
            },
        }
    }

    /// Runs `work` in a transaction of its own; a `probe` is written though nothing changes.
    fn transaction(
        &mut self,
        probe: bool,
        effects: &mut Effects,
        work: impl FnOnce(&mut Tx<'_>) -> Result<()>,
    ) -> Result<()> {
        self.batch += 1;
        let db = self.db.as_ref().ok_or_else(not_open)?;
        db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut tx = Tx {
            db,
            shared: &self.shared,
            effects: Effects::default(),
        };
        let done = work(&mut tx).and_then(|()| {
            if tx.effects.changed || probe {
                tx.flush(self.batch)?;
            }
            self.commit_statement(db)
        });
        *effects = tx.effects;
        if done.is_err() && !db.is_autocommit() {
            // What made it fail is told; a failing rollback comes out at the next BEGIN.
            let _ = db.execute_batch("ROLLBACK");
        }
        if done.is_err() {
            self.shared.names.forget();
        }
        done
    }

    #[cfg(not(test))]
    fn commit_statement(&self, db: &Connection) -> Result<()> {
        db.prepare_cached("COMMIT")?.execute([]).map(drop)
    }

    #[cfg(test)]
    fn commit_statement(&self, db: &Connection) -> Result<()> {
        let fault = self.shared.fault.lock().take();
        if fault != Some(Fault::BeforeCommit) {
            db.prepare_cached("COMMIT")?.execute([])?;
        }
        fault.map_or(Ok(()), |_| Err(Fault::error()))
    }

    fn conclude(&mut self, jobs: Vec<Box<dyn Job>>, effects: Effects, started: Instant) {
        self.committed(jobs.len(), effects, started);
        for job in jobs {
            job.conclude(Ok(()));
        }
    }

    fn committed(&self, jobs: usize, effects: Effects, started: Instant) {
        if effects.changed {
            let metrics = &self.shared.metrics;
            metrics.store_commit.observe(seconds(started.elapsed()));
            metrics.store_batch.observe(jobs as f64);
            self.shared.chores.committed();
        }
        self.shared.condition.note(Ok(()));
        self.shared.follow_up(effects);
    }

    /// Nothing was written. The patient wait for the next attempt, the others are told.
    fn put_off(&mut self, jobs: Vec<Box<dyn Job>>, why: Unwritable) {
        self.shared.condition.note(Err(why));
        for job in jobs {
            if job.patient() {
                self.patient.push(job);
            } else {
                job.conclude(Err(Failure::Unwritable(why)));
            }
        }
    }

    /// One change of the batch failed: it fails alone.
    fn one_by_one(&mut self, mut jobs: Vec<Box<dyn Job>>, started: Instant) {
        let mut verdicts = Vec::with_capacity(jobs.len());
        let mut effects = Effects::default();
        let attempt = self.transaction(false, &mut effects, |tx| {
            for job in &mut jobs {
                verdicts.push(apart(tx, job.as_mut())?);
            }
            Ok(())
        });
        if let Err(error) = attempt {
            return match Trouble::of(&error) {
                Trouble::Full => self.put_off(jobs, Unwritable::Full),
                Trouble::Unknown => self.unknown(jobs, &error, effects, started),
                Trouble::Busy | Trouble::Statement => {
                    tracing::error!(%error, "writing to the store failed");
                    self.put_off(jobs, Unwritable::Failing);
                }
            };
        }
        self.committed(jobs.len(), effects, started);
        for (job, verdict) in jobs.into_iter().zip(verdicts) {
            if let Err(error) = &verdict {
                tracing::error!(%error, "a change could not be stored");
                if job.patient() {
                    self.patient.push(job);
                    continue;
                }
            }
            job.conclude(verdict.map_err(|error| Failure::Failed(error.to_string())));
        }
    }

    /// The batch may be in the file or not: the file is opened anew, and asked.
    fn unknown(
        &mut self,
        jobs: Vec<Box<dyn Job>>,
        error: &rusqlite::Error,
        effects: Effects,
        started: Instant,
    ) {
        tracing::error!(%error, "writing to the store failed; it is opened anew");
        self.shared.condition.note(Err(Unwritable::Failing));
        loop {
            match self.reopen() {
                Ok(latest) if latest == self.batch => {
                    return self.conclude(jobs, effects, started);
                }
                Ok(_) => return self.put_off(jobs, Unwritable::Failing),
                // Dropping the changes tells their waiters that the outcome is unknown.
                Err(_) if self.shared.queue.is_closed() => return,
                Err(error) => tracing::debug!(%error, "the store cannot be opened yet"),
            }
            self.shared.queue.pause(RETRY);
        }
    }

    /// Closes all connections and opens the file anew; returns the number of our latest batch in it.
    fn reopen(&mut self) -> Result<i64> {
        self.db = None;
        let shared = Arc::clone(&self.shared);
        shared.readers.all_closed(|| {
            shared.chores.closed(|| {
                let db = connection::writer(&shared.file, shared.settings.durability)?;
                // A failed fsync may have left pages that are in memory only: what is found is first brought to disk.
                let log = connection::checkpoint(&db, "TRUNCATE")?;
                if log.busy {
                    return Err(not_open());
                }
                let latest = db
                    .query_row(
                        "SELECT batch FROM slot WHERE slot = ?1 AND epoch = ?2",
                        (shared.fence.slot, shared.fence.epoch.cast_signed()),
                        |row| row.get(0),
                    )
                    .optional()?;
                self.db = Some(db);
                Ok(latest.unwrap_or_default())
            })
        })
    }

    fn close(mut self, mut keeper: Keeper) {
        keeper.stop();
        self.shared.readers.close();
        for job in std::mem::take(&mut self.patient) {
            job.conclude(Err(Failure::Unwritable(Unwritable::Closed)));
        }
        if let Some(db) = self.db.take() {
            // It would hold up another process while it waits for that one's readers: it does not wait.
            let last = db
                .busy_timeout(Duration::ZERO)
                .and_then(|()| connection::checkpoint(&db, "TRUNCATE"));
            if let Err(error) = last {
                // Nothing is lost: the next start reads the log.
                tracing::debug!(%error, "the last checkpoint was not made");
            }
        }
    }
}

/// However the thread ends, nobody waits for it in vain.
impl Drop for Committer {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

/// Carries out one change so that it can fail alone.
fn apart(tx: &mut Tx<'_>, job: &mut dyn Job) -> Result<Result<()>> {
    let before = tx.effects.clone();
    tx.db.execute_batch("SAVEPOINT one")?;
    match job.apply(tx) {
        Err(error) if Trouble::of(&error) == Trouble::Statement => {
            tx.db.execute_batch("ROLLBACK TO one; RELEASE one")?;
            tx.shared.names.forget();
            tx.effects = before;
            Ok(Err(error))
        }
        other => {
            other?;
            tx.db.execute_batch("RELEASE one")?;
            Ok(Ok(()))
        }
    }
}

fn not_open() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
        None,
    )
}

/// A failure of the file system at a commit, made by a test.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The commit did not come about.
    BeforeCommit,
    /// It did, though it seemed to fail.
    AfterCommit,
}

#[cfg(test)]
impl Fault {
    fn error() -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC),
            None,
        )
    }
}

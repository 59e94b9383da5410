//! Other processes on the store, as their slots show them: what they commit, and what they leave when they die.

use std::path::Path;

use rusqlite::{Connection, Result};

use super::{queue::Verb, recovery, shared::Shared, slot::Slot, transaction::Tx};
use crate::{model::time::Timestamp, store::Fence};

/// Another process's slot, whether it is alive or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Other {
    number: u8,
    epoch: i64,
    /// The number of its latest commit.
    batch: i64,
    /// Whether runs or deliveries are held in its name.
    holds: bool,
}

impl Other {
    /// The slot if something is held in its name and its process is dead.
    pub(super) fn if_dead(self, folder: &Path) -> Option<Slot> {
        if !self.holds {
            return None;
        }
        Slot::of_dead(folder, self.number).unwrap_or_else(|error| {
            tracing::warn!(%error, slot = self.number, "the lock of a slot cannot be looked at");
            None
        })
    }
}

/// Looks at all slots but our own.
pub(super) fn look(db: &Connection, ours: Fence) -> Result<Vec<Other>> {
    db.prepare_cached(
        "SELECT slot, epoch, batch, EXISTS(SELECT 1 FROM run INDEXED BY run_held WHERE run.slot = slot.slot)
         FROM slot WHERE slot <> ?1 ORDER BY slot",
    )?
    .query_map([ours.slot], |row| {
        Ok(Other {
            number: row.get(0)?,
            epoch: row.get(1)?,
            batch: row.get(2)?,
            holds: row.get(3)?,
        })
    })?
    .collect()
}

/// What the last look has shown.
#[derive(Debug, Default)]
pub(super) struct Seen {
    others: Vec<Other>,
    changed: bool,
}

impl Seen {
    /// Compares a new look with the last one. What has changed is told twice, now and after the next look: what it
    /// concerned may have been under way to its place in memory.
    fn changed(&mut self, others: Vec<Other>) -> bool {
        let commits = |others: &[Other]| -> Vec<_> {
            let of = |other: &Other| (other.number, other.epoch, other.batch);
            others.iter().map(of).collect()
        };
        let changed = commits(&self.others) != commits(&others);
        self.others = others;
        std::mem::replace(&mut self.changed, changed) || changed
    }
}

impl Shared {
    /// Takes over what dead processes left, and tells of what living ones have changed.
    pub(super) fn look_at_others(&self, db: &Connection, seen: &mut Seen) -> Result<()> {
        let others = look(db, self.fence)?;
        let dead: Vec<Slot> = others
            .iter()
            .filter_map(|other| other.if_dead(&self.settings.path))
            .collect();
        if !dead.is_empty() {
            let slots: Vec<u8> = dead.iter().map(|slot| slot.number).collect();
            tracing::warn!(
                ?slots,
                "a process has died; its runs and deliveries are taken over"
            );
            let now = self.now();
            // Nobody waits: if it cannot be written, the next look finds them again.
            drop(self.queue.submit(Adopt { dead, now }));
        }
        if seen.changed(others) {
            drop(self.queue.submit(Recount));
            self.notices.runs.notify_waiters();
            self.notices.deliveries.miss();
            self.notices.others.notify_waiters();
            self.notices.changes.tell_waiters();
        }
        Ok(())
    }
}

/// Takes over what dead processes held. Their slots stay locked until it is committed.
struct Adopt {
    dead: Vec<Slot>,
    now: Timestamp,
}

impl Verb for Adopt {
    type Outcome = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<()> {
        self.dead
            .iter()
            .try_for_each(|slot| recovery::recover(tx, slot.number, None, self.now))
    }
}

/// Counts unfinished runs anew: other processes have accepted and ended some.
pub(super) struct Recount;

impl Verb for Recount {
    type Outcome = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<()> {
        tx.effects.unfinished_anew = Some(recovery::count_unfinished(tx)?);
        Ok(())
    }
}

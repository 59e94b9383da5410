//! Removing what has outlived its retention, in bounded pieces.

use rusqlite::{OptionalExtension, Result};

use super::{queue::Verb, row::millis, transaction::Tx};
use crate::{model::time::Timestamp, store::Tidied};

/// How many rows go in one piece.
const PIECE: usize = 500;
/// Pages that are given back to the file system in one piece.
const VACUUM_PAGES: i64 = 512;
/// Pages are given back when more than one in this many is free.
const FREE_PART: i64 = 4;

/// Removes one piece.
pub(super) struct Tidy {
    pub(super) now: Timestamp,
}

impl Verb for Tidy {
    type Outcome = Tidied;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Tidied> {
        let runs = self.remove_runs(tx)?;
        let tombstones = self.remove_tombstones(tx)?;
        let more_pages = give_pages_back(tx)?;
        tx.effects.changed |= runs.removed > 0 || tombstones > 0;
        Ok(Tidied {
            runs: runs.removed as u64,
            tombstones: tombstones as u64,
            files: runs.files,
            more: runs.removed == PIECE || tombstones == PIECE || more_pages,
        })
    }
}

struct Removed {
    removed: usize,
    files: u64,
}

impl Tidy {
    fn remove_runs(&self, tx: &mut Tx<'_>) -> Result<Removed> {
        let retention = tx.shared.settings.retention;
        let until = millis(self.now.after(retention));
        let old: Vec<(i64, Vec<u8>)> = tx
            .db
            .prepare_cached(
                "SELECT rid, id FROM run INDEXED BY run_done WHERE done IS NOT NULL AND done <= ?1
                 ORDER BY done LIMIT ?2",
            )?
            .query_map((millis(self.now.before(retention)), PIECE as i64), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<Result<_>>()?;
        let mut files = 0;
        for (rid, id) in &old {
            let file = tx
                .db
                .prepare_cached("DELETE FROM body WHERE rid = ?1 RETURNING spool")?
                .query_row([rid], |row| row.get::<_, Option<String>>(0))
                .optional()?
                .flatten();
            files += u64::from(file.is_some());
            tx.effects.orphans.extend(file);
            for table in ["run", "webhook_secret", "idempotency", "attempt"] {
                tx.db
                    .prepare_cached(&format!("DELETE FROM {table} WHERE rid = ?1"))?
                    .execute([rid])?;
            }
            tx.db
                .prepare_cached("INSERT INTO tombstone(rid, id, until) VALUES(?1, ?2, ?3)")?
                .execute((rid, id, until))?;
        }
        Ok(Removed {
            removed: old.len(),
            files,
        })
    }

    fn remove_tombstones(&self, tx: &Tx<'_>) -> Result<usize> {
        tx.db
            .prepare_cached(
                "DELETE FROM tombstone WHERE rid IN
                   (SELECT rid FROM tombstone INDEXED BY tombstone_until WHERE until <= ?1 LIMIT ?2)",
            )?
            .execute((millis(self.now), PIECE as i64))
    }
}

/// Gives free pages back to the file system when they are many; says whether there are still too many.
fn give_pages_back(tx: &mut Tx<'_>) -> Result<bool> {
    let pragma = |name: &str| -> Result<i64> {
        tx.db
            .prepare_cached(&format!("PRAGMA {name}"))?
            .query_row([], |row| row.get(0))
    };
    let (free, pages) = (pragma("freelist_count")?, pragma("page_count")?);
    if free <= VACUUM_PAGES || free * FREE_PART <= pages {
        return Ok(false);
    }
    let mut statement = tx
        .db
        .prepare_cached(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    tx.effects.changed = true;
    Ok((free - VACUUM_PAGES) * FREE_PART > pages - VACUUM_PAGES)
}

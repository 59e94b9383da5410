//! Runs on their way out of this store, or into it.

use rusqlite::{OptionalExtension, Result, params};

use super::{
    queue::Verb,
    row::{self, StoredRun},
    runs::Accept,
    transaction::{AttemptOf, Leftovers, Mark, Tx},
};
use crate::{
    model::{attempt::Attempts, id::RunId, secret::Secret},
    store::{
        IdempotencyKey,
        moving::{Moved, as_accepted, as_imported, no_request},
    },
};

/// All that is held of some runs, the oldest first.
pub(super) struct Export {
    pub(super) after: Option<RunId>,
    pub(super) limit: usize,
}

impl Verb for Export {
    type Outcome = Vec<Moved>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<Moved>> {
        let after = self.after.map_or(-1, RunId::key);
        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
        let runs = tx.select("WHERE rid > ?1 ORDER BY rid LIMIT ?2", (after, limit))?;
        runs.into_iter()
            .map(|StoredRun { run, .. }| {
                let key = run.id.key();
                let is_final = run.state.is_final();
                let request = (!is_final).then(|| row::read_request(tx.db, key));
                let response = is_final.then(|| row::read_response(tx.db, key));
                Ok(Moved {
                    request: request.transpose()?,
                    response: response.transpose()?,
                    attempts: attempts(tx, key)?,
                    secret: row::read_secret(tx.db, key)?,
                    key: idempotency_key(tx, key)?,
                    run,
                })
            })
            .collect()
    }
}

fn attempts(tx: &Tx<'_>, key: i64) -> Result<Attempts> {
    let mut attempts = Attempts::default();
    let sql = "SELECT kind, json FROM attempt WHERE rid = ?1 ORDER BY kind, n";
    let mut statement = tx.db.prepare_cached(sql)?;
    let mut rows = statement.query([key])?;
    while let Some(row) = rows.next()? {
        let (kind, json): (i64, String) = (row.get(0)?, row.get(1)?);
        if kind == AttemptOf::Run as i64 {
            let entry = serde_json::from_str(&json).map_err(row::json_error)?;
            attempts.of_run.push(entry);
        } else {
            let entry = serde_json::from_str(&json).map_err(row::json_error)?;
            attempts.of_delivery.push(entry);
        }
    }
    Ok(attempts)
}

fn idempotency_key(tx: &Tx<'_>, key: i64) -> Result<Option<IdempotencyKey>> {
    tx.db
        .prepare_cached("SELECT scope, fingerprint FROM idempotency WHERE rid = ?1")?
        .query_row([key], |row| {
            Ok(IdempotencyKey {
                scope: row.get(0)?,
                fingerprint: row.get(1)?,
            })
        })
        .optional()
}

/// Stores runs as another store held them.
pub(super) struct Import {
    pub(super) moved: Vec<Moved>,
}

impl Verb for Import {
    type Outcome = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<()> {
        for moved in &self.moved {
            let first = as_accepted(&moved.run);
            let before = Mark::of(&first, None);
            let run = as_imported(moved);
            let request = moved.request.clone();
            let accept = Accept {
                run: first,
                request: request.unwrap_or_else(|| no_request(moved.secret.clone())),
                key: moved.key,
            };
            accept.insert(tx)?;
            match &moved.response {
                Some(response) => {
                    tx.write_end(&before, &run, response, Leftovers::default(), None)?;
                }
                None => {
                    tx.write(&before, &run, None)?;
                }
            }
            for entry in &moved.attempts.of_run {
                tx.log_attempt(run.id, AttemptOf::Run, entry.attempt, entry)?;
            }
            for entry in &moved.attempts.of_delivery {
                tx.log_attempt(run.id, AttemptOf::Delivery, entry.attempt, entry)?;
            }
        }
        Ok(())
    }
}

/// Has another store's identity.
pub(super) struct TakeIdentity {
    pub(super) loop_id: String,
    pub(super) key: Secret,
}

impl Verb for TakeIdentity {
    type Outcome = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<()> {
        tx.db.execute(
            "UPDATE identity SET loop_id = ?1, key = ?2",
            params![self.loop_id, self.key.reveal()],
        )?;
        tx.effects.changed = true;
        Ok(())
    }
}

//! Reading, beside the committer: a few connections, short transactions.

use std::{path::PathBuf, sync::Arc};

use parking_lot::{Mutex, RwLock};
use rusqlite::{Connection, OptionalExtension, Result, params};
use tokio::sync::Semaphore;

use super::{
    connection,
    names::Names,
    row::{self, COLUMNS, StoredRun},
    shared::Shared,
    transaction::AttemptOf,
};
use crate::{
    model::{
        attempt::{Attempts, RunAttempt},
        books::Books,
        delivery::DeliveryState,
        exchange::{StoredRequest, StoredResponse},
        id::RunId,
        run::RunState,
    },
    store::{Found, PendingDelivery, StoreError, ending::receiver_address},
};

/// How many read at a time.
const READERS: usize = 4;

/// The connections that read.
#[derive(Debug)]
pub(super) struct Readers {
    file: PathBuf,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
    /// Held for reading while a connection is in use.
    in_use: RwLock<()>,
}

impl Readers {
    pub(super) fn of(file: PathBuf) -> Self {
        Self {
            file,
            permits: Semaphore::new(READERS),
            idle: Mutex::default(),
            in_use: RwLock::new(()),
        }
    }

    /// Does `work` while no connection that reads is open.
    pub(super) fn all_closed<T>(&self, work: impl FnOnce() -> T) -> T {
        let _guard = self.in_use.write();
        self.idle.lock().clear();
        work()
    }

    /// Closes for good.
    pub(super) fn close(&self) {
        self.permits.close();
        self.all_closed(|| ());
    }

    fn with<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let _guard = self.in_use.read();
        let idle = self.idle.lock().pop();
        let db = match idle {
            Some(db) => db,
            None => connection::reader(&self.file)?,
        };
        let done = work(&db);
        // A connection that failed is not used again.
        if done.is_ok() && !self.permits.is_closed() {
            self.idle.lock().push(db);
        }
        done
    }
}

impl Shared {
    /// Reads off the async threads.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection, &Names) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, StoreError> {
        let permit = self.readers.permits.acquire().await;
        let _permit = permit.map_err(|_| StoreError::Closed)?;
        let shared = Arc::clone(self);
        tokio::task::spawn_blocking(move || shared.readers.with(|db| work(db, &shared.names)))
            .await
            .map_err(|error| StoreError::Failed(error.to_string()))?
            .map_err(|error| StoreError::Failed(error.to_string()))
    }
}

/// Looks a run up.
pub(super) fn find(db: &Connection, names: &Names, id: RunId) -> Result<Found> {
    if let Some(found) = find_run(db, names, id)? {
        return Ok(Found::Run(Box::new(found.run)));
    }
    let expired = db
        .prepare_cached("SELECT 1 FROM tombstone WHERE rid = ?1 AND id = ?2")?
        .exists(params![id.key(), id.as_bytes()])?;
    Ok(if expired {
        Found::Expired
    } else {
        Found::Unknown
    })
}

/// Looks an unfinished run's request up.
pub(super) fn request(db: &Connection, names: &Names, id: RunId) -> Result<Option<StoredRequest>> {
    let snapshot = db.unchecked_transaction()?;
    let found = find_run(&snapshot, names, id)?;
    if found.is_none_or(|found| found.run.state.is_final()) {
        return Ok(None);
    }
    row::read_request(&snapshot, id.key()).optional()
}

/// Looks a finished run's response up.
pub(super) fn response(
    db: &Connection,
    names: &Names,
    id: RunId,
) -> Result<Option<StoredResponse>> {
    // Both reads see the same state of the store.
    let snapshot = db.unchecked_transaction()?;
    let found = find_run(&snapshot, names, id)?;
    if !found.is_some_and(|found| found.run.state.is_final()) {
        return Ok(None);
    }
    row::read_response(&snapshot, id.key()).optional()
}

/// Pending deliveries that nobody holds, in the order of their keys.
pub(super) fn pending_deliveries(
    db: &Connection,
    after: Option<RunId>,
    limit: usize,
) -> Result<Vec<PendingDelivery>> {
    let mut statement = db.prepare_cached(
        "SELECT id, endpoint, d_due FROM run INDEXED BY run_unheld
         WHERE d_state = 0 AND slot IS NULL AND rid > ?1 ORDER BY rid LIMIT ?2",
    )?;
    let after = after.map_or(-1, RunId::key);
    statement
        .query_map((after, i64::try_from(limit).unwrap_or(i64::MAX)), |row| {
            let endpoint: Option<String> = row.get(1)?;
            Ok(PendingDelivery {
                id: RunId::from_bytes(row.get(0)?),
                receiver: endpoint
                    .as_deref()
                    .map(receiver_address)
                    .unwrap_or_default(),
                due: row::time(row.get(2)?),
            })
        })?
        .collect()
}

/// The attempts of a run and of its delivery.
pub(super) fn attempts(db: &Connection, names: &Names, id: RunId) -> Result<Attempts> {
    let snapshot = db.unchecked_transaction()?;
    let mut attempts = Attempts::default();
    let Some(found) = find_run(&snapshot, names, id)? else {
        return Ok(attempts);
    };
    let mut statement = snapshot
        .prepare_cached("SELECT kind, json FROM attempt WHERE rid = ?1 ORDER BY kind, n")?;
    let mut rows = statement.query([id.key()])?;
    while let Some(row) = rows.next()? {
        let json = row.get_ref(1)?.as_str()?;
        if row.get::<_, i64>(0)? == AttemptOf::Run as i64 {
            attempts
                .of_run
                .push(serde_json::from_str(json).map_err(row::json_error)?);
        } else {
            attempts
                .of_delivery
                .push(serde_json::from_str(json).map_err(row::json_error)?);
        }
    }
    if attempts.of_run.is_empty() {
        attempts.of_run.extend(RunAttempt::only(&found.run));
    }
    Ok(attempts)
}

/// Reads the books, but for the sizes.
pub(super) fn books(db: &Connection) -> Result<Books> {
    let mut books = Books::default();
    books
        .runs
        .extend(RunState::ALL.map(|state| (state.as_str(), 0)));
    books
        .deliveries
        .extend(DeliveryState::ALL.map(|state| (state.as_str(), 0)));
    let mut statement =
        db.prepare_cached("SELECT kind, state, sum(n) FROM tally GROUP BY kind, state")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, state, count): (i64, usize, i64) =
            (row.get(0)?, row.get::<_, u32>(1)? as usize, row.get(2)?);
        let count = count.max(0).cast_unsigned();
        if kind == 0 {
            if let Some(state) = RunState::ALL.get(state) {
                books.runs.insert(state.as_str(), count);
                books.accepted += count;
            }
        } else if let Some(state) = DeliveryState::ALL.get(state) {
            books.deliveries.insert(state.as_str(), count);
        }
    }
    Ok(books)
}

/// Of `files`, those that no row names.
pub(super) fn unnamed(db: &Connection, mut files: Vec<String>) -> Result<Vec<String>> {
    let mut statement = db.prepare_cached("SELECT 1 FROM body WHERE spool = ?1")?;
    let mut failed = Ok(());
    files.retain(|file| match statement.exists([file]) {
        Ok(named) => !named,
        Err(error) => {
            failed = Err(error);
            false
        }
    });
    failed.map(|()| files)
}

fn find_run(db: &Connection, names: &Names, id: RunId) -> Result<Option<StoredRun>> {
    let sql = format!("SELECT {COLUMNS} FROM run WHERE rid = ?1 AND id = ?2");
    db.prepare_cached(&sql)?
        .query_row(params![id.key(), id.as_bytes()], |row| {
            row::read_run(db, names, row)
        })
        .optional()
}

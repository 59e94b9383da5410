//! Connections to the database file, and what their errors mean.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags, Result};

use crate::config::Durability;

/// Kept prepared, per connection.
const STATEMENTS: usize = 64;

/// Between looks whether another process has ended its transaction: short, so that two processes under load take turns.
/// (SQLite's own pauses grow to 100 ms, and the other one would always be faster.)
const TURN: Duration = Duration::from_micros(500);
/// How often it looks: for 5 s and more.
const TURNS: i32 = 10_000;

/// The one connection that writes.
pub(super) fn writer(file: &Path, durability: Durability) -> Result<Connection> {
    let mut db = Connection::open_with_flags(
        file,
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.busy_handler(Some(wait_a_turn))?;
    let synchronous = match durability {
        Durability::Fsync => "FULL",
        Durability::Relaxed => "NORMAL",
    };
    // The page size and auto_vacuum take effect in a new file only. The inline checkpoint is a backstop for the
    // keeper's.
    db.execute_batch(&format!(
        "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
         PRAGMA synchronous = {synchronous}; PRAGMA wal_autocheckpoint = 8000; PRAGMA journal_size_limit = 67108864;
         PRAGMA cache_size = -65536; PRAGMA mmap_size = 0; PRAGMA secure_delete = ON;
         PRAGMA temp_store = MEMORY;"
    ))?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(db)
}

fn wait_a_turn(turns: i32) -> bool {
    std::thread::sleep(TURN);
    turns < TURNS
}

/// A connection that reads.
pub(super) fn reader(file: &Path) -> Result<Connection> {
    let db = existing(file)?;
    db.execute_batch(
        "PRAGMA query_only = ON; PRAGMA cache_size = -8192; PRAGMA mmap_size = 0; PRAGMA busy_timeout = 2000;",
    )?;
    Ok(db)
}

/// The connection that makes checkpoints. It never waits for others, so that nobody waits for it.
pub(super) fn checkpointer(file: &Path) -> Result<Connection> {
    let db = existing(file)?;
    db.execute_batch(
        "PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -2048; PRAGMA busy_timeout = 0;",
    )?;
    Ok(db)
}

/// A connection that copies the database into a file of its own (`VACUUM INTO`).
pub(super) fn copier(file: &Path) -> Result<Connection> {
    let db = existing(file)?;
    db.execute_batch("PRAGMA wal_autocheckpoint = 0; PRAGMA busy_timeout = 2000;")?;
    Ok(db)
}

fn existing(file: &Path) -> Result<Connection> {
    let db = Connection::open_with_flags(
        file,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(db)
}

/// A write-ahead log as it stands, in pages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Log {
    /// All of it.
    pub(super) pages: i64,
    /// What a checkpoint has yet to copy.
    pub(super) backlog: i64,
    /// Whether the checkpoint did not do all it was meant to.
    pub(super) busy: bool,
}

/// Makes a checkpoint (`PASSIVE`, `TRUNCATE`), or none (`NOOP`: only looks).
pub(super) fn checkpoint(db: &Connection, mode: &str) -> Result<Log> {
    db.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?
        .query_row([], |row| {
            let (busy, pages, copied): (bool, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(Log {
                pages: pages.max(0),
                backlog: (pages - copied).max(0),
                busy,
            })
        })
}

/// What an error says about the transaction it happened in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No space; rolled back.
    Full,
    /// Another connection was writing; rolled back.
    Busy,
    /// The file system failed: what is in the file must be looked up anew.
    Unknown,
    /// One statement failed.
    Statement,
}

impl Trouble {
    pub(super) fn of(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::OperationAborted
                | ErrorCode::FileLockingProtocolFailed,
            ) => Self::Unknown,
            _ => Self::Statement,
        }
    }
}

//! A copy of a whole store, made while it is in use.

use std::io;

use bytes::Bytes;
use tokio::sync::mpsc;

/// A copy as it is made: a tar archive (POSIX.1-1988 ustar) that, unpacked into an empty folder, is the store as it was
/// at one moment. Dropped midway, it is given up. An error is its end, and it is worth nothing then.
#[derive(Debug)]
pub struct Backup(pub(super) mpsc::Receiver<io::Result<Bytes>>);

impl Backup {
    /// The next piece; none at the end.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        self.0.recv().await
    }
}

/// Why no copy is made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// One is made already.
    #[error("a backup is being made already; wait until it has ended")]
    UnderWay,
    /// There is no space for the snapshot beside the store.
    #[error(
        "a snapshot of the database needs {needed} bytes in the store's folder beside the reserve of 5 %, and {free} are free; free some space"
    )]
    NoSpace {
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that there are.
        free: u64,
    },
    /// This store is copied by means of its own.
    #[error("this store is backed up by the database's own means")]
    Elsewhere,
    /// Reading or writing failed.
    #[error("the backup failed: {0}")]
    Failed(String),
}

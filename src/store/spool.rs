//! Spool files: bodies that are too long for a row.

mod file;
mod reader;
mod sweep;
mod writer;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

pub use self::{reader::BodyReader, writer::BodyWriter};
use super::Fence;
use crate::model::{
    exchange::{Body, INLINE_MAX},
    time::{SharedClock, Timestamp},
};

/// The folder of spool files of one process. Names carry its slot and epoch, so that a sweep touches only files whose
/// writer is certainly dead.
#[derive(Debug, Clone)]
pub struct Spool {
    folder: Arc<Folder>,
}

impl Spool {
    /// Takes `path`, which must exist, as the folder of files written by `writer`.
    pub fn new(path: PathBuf, writer: Fence, clock: SharedClock) -> Self {
        Self {
            folder: Arc::new(Folder {
                path,
                writer,
                clock,
                counter: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
            }),
        }
    }

    /// A body in the making: in memory up to `in_memory` bytes (at most [`INLINE_MAX`]), in a file from there on.
    pub fn writer(&self, in_memory: usize) -> BodyWriter {
        BodyWriter::new(Arc::clone(&self.folder), in_memory.min(INLINE_MAX))
    }

    /// Reads a body, piece by piece.
    pub fn reader(&self, body: &Body) -> BodyReader {
        self.reader_range(body, 0, body.len())
    }

    /// Reads `len` bytes of a body from `start` on, or as many as there are.
    pub fn reader_range(&self, body: &Body, start: u64, len: u64) -> BodyReader {
        let start = start.min(body.len());
        let len = len.min(body.len() - start);
        BodyReader::new(&self.folder, body, start, len)
    }

    /// The size of all files, in bytes.
    pub fn bytes(&self) -> u64 {
        self.folder.bytes.load(Ordering::Relaxed)
    }

    /// Removes a body's file, if it has one. A file that is gone already is no error.
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }
}

/// What writers and readers share.
struct Folder {
    path: PathBuf,
    writer: Fence,
    clock: SharedClock,
    counter: AtomicU64,
    bytes: AtomicU64,
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder").field("path", &self.path).finish()
    }
}

impl Folder {
    /// A name that no other file has: `2026112412/0-17-3`, the hour, the slot, the epoch and a number.
    fn next_name(&self) -> String {
        let hour = hour_name(self.clock.now());
        let Fence { slot, epoch } = self.writer;
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        format!("{hour}/{slot}-{epoch}-{number}")
    }

    fn path_of(&self, name: &str) -> io::Result<PathBuf> {
        if parse_name(name).is_none() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{name:?} is no spool file's name"),
            ));
        }
        Ok(self.path.join(name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path_of(name)?;
        let Ok(known) = std::fs::metadata(&path) else {
            return Ok(());
        };
        std::fs::remove_file(&path)?;
        self.forget_bytes(known.len());
        self.remove_if_empty(path.parent());
        Ok(())
    }

    /// Removes the folder of a past hour once its last file is gone.
    fn remove_if_empty(&self, hour: Option<&Path>) {
        let current = hour_name(self.clock.now());
        if let Some(hour) = hour.filter(|hour| !hour.ends_with(&current)) {
            // Fails while there are files in it, as it should.
            let _ = std::fs::remove_dir(hour);
        }
    }

    fn forget_bytes(&self, len: u64) {
        let _ = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bytes| {
                Some(bytes.saturating_sub(len))
            });
    }
}

/// The hour of `time` in UTC: `2026112412`.
fn hour_name(time: Timestamp) -> String {
    let text = time.to_string();
    let digits = text.bytes().filter(u8::is_ascii_digit).take(10);
    digits.map(char::from).collect()
}

/// Takes a name apart: its hour, and whose file it is.
fn parse_name(name: &str) -> Option<(&str, Fence)> {
    let (hour, file) = name.split_once('/')?;
    let mut parts = file.split('-');
    let (slot, epoch, number) = (parts.next()?, parts.next()?, parts.next()?);
    let writer = Fence {
        slot: slot.parse().ok()?,
        epoch: epoch.parse().ok()?,
    };
    number.parse::<u64>().ok()?;
    let hour_is_digits = hour.len() == 10 && hour.bytes().all(|b| b.is_ascii_digit());
    (hour_is_digits && parts.next().is_none()).then_some((hour, writer))
}

/// Runs blocking file work off the async threads.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests;

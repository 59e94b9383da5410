//! Finding spool files that nobody needs any more.

use std::{fs, io, sync::atomic::Ordering, time::Duration};

use super::{Spool, hour_name, parse_name};
use crate::store::Fence;

/// A file of a living writer is left alone for this long: longer than any body takes (a grace period is at most 12 h).
const IN_USE: Duration = Duration::from_secs(24 * 3600);

impl Spool {
    /// Removes unfinished files of dead writers; returns the names of finished ones that are orphans unless a row
    /// names them: of writers that had our slot before us. Counts the bytes of all files anew.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn suspects(&self) -> io::Result<Vec<String>> {
        self.left_by(|writer| is_dead(writer, self.folder.writer))
    }

    /// The same of writers that `is_dead` knows to have gone; never our own.
    ///
    /// # Errors
    /// As [`Spool::suspects`].
    pub fn left_by(&self, is_dead: impl Fn(Fence) -> bool) -> io::Result<Vec<String>> {
        let folder = &self.folder;
        let old = hour_name(folder.clock.now().before(IN_USE));
        let mut suspects = Vec::new();
        let mut bytes = 0;
        for hour in fs::read_dir(&folder.path)? {
            let hour = hour?;
            if !hour.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(hour.path())? {
                let file = file?;
                let (hour, file_name) = (hour.file_name(), file.file_name());
                let name = format!("{}/{}", hour.to_string_lossy(), file_name.to_string_lossy());
                let finished = name.strip_suffix(".tmp").unwrap_or(&name);
                let Some((hour, writer)) = parse_name(finished) else {
                    continue;
                };
                bytes += file.metadata().map_or(0, |known| known.len());
                let is_dead = writer != folder.writer && is_dead(writer);
                if !is_dead && hour >= old.as_str() {
                    continue;
                }
                if finished == name {
                    suspects.push(name);
                } else {
                    let _ = fs::remove_file(file.path());
                }
            }
            folder.remove_if_empty(Some(&hour.path()));
        }
        folder.bytes.store(bytes, Ordering::Relaxed);
        Ok(suspects)
    }
}

/// Whether a file's writer has certainly gone: it had our slot before us. Other slots may be held by living processes.
fn is_dead(writer: Fence, ours: Fence) -> bool {
    writer.slot == ours.slot && writer.epoch < ours.epoch
}

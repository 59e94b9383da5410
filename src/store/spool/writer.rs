//! A body in the making.

use std::{io, sync::Arc};

use bytes::{Bytes, BytesMut};

use super::{Folder, file::Unfinished, off_thread};
use crate::model::exchange::Body;

/// A spool file is written in pieces of this size, in bytes.
const PIECE: usize = 256 * 1024;

/// A body in the making. Dropped before [`BodyWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct BodyWriter {
    folder: Arc<Folder>,
    limit: usize,
    len: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Nothing came but this one piece, which is not copied.
    One(Bytes),
    Memory(BytesMut),
    File {
        file: Unfinished,
        pending: BytesMut,
    },
    /// A write failed or was abandoned midway.
    Lost,
}

impl BodyWriter {
    pub(super) fn new(folder: Arc<Folder>, limit: usize) -> Self {
        Self {
            folder,
            limit,
            len: 0,
            place: Place::One(Bytes::new()),
        }
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// When the spool file cannot be written. The piece counts as added all the same: [`BodyWriter::flush`] tries
    /// again, and whoever does not want to drops the writer.
    pub async fn write(&mut self, piece: Bytes) -> io::Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        self.len += piece.len() as u64;
        self.place = match std::mem::replace(&mut self.place, Place::Lost) {
            Place::One(held) if held.is_empty() => Place::One(piece),
            Place::One(held) => {
                let mut all = BytesMut::with_capacity(held.len() + piece.len());
                all.extend_from_slice(&held);
                all.extend_from_slice(&piece);
                Place::Memory(all)
            }
            Place::Memory(mut held) => {
                held.extend_from_slice(&piece);
                Place::Memory(held)
            }
            Place::File { file, mut pending } => {
                pending.extend_from_slice(&piece);
                Place::File { file, pending }
            }
            Place::Lost => return Err(lost()),
        };
        self.settle(PIECE).await
    }

    /// Brings to the file what belongs there and is not yet in it.
    ///
    /// # Errors
    /// When the spool file cannot be written; nothing is lost by that.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.settle(1).await
    }

    /// Bytes held in memory: what counts against `limits.intake_memory`.
    pub fn in_memory(&self) -> usize {
        match &self.place {
            Place::One(held) => held.len(),
            Place::Memory(held) => held.len(),
            Place::File { pending, .. } => pending.len(),
            Place::Lost => 0,
        }
    }

    /// Ends the body. A spool file is on disk (fsynced, its folder too) when this returns; it becomes an orphan, to
    /// be swept, unless a row names it.
    ///
    /// # Errors
    /// When the spool file cannot be written.
    pub async fn finish(self) -> io::Result<Body> {
        let len = self.len;
        match self.place {
            Place::One(bytes) => Ok(Body::Inline(bytes)),
            Place::Memory(bytes) => Ok(Body::Inline(bytes.freeze())),
            Place::File { mut file, pending } => {
                let name = off_thread(move || {
                    file.write(&pending)?;
                    file.keep(len)
                })
                .await?;
                Ok(Body::Spooled { name, len })
            }
            Place::Lost => Err(lost()),
        }
    }

    /// Moves what is too long for memory to a file, and writes what is pending there once it is `least` bytes.
    async fn settle(&mut self, least: usize) -> io::Result<()> {
        let fits = self.len <= self.limit as u64;
        let (file, pending) = match std::mem::replace(&mut self.place, Place::Lost) {
            kept @ (Place::One(_) | Place::Memory(_)) if fits => {
                self.place = kept;
                return Ok(());
            }
            Place::One(held) => (None, BytesMut::from(held)),
            Place::Memory(held) => (None, held),
            Place::File { file, pending } if pending.len() < least => {
                self.place = Place::File { file, pending };
                return Ok(());
            }
            Place::File { file, pending } => (Some(file), pending),
            Place::Lost => return Err(lost()),
        };
        let folder = Arc::clone(&self.folder);
        let (place, written) = off_thread(move || Ok(put(folder, file, pending, least))).await?;
        self.place = place;
        written
    }
}

/// Writes `pending` to the file, which is created if it is not there; gives back where all of it is then. Blocks.
fn put(
    folder: Arc<Folder>,
    file: Option<Unfinished>,
    mut pending: BytesMut,
    least: usize,
) -> (Place, io::Result<()>) {
    let mut file = match file.map_or_else(|| Unfinished::create(folder), Ok) {
        Ok(file) => file,
        Err(error) => return (Place::Memory(pending), Err(error)),
    };
    let written = if pending.len() < least {
        Ok(())
    } else {
        file.write(&pending).map(|()| pending.clear())
    };
    (Place::File { file, pending }, written)
}

fn lost() -> io::Error {
    io::Error::other("an earlier write of this body failed")
}

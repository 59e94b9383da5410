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
    /// When the spool file cannot be written.
    pub async fn write(&mut self, piece: Bytes) -> io::Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        self.len += piece.len() as u64;
        let fits = self.len <= self.limit as u64;
        self.place = match std::mem::replace(&mut self.place, Place::Lost) {
            Place::One(held) if held.is_empty() && fits => Place::One(piece),
            Place::One(held) => {
                let mut all = BytesMut::with_capacity(held.len() + piece.len());
                all.extend_from_slice(&held);
                self.beside(all, &piece, fits).await?
            }
            Place::Memory(held) => self.beside(held, &piece, fits).await?,
            Place::File { file, mut pending } => {
                pending.extend_from_slice(&piece);
                flush(file, pending).await?
            }
            Place::Lost => return Err(lost()),
        };
        Ok(())
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

    /// Puts `piece` behind what is held: in memory if it `fits` there, otherwise all goes to a file.
    async fn beside(&self, mut held: BytesMut, piece: &[u8], fits: bool) -> io::Result<Place> {
        held.extend_from_slice(piece);
        if fits {
            return Ok(Place::Memory(held));
        }
        let folder = Arc::clone(&self.folder);
        let file = off_thread(move || Unfinished::create(folder)).await?;
        flush(file, held).await
    }
}

/// Writes what is pending once it is a whole piece.
async fn flush(mut file: Unfinished, mut pending: BytesMut) -> io::Result<Place> {
    if pending.len() < PIECE {
        return Ok(Place::File { file, pending });
    }
    let (file, pending) = off_thread(move || {
        file.write(&pending)?;
        pending.clear();
        Ok((file, pending))
    })
    .await?;
    Ok(Place::File { file, pending })
}

fn lost() -> io::Error {
    io::Error::other("an earlier write of this body failed")
}

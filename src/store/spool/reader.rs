//! A body being read.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
};

use bytes::Bytes;

use super::{Folder, off_thread};
use crate::model::exchange::Body;

/// The longest piece that is handed out, in bytes.
const PIECE: usize = 64 * 1024;
/// How much is read from a file at a time, in bytes.
const READ_AHEAD: u64 = 4 * PIECE as u64;

/// A body being read. An open one can be read to its end though the run is removed meanwhile.
#[derive(Debug)]
pub struct BodyReader {
    ready: Bytes,
    source: Source,
    left: u64,
}

#[derive(Debug)]
enum Source {
    /// All there is to come is ready.
    Memory,
    Closed {
        path: io::Result<PathBuf>,
        start: u64,
    },
    Open(File),
    /// A read failed or was abandoned midway.
    Lost,
}

impl BodyReader {
    pub(super) fn new(folder: &Folder, body: &Body, start: u64, len: u64) -> Self {
        match body {
            Body::Inline(bytes) => {
                let at = |offset: u64| usize::try_from(offset).unwrap_or(bytes.len());
                Self {
                    ready: bytes.slice(at(start)..at(start + len)),
                    source: Source::Memory,
                    left: 0,
                }
            }
            Body::Spooled { name, .. } => Self {
                ready: Bytes::new(),
                source: Source::Closed {
                    path: folder.path_of(name),
                    start,
                },
                left: len,
            },
        }
    }

    /// The next piece, at most 64 KiB; none at the end.
    ///
    /// # Errors
    /// When the spool file cannot be read, or ends early.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.ready.is_empty() && self.left > 0 {
            self.fill().await?;
        }
        let piece = self.ready.split_to(self.ready.len().min(PIECE));
        Ok((!piece.is_empty()).then_some(piece))
    }

    async fn fill(&mut self) -> io::Result<()> {
        let want = self.left.min(READ_AHEAD);
        let source = std::mem::replace(&mut self.source, Source::Lost);
        let (file, bytes) = off_thread(move || {
            let mut file = open(source)?;
            let mut bytes = vec![0; usize::try_from(want).map_err(io::Error::other)?];
            file.read_exact(&mut bytes)?;
            Ok((file, bytes))
        })
        .await?;
        self.left -= want;
        self.source = Source::Open(file);
        self.ready = bytes.into();
        Ok(())
    }
}

fn open(source: Source) -> io::Result<File> {
    match source {
        Source::Open(file) => Ok(file),
        Source::Closed { path, start } => {
            let mut file = File::open(path?)?;
            file.seek(SeekFrom::Start(start))?;
            Ok(file)
        }
        Source::Memory | Source::Lost => {
            Err(io::Error::other("an earlier read of this body failed"))
        }
    }
}

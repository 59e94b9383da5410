//! Spool files: bodies that are too long for a row.

use std::io;

use bytes::Bytes;

use crate::model::exchange::Body;

/// The folder of spool files of one process. Names carry its slot and epoch, so that a sweep touches only files whose
/// writer is certainly dead.
#[derive(Debug)]
pub struct Spool {}

impl Spool {
    /// A body in the making: in memory up to `in_memory` bytes (at most [`crate::model::exchange::INLINE_MAX`]), in a
    /// file from there on.
    pub fn writer(&self, in_memory: usize) -> BodyWriter {
        let _ = in_memory;
        BodyWriter {}
    }

    /// Reads a body, piece by piece.
    pub fn reader(&self, body: &Body) -> BodyReader {
        let _ = body;
        BodyReader {}
    }
}

/// A body in the making. Dropped before [`BodyWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct BodyWriter {}

impl BodyWriter {
    /// Adds a piece.
    ///
    /// # Errors
    /// When the spool file cannot be written.
    pub async fn write(&mut self, piece: Bytes) -> io::Result<()> {
        let _ = piece;
        Ok(())
    }

    /// Bytes held in memory: what counts against `limits.intake_memory`.
    pub fn in_memory(&self) -> usize {
        0
    }

    /// Ends the body. A spool file is on disk (fsynced, its folder too) when this returns; it becomes an orphan, to
    /// be swept, unless a row names it.
    ///
    /// # Errors
    /// When the spool file cannot be written.
    pub async fn finish(self) -> io::Result<Body> {
        Ok(Body::EMPTY)
    }
}

/// A body being read.
#[derive(Debug)]
pub struct BodyReader {}

impl BodyReader {
    /// The next piece, at most 64 KiB; none at the end.
    ///
    /// # Errors
    /// When the spool file cannot be read, or ends early.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        Ok(None)
    }
}

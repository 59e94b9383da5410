//! The body of a request that may become a run, kept while it is sent on.

use bytes::Bytes;

use super::{budget::Share, intake::Taken};
use crate::{model::exchange::Body, store::spool::BodyWriter};

/// As much of a body as has come; nothing stays of it once it is dropped.
#[derive(Debug)]
pub(super) struct Kept(Option<Keeping>);

#[derive(Debug)]
struct Keeping {
    /// None for a request without a body.
    writer: Option<BodyWriter>,
    len: u64,
    limit: u64,
    share: Option<Share>,
}

impl Kept {
    /// Keeps nothing: the request cannot become a run.
    pub(super) const fn nothing() -> Self {
        Self(None)
    }

    /// Keeps the body of at most `limit` bytes that `writer` takes; none: there is no body.
    pub(super) fn new(writer: Option<BodyWriter>, share: Option<Share>, limit: u64) -> Self {
        Self(Some(Keeping {
            writer,
            len: 0,
            limit,
            share,
        }))
    }

    /// Adds a piece. A body that is too long, or cannot be written, is given up.
    pub(super) async fn add(&mut self, piece: Bytes) {
        let Some(keeping) = &mut self.0 else { return };
        keeping.len += piece.len() as u64;
        if keeping.len > keeping.limit {
            return self.forget();
        }
        let Some(writer) = &mut keeping.writer else {
            return;
        };
        if let Err(error) = writer.write(piece).await {
            tracing::warn!(%error, "a request's body cannot be spooled; it will not become a run");
            self.forget();
        }
    }

    /// Gives up what was kept.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    /// The whole body, once it has come; none if it was given up.
    pub(super) async fn take(&mut self) -> Option<Taken> {
        let Keeping { writer, share, .. } = self.0.take()?;
        let body = match writer {
            None => Body::EMPTY,
            Some(writer) => match writer.finish().await {
                Ok(body) => body,
                Err(error) => {
                    tracing::warn!(%error, "a request's body cannot be spooled; it will not become a run");
                    return None;
                }
            },
        };
        Some(Taken::kept(body, share))
    }
}

//! Runs on their way from one store to another: growing is a step, not a project.

use std::sync::Arc;

use super::{IdempotencyKey, Store, StoreError};
use crate::model::{
    attempt::Attempts,
    exchange::{Body, INLINE_MAX, StoredRequest, StoredResponse},
    run::{Progress, Run, RunState},
    secret::Secret,
};

/// Runs that are copied at a time.
const PIECE: usize = 200;

/// All that a store holds of a run.
#[derive(Debug)]
pub struct Moved {
    /// The run.
    pub run: Run,
    /// Its request, while it is unfinished.
    pub request: Option<StoredRequest>,
    /// Its response, once it has ended.
    pub response: Option<StoredResponse>,
    /// The attempts that are remembered.
    pub attempts: Attempts,
    /// The caller's `X-Webhook-Secret`, while a delivery may need it.
    pub secret: Option<Secret>,
    /// Its idempotency key.
    pub key: Option<IdempotencyKey>,
}

/// Why runs cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// There is something already where they should go.
    #[error("the store to copy to has runs already; copy to an empty one")]
    NotEmpty,
    /// Reading or writing failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A long body cannot be read or written.
    #[error("a body cannot be copied: {0}")]
    Body(#[from] std::io::Error),
}

/// Copies everything but tombstones; both stores have no other users. Returns how many runs were copied.
///
/// # Errors
/// [`MoveError`]; what was copied by then stays.
pub async fn copy(from: &dyn Store, to: &dyn Store) -> Result<u64, MoveError> {
    from.alone().await?;
    to.alone().await?;
    if to.books().await?.accepted > 0 {
        return Err(MoveError::NotEmpty);
    }
    // Tokens of `Location`, and who may look, are made of it.
    to.take_identity(from.identity()).await?;
    let (mut after, mut copied) = (None, 0);
    loop {
        let mut piece = from.export(after, PIECE).await?;
        let Some(last) = piece.last() else {
            return Ok(copied);
        };
        after = Some(last.run.id);
        copied += piece.len() as u64;
        for moved in &mut piece {
            if let Some(request) = &mut moved.request {
                request.body = body(from, to, &request.body).await?;
            }
            if let Some(response) = &mut moved.response {
                response.body = body(from, to, &response.body).await?;
            }
        }
        to.import(piece).await?;
    }
}

async fn body(from: &dyn Store, to: &dyn Store, body: &Body) -> std::io::Result<Body> {
    if let Body::Inline(bytes) = body {
        return Ok(Body::Inline(bytes.clone()));
    }
    let (mut reader, mut writer) = (from.spool().reader(body), to.spool().writer(INLINE_MAX));
    while let Some(piece) = reader.next().await? {
        writer.write(piece).await?;
    }
    writer.finish().await
}

/// The run as it was when it was accepted: the first row of one that is imported.
pub(super) fn as_accepted(run: &Run) -> Run {
    Run {
        state: RunState::Queued,
        reason: None,
        started_at: None,
        finished_at: None,
        due_at: run.accepted_at,
        progress: Progress::default(),
        response: None,
        delivery: None,
        policy: Arc::clone(&run.policy),
        ..run.clone()
    }
}

/// The run as it is to stand: what was under way is not known to have come to anything.
pub(super) fn as_imported(moved: &Moved) -> Run {
    let mut run = moved.run.clone();
    if run.state == RunState::Running {
        run.state = RunState::Queued;
        run.due_at = run.accepted_at;
    }
    run
}

/// A request in place of one that was deleted when its run ended.
pub(super) fn no_request(secret: Option<Secret>) -> StoredRequest {
    StoredRequest {
        head: bytes::Bytes::new(),
        body: Body::Inline(bytes::Bytes::new()),
        client: None,
        tls: false,
        webhook_secret: secret,
    }
}

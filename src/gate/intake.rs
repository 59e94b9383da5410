//! A run's body on its way in: counted, timed, in memory while it is short and the budget lasts, spooled otherwise.

use std::io;

use bytes::Bytes;
use pingora::{ErrorType, protocols::http::ServerSession};
use tokio::time::{Instant, timeout_at};

use super::{
    Inner,
    admission::{Order, head_of},
    budget::Share,
    idempotency::Hash,
};
use crate::{
    model::{
        exchange::{Body, INLINE_MAX},
        problem::{Code, Problem},
    },
    store::spool::BodyWriter,
};

/// A body that is wholly there.
#[derive(Debug)]
pub(super) struct Taken {
    /// Its bytes, on disk if they are spooled.
    pub(super) body: Body,
    /// SHA-256 of method, target and body, for a request with an idempotency key.
    pub(super) fingerprint: Option<[u8; 32]>,
    /// What it occupies of the budget until the run is stored.
    _share: Option<Share>,
}

impl Taken {
    /// A body that was kept while it was sent on.
    pub(super) const fn kept(body: Body, share: Option<Share>) -> Self {
        Self {
            body,
            fingerprint: None,
            _share: share,
        }
    }
}

/// Why there is no body.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The client left; nothing stays behind.
    Gone,
    /// It is told what is wrong.
    Problem(Problem),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl Inner {
    /// Reads the body of a request that may become a run.
    pub(super) async fn body(
        &self,
        session: &mut ServerSession,
        order: &Order,
    ) -> Result<Taken, Refusal> {
        let mut hash = order.key.as_ref().map(|_| {
            let head = head_of(session.req_header());
            let mut hash = Hash::new();
            hash.piece(head.method.as_str().as_bytes());
            hash.piece(head.target);
            hash
        });
        if session.is_body_done() {
            return Ok(Taken {
                body: Body::EMPTY,
                fingerprint: hash.map(Hash::end),
                _share: None,
            });
        }
        if order.expects_continue {
            invite(session).await?;
        }
        let room = order.length.unwrap_or(u64::MAX).min(INLINE_MAX as u64);
        let share = self.budget.take(room);
        let in_memory = if share.is_some() { INLINE_MAX } else { 0 };
        let mut writer = self.parts.store.spool().writer(in_memory);
        self.pump(session, &mut writer, hash.as_mut()).await?;
        let body = writer.finish().await.map_err(not_spooled)?;
        Ok(Taken {
            body,
            fingerprint: hash.map(Hash::end),
            _share: share,
        })
    }

    async fn pump(
        &self,
        session: &mut ServerSession,
        writer: &mut BodyWriter,
        mut hash: Option<&mut Hash>,
    ) -> Result<(), Refusal> {
        let end = Instant::now() + self.rules.limits.body_timeout;
        let mut length = 0;
        while let Some(piece) = self.piece(session, end).await? {
            length += piece.len() as u64;
            if length > self.rules.limits.request_body {
                return Err(self.rules.too_large(None).into());
            }
            if let Some(hash) = &mut hash {
                hash.stream(&piece);
            }
            writer.write(piece).await.map_err(not_spooled)?;
        }
        Ok(())
    }

    async fn piece(
        &self,
        session: &mut ServerSession,
        end: Instant,
    ) -> Result<Option<Bytes>, Refusal> {
        let idle = Instant::now() + self.rules.limits.body_idle_timeout;
        match timeout_at(idle.min(end), session.read_request_body()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(match error.etype() {
                ErrorType::ReadTimedout => self.too_slow().into(),
                ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::H2Error => {
                    Refusal::Gone
                }
                _ => {
                    let detail = "The body's framing is broken (RFC 9112 §7); send it whole, by its Content-Length or chunked.";
                    Problem::new(Code::BadRequest, detail).into()
                }
            }),
            Err(_) => Err(self.too_slow().into()),
        }
    }

    fn too_slow(&self) -> Problem {
        let detail = format!(
            "The body came too slowly: at most {} may pass between two pieces (`limits.body_idle_timeout`), and {} \
             until its end (`limits.body_timeout`).",
            humantime::format_duration(self.rules.limits.body_idle_timeout),
            humantime::format_duration(self.rules.limits.body_timeout)
        );
        Problem::new(Code::RequestTimeout, detail)
    }
}

/// Answers `Expect: 100-continue` (RFC 9110 §10.1.1). Pingora takes any head that is written before the body is read
/// for an early answer and would close the connection after it.
pub(super) async fn invite(session: &mut ServerSession) -> Result<(), Refusal> {
    session.set_close_on_response_before_downstream_finish(false);
    let invited = session.write_continue_response().await;
    session.set_close_on_response_before_downstream_finish(true);
    invited.map_err(|_| Refusal::Gone)
}

fn not_spooled(error: io::Error) -> Refusal {
    tracing::error!(%error, "a request body cannot be spooled");
    let detail = "The body could not be stored; nothing was accepted. Try again later.";
    Problem::new(Code::StoreUnavailable, detail)
        .retry_after(5)
        .into()
}

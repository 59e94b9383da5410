//! Answers of our own on a Pingora session.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use pingora::{
    ErrorType, OrErr,
    http::{IntoCaseHeaderName, ResponseHeader},
    protocols::http::ServerSession,
};

use crate::model::{
    dialect::Errors,
    problem::{CONTENT_TYPE, Problem},
};

/// `Raincheck-Error: <code>`: tells our own errors from the upstream's.
pub const ERROR: &str = "Raincheck-Error";

/// The media type of errors as text.
const TEXT: &str = "text/plain; charset=utf-8";

/// `Raincheck-Run-Id`: the run that an answer is about.
pub const RUN_ID: &str = "Raincheck-Run-Id";

/// How much of an unread body is read, and for how long, after an answer that closes the connection: a client that
/// is still sending would otherwise be reset before it has read the answer (RFC 9112 §9.6).
const LINGER_BYTES: usize = 256 * 1024;
const LINGER: Duration = Duration::from_secs(1);

/// What every answer on a connection has besides its own content.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner<'a> {
    /// Where the pages that explain problems are; empty: nowhere.
    pub public_prefix: &'a str,
    /// Cross-origin lines of the route, from [`super::cors::lines`].
    pub cors: &'a [(HeaderName, HeaderValue)],
    /// Whether the connection ends with this answer: needed while a body is unread.
    pub close: bool,
    /// How problems are told.
    pub errors: Errors,
}

/// Answers a problem.
///
/// # Errors
/// When the client has gone.
pub async fn problem(
    session: &mut ServerSession,
    problem: &Problem,
    manner: Manner<'_>,
) -> pingora::Result<()> {
    let mut answer = Answer::new(problem.code.status(), 8 + manner.cors.len())?;
    let (kind, body) = match manner.errors {
        Errors::Document => (CONTENT_TYPE, problem.document(manner.public_prefix)),
        Errors::Text => (TEXT, format!("{}\n", problem.detail).into_bytes()),
    };
    answer.set(header::CONTENT_TYPE, HeaderValue::from_static(kind))?;
    answer.set(ERROR, HeaderValue::from_static(problem.code.as_str()))?;
    answer.set(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
    if let Some(seconds) = problem.retry_after {
        answer.set("Retry-After", HeaderValue::from(seconds))?;
    }
    if let Some(run) = problem.run_id {
        let mut room = [0; 36];
        let run = HeaderValue::from_str(run.write(&mut room));
        answer.set(RUN_ID, run.or_err(ErrorType::InternalError, "a run id")?)?;
    }
    answer.send(session, body.into(), manner).await
}

/// An answer with its whole body in memory.
#[derive(Debug)]
pub struct Answer(Box<ResponseHeader>);

impl Answer {
    /// Begins an answer with room for `lines` header lines.
    ///
    /// # Errors
    /// When `status` is no HTTP status.
    pub fn new(status: u16, lines: usize) -> pingora::Result<Self> {
        Ok(Self(Box::new(ResponseHeader::build(
            status,
            Some(lines + 4),
        )?)))
    }

    /// Adds a header line, beside others of its name.
    ///
    /// # Errors
    /// When there are too many lines.
    pub fn set(
        &mut self,
        name: impl IntoCaseHeaderName,
        value: HeaderValue,
    ) -> pingora::Result<()> {
        self.0.append_header(name, value).map(|_| ())
    }

    /// Sends it, with `Content-Length`; to a HEAD request without the body.
    ///
    /// # Errors
    /// When the client has gone.
    pub async fn send(
        mut self,
        session: &mut ServerSession,
        body: Bytes,
        manner: Manner<'_>,
    ) -> pingora::Result<()> {
        for (name, value) in manner.cors {
            self.set(name.clone(), value.clone())?;
        }
        if !matches!(self.0.status.as_u16(), 204 | 304) {
            self.set(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
        }
        if manner.close {
            session.set_keepalive(None);
        }
        let body = if session.req_header().method == Method::HEAD {
            Bytes::new()
        } else {
            body
        };
        session.write_response_header(self.0).await?;
        session.write_response_body(body, true).await?;
        if manner.close {
            linger(session).await;
        }
        Ok(())
    }
}

/// Reads a bounded piece of what the client is still sending. Its failure is the client's end, which is what we want.
pub async fn linger(session: &mut ServerSession) {
    if session.is_body_done() {
        return;
    }
    let drain = async {
        let mut read = 0;
        while let Ok(Some(piece)) = session.read_request_body().await {
            read += piece.len();
            if read > LINGER_BYTES {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, drain).await;
}

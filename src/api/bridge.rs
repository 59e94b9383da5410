//! From a Pingora session to an axum router and back: one request, its answer streamed as it comes.

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, response::IntoResponse};
use bytes::{Bytes, BytesMut};
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING},
};
use http_body::Body as _;
use http_body_util::BodyExt;
use pingora::{ErrorType, http::ResponseHeader, protocols::http::ServerSession};
use tokio::time::timeout;
use tower::ServiceExt;

use crate::gate::respond;

/// The largest request body that a router is handed. Those of the API are short.
const REQUEST_BODY_MAX: usize = 64 * 1024;
/// The longest time that it may take.
const REQUEST_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a request got no whole answer; the connection is then closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// The client left, or its connection failed.
    #[error("the client left: {0}")]
    ClientLeft(#[from] Box<pingora::Error>),
    /// The answer's body broke off.
    #[error("the answer's body broke off: {0}")]
    BrokeOff(axum::Error),
}

/// Answers the session's request by `router`, which sees `target` in place of the request's own (the part behind the
/// public prefix). Whatever the router streams is written as fast as the client reads, and dropped when it leaves.
///
/// # Errors
/// [`Unanswered`]; the session is shut down already.
pub(super) async fn answer(
    session: &mut ServerSession,
    router: Router,
    target: Uri,
) -> Result<(), Unanswered> {
    let answered = exchange(session, router, target).await;
    shut_if_unanswered(session, answered).await
}

/// Sends this answer. Whatever it streams is written as fast as the client reads, and dropped when it leaves. If the
/// request's body has not been read, the connection is closed behind it.
///
/// # Errors
/// [`Unanswered`]; the session is shut down already.
pub(super) async fn send(
    session: &mut ServerSession,
    response: Response<Body>,
) -> Result<(), Unanswered> {
    let unread = !session.is_body_done();
    if unread {
        session.set_keepalive(None);
    }
    let sent = write(session, response).await;
    if unread && sent.is_ok() {
        respond::linger(session).await;
    }
    shut_if_unanswered(session, sent).await
}

async fn shut_if_unanswered(
    session: &mut ServerSession,
    answered: Result<(), Unanswered>,
) -> Result<(), Unanswered> {
    if answered.is_err() {
        session.set_keepalive(None);
        session.shutdown().await;
    }
    answered
}

async fn exchange(
    session: &mut ServerSession,
    router: Router,
    target: Uri,
) -> Result<(), Unanswered> {
    let response = match take_request(session, target).await? {
        Ok(request) => while_present(session, router.oneshot(request))
            .await?
            .unwrap_or_else(|never: Infallible| match never {}),
        Err((status, text)) => {
            session.set_keepalive(None);
            (status, text).into_response()
        }
    };
    write(session, response).await
}

async fn write(session: &mut ServerSession, response: Response<Body>) -> Result<(), Unanswered> {
    let (parts, mut body) = response.into_parts();
    let head = framed_head(session, parts, &body)?;
    session.write_response_header(Box::new(head)).await?;
    if session.req_header().method == Method::HEAD {
        return Ok(());
    }
    while let Some(frame) = while_present(session, body.frame()).await? {
        if let Ok(piece) = frame.map_err(Unanswered::BrokeOff)?.into_data() {
            session.write_response_body(piece, false).await?;
        }
    }
    session.write_response_body(Bytes::new(), true).await?;
    Ok(())
}

/// Why a request is not handed to a router: a status and a sentence.
type Refusal = (StatusCode, &'static str);

/// The request with its body, unless that is too large or too slow.
async fn take_request(
    session: &mut ServerSession,
    target: Uri,
) -> Result<Result<Request<Body>, Refusal>, Unanswered> {
    let mut parts = session.req_header().as_owned_parts();
    parts.uri = target;
    if session.is_body_empty() {
        return Ok(Ok(Request::from_parts(parts, Body::empty())));
    }
    if parts.headers.contains_key(EXPECT) && parts.version == Version::HTTP_11 {
        session.write_continue_response().await?;
    }
    let Ok(body) = timeout(REQUEST_BODY_TIMEOUT, read_body(session)).await else {
        return Ok(Err((
            StatusCode::REQUEST_TIMEOUT,
            "The request's body came too slowly.\n",
        )));
    };
    Ok(match body? {
        Some(body) => Ok(Request::from_parts(parts, Body::from(body))),
        None => Err((
            StatusCode::PAYLOAD_TOO_LARGE,
            "The request's body is over 64 KiB.\n",
        )),
    })
}

/// The request's body; none if it is too large.
async fn read_body(session: &mut ServerSession) -> pingora::Result<Option<Bytes>> {
    let mut body = BytesMut::new();
    while let Some(piece) = session.read_request_body().await? {
        if body.len() + piece.len() > REQUEST_BODY_MAX {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body.freeze()))
}

/// The head as Pingora writes it, with the framing that the client's protocol version needs (RFC 9112 §6).
fn framed_head(
    session: &mut ServerSession,
    parts: http::response::Parts,
    body: &Body,
) -> Result<ResponseHeader, Unanswered> {
    let mut head = ResponseHeader::build(parts.status, Some(parts.headers.len() + 2))?;
    for (name, value) in &parts.headers {
        head.append_header(name, value)?;
    }
    let request = session.req_header();
    let (version, is_head) = (request.version, request.method == Method::HEAD);
    match parts.status {
        StatusCode::NO_CONTENT => {
            head.remove_header(&CONTENT_LENGTH);
        }
        // Only the router can have added a length of 0 here, and a 304's is the one that a 200 would have.
        StatusCode::NOT_MODIFIED => {
            if head.headers.get(CONTENT_LENGTH) == Some(&HeaderValue::from_static("0")) {
                head.remove_header(&CONTENT_LENGTH);
            }
        }
        _ if is_head || head.headers.contains_key(CONTENT_LENGTH) => {}
        _ => match (body.size_hint().exact(), version) {
            (Some(length), _) => head.insert_header(CONTENT_LENGTH, length)?,
            (None, Version::HTTP_11) => head.insert_header(TRANSFER_ENCODING, "chunked")?,
            (None, Version::HTTP_10) => {
                head.insert_header(CONNECTION, "close")?;
                session.set_keepalive(None);
            }
            (None, _) => {}
        },
    }
    Ok(head)
}

/// Waits for `work`, unless the client leaves first.
///
/// # Errors
/// When it does.
pub(super) async fn while_present<T>(
    session: &mut ServerSession,
    work: impl Future<Output = T>,
) -> Result<T, Unanswered> {
    tokio::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return Ok(done),
        left = session.read_body_or_idle(true) => match left {
            // Bytes of a next request that came early: it is answered on no connection, this one is.
            Err(error) if error.etype() == &ErrorType::ConnectError => session.set_keepalive(None),
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        },
    }
    Ok(work.await)
}

#[cfg(test)]
mod tests;

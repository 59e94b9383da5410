//! The answers about runs: records, refusals, and the headers that all of them have.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS},
};

use serde::Serialize;

use crate::model::{
    problem::{self, Code, Problem},
    run::Run,
};

const ERROR: HeaderName = HeaderName::from_static("raincheck-error");
const STATE: HeaderName = HeaderName::from_static("raincheck-run-state");
/// Seconds after which a look at an unfinished run makes sense again.
const LOOK_AGAIN: u32 = 1;

/// The record of a run; with a `Retry-After` while it is unfinished.
pub(super) fn record(run: &Run, status: StatusCode) -> Response {
    let mut response = json(status, &run.record());
    if !run.state.is_final() {
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, LOOK_AGAIN.into());
    }
    about(run, response)
}

/// A value as JSON, with a newline.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let mut text = match serde_json::to_vec(value) {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    text.push(b'\n');
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A resource may answer with a problem; where all answers pass, [`refusal`] puts it into words.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self);
        response
    }
}

/// The same answer, marked as one about `run`. Its URL may hold a token, which no link may pass on.
pub(super) fn about(run: &Run, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(STATE, HeaderValue::from_static(run.state.as_str()));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// A problem as an answer, with the pages that explain the codes below `prefix`.
pub(super) fn refusal(problem: &Problem, prefix: &str) -> Response {
    let mut response = Response::new(Body::from(problem.document(prefix)));
    *response.status_mut() =
        StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(problem::CONTENT_TYPE),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(ERROR, HeaderValue::from_static(problem.code.as_str()));
    if let Some(seconds) = problem.retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// Nothing that the asker may see. The same words whether the run exists or not.
pub(super) fn unknown() -> Problem {
    Problem::new(
        Code::UnknownRun,
        "No run has this id, or you may not see it. Follow the Location of the 202 with its token, or send the same credentials as with the run's request.",
    )
}

/// The run's record is gone.
pub(super) fn expired() -> Problem {
    Problem::new(
        Code::RunExpired,
        "The run ended so long ago that its record and response have been removed.",
    )
}

/// The store cannot be read or written at the moment.
pub(super) fn unavailable() -> Problem {
    Problem::new(
        Code::StoreUnavailable,
        "The store cannot be used at the moment; nothing was changed. Try again.",
    )
    .retry_after(LOOK_AGAIN)
}

//! Answers in the dialect's form.

use std::sync::Arc;

use axum::{body::Body, response::Response};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, REFERRER_POLICY, RETRY_AFTER,
        WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    },
};

use crate::{
    config::Namespace,
    gate::invoke::Invoked,
    model::{dialect::openwhisk::refusal::Refusal, run::Run},
};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ACTIVATION_ID: HeaderName = HeaderName::from_static("x-openwhisk-activation-id");
const ERROR: HeaderName = HeaderName::from_static("raincheck-error");
const STATE: HeaderName = HeaderName::from_static("raincheck-run-state");
/// The longest id of a caller's that is taken over.
const LONGEST: usize = 128;
/// Seconds after which a look at an unfinished run makes sense again.
const LOOK_AGAIN: u32 = 1;

/// What a request is called in its answer: as the caller calls it, else anything that is unique.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(REQUEST_ID).filter(|id| {
        let id = id.as_bytes();
        (1..=LONGEST).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
    });
    given.cloned().unwrap_or_else(|| {
        let id = format!("{:032x}", fastrand::u128(..));
        HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("0"))
    })
}

/// JSON.
pub(super) fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// The names of namespaces.
pub(super) fn names(namespaces: &[&Arc<Namespace>]) -> Vec<u8> {
    let names: Vec<_> = namespaces.iter().map(|own| own.name.as_str()).collect();
    serde_json::to_vec(&names).unwrap_or_default()
}

/// A refusal of a request that is called so.
pub(super) fn refusal(refusal: &Refusal, request_id: &HeaderValue) -> Response {
    let code = request_id.to_str().unwrap_or_default();
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, refusal.document(code));
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, request_id.clone());
    if let Some(code) = refusal.code {
        headers.insert(ERROR, HeaderValue::from_static(code.as_str()));
    }
    if let Some(seconds) = refusal.retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if let Some(allow) = refusal.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if refusal.challenge {
        let challenge = HeaderValue::from_static("Basic realm=\"raincheck\"");
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(state) = refusal.state {
        headers.insert(STATE, HeaderValue::from_static(state.as_str()));
        headers.insert(RETRY_AFTER, LOOK_AGAIN.into());
    }
    response
}

/// The same answer, marked as one about `run`.
pub(super) fn about(run: &Run, mut response: Response) -> Response {
    let state = HeaderValue::from_static(run.state.as_str());
    response.headers_mut().insert(STATE, state);
    response
}

/// The 202 of an invocation.
pub(super) fn accepted(invoked: Invoked) -> Response {
    let response = json(StatusCode::ACCEPTED, invoked.accepted.body.clone());
    of_invocation(response, &invoked)
}

/// The same answer, marked as one to this invocation. Only a 202 points elsewhere.
pub(super) fn of_invocation(mut response: Response, invoked: &Invoked) -> Response {
    let is_accepted = response.status() == StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    for (name, value) in &invoked.accepted.lines {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes())
            && (is_accepted || name != LOCATION)
        {
            headers.insert(name, value.clone());
        }
    }
    if let Ok(id) = HeaderValue::from_str(&invoked.id.simple()) {
        headers.insert(ACTIVATION_ID, id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_keeps_its_callers_name_for_it_if_that_is_one() {
        let of = |id: &[u8]| {
            let id = HeaderValue::from_bytes(id).unwrap();
            let named = request_id(&HeaderMap::from_iter([(REQUEST_ID, id)]));
            named.to_str().unwrap().to_owned()
        };
        assert_eq!(of(b"transaction-7"), "transaction-7");
        for strange in [&b""[..], b"a b", b"caf\xe9", &[b'x'; 129]] {
            assert_eq!(of(strange).len(), 32);
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }
}

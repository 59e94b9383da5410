//! Whether the process lives, and whether it takes work.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};

use super::admin::Shared;

/// `GET /livez`: 200 as long as anything answers.
pub(super) async fn live() -> Response {
    (
        [(CACHE_CONTROL, HeaderValue::from_static("no-store"))],
        "ok\n",
    )
        .into_response()
}

/// `GET /readyz`: 503 only while starting or draining. A store that cannot be written turns away runs, but not
/// synchronous traffic, so it is told and no reason to be taken out of a load balancer.
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let ready = shared.readiness.is_ready();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    let writable = shared.store.ready().is_ok();
    let text = format!("{{\"ready\":{ready},\"store_writable\":{writable}}}\n");
    (status, headers, text).into_response()
}

//! The access log: one line for each request of a caller, when it is over.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use pingora::proxy::Session;

use super::Ctx;
use crate::{gate::respond::RUN_ID, model::exchange::path};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The target of its lines, for `RAINCHECK_LOG`.
const TARGET: &str = "raincheck::access";

/// Says what came of a request: no header's value, no query. Without a status its client left first.
pub(super) fn log(session: &Session, ctx: &Ctx, took: Duration) {
    let request = session.req_header();
    let answered = session.response_written();
    let route = ctx.way.as_ref().or(ctx.answered.as_ref());
    let run_id = answered.and_then(|head| run_id(&head.headers, ctx.answered.is_some()));
    let client = session
        .client_addr()
        .and_then(|address| address.as_inet())
        .map(|address| address.ip());
    tracing::info!(
        target: TARGET,
        method = request.method.as_str(),
        path = %String::from_utf8_lossy(path::of_target(request.raw_path())),
        route = route.map(|way| way.route.name.as_str()),
        status = answered.map(|head| head.status.as_u16()),
        bytes = session.body_bytes_sent(),
        duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        client = client.map(tracing::field::display),
        run_id,
        "request"
    );
}

/// The run that an answer is about. A 202 is ours, and says it in every dialect as `X-Request-Id`.
fn run_id(headers: &HeaderMap, is_ours: bool) -> Option<&str> {
    let said = headers.get(RUN_ID).or_else(|| {
        let accepted = headers.get(X_REQUEST_ID)?;
        is_ours.then_some(accepted)
    });
    said?.to_str().ok()
}

//! Which route's cross-origin rule an answer below the public prefix goes by.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ACCESS_CONTROL_REQUEST_METHOD, ALLOW, ORIGIN},
    request::Parts,
};

use super::{public::Shared, runs};
use crate::{
    config::{Cors, RunSettings},
    gate::cors,
    model::run::Run,
    store::Found,
};

/// The answer with what the rule of its run's route adds. The stored response's own cross-origin headers spoke of the
/// run's request, not of this one: they give way where the route has a rule.
pub(super) fn tell(
    shared: &Shared,
    request: &HeaderMap,
    run: Option<&Run>,
    mut response: Response,
) -> Response {
    let Some((_, rule)) = governing(shared, request, run) else {
        return response;
    };
    let headers = response.headers_mut();
    let stored: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("access-control-"))
        .cloned()
        .collect();
    for name in stored {
        headers.remove(name);
    }
    headers.extend(cors::lines(Some(rule), request));
    response
}

/// `OPTIONS` on a run's resources. A preflight is answered by the rule of the run's route, though it carries neither
/// token nor owner headers: an origin that may read one route's runs must not be let loose on another's.
pub(super) async fn options(
    State(shared): State<Arc<Shared>>,
    id: runs::Id,
    request: Parts,
) -> Response {
    let headers = &request.headers;
    if !(headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)) {
        let methods = HeaderValue::from_static("GET, HEAD, DELETE, OPTIONS");
        return (StatusCode::NO_CONTENT, [(ALLOW, methods)]).into_response();
    }
    let run = match runs::parse(id) {
        Some(id) => match shared.store.find(id).await {
            Ok(Found::Run(run)) => Some(run),
            Ok(Found::Expired | Found::Unknown) | Err(_) => None,
        },
        None => None,
    };
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some((settings, rule)) = governing(&shared, headers, run.as_deref()) {
        let lines = cors::preflight(rule, headers, &settings.owner_headers);
        response.headers_mut().extend(lines);
    }
    response
}

/// The rule of the run's route. An answer about no run, or none that the asker may see, has nothing to hide from an
/// origin that any route knows: there the first route's rule that allows the origin counts.
fn governing<'a>(
    shared: &'a Shared,
    request: &HeaderMap,
    run: Option<&Run>,
) -> Option<(&'a RunSettings, &'a Cors)> {
    if let Some(run) = run {
        let settings = shared.settings(&run.policy.route)?;
        return Some((settings, settings.cors.as_ref()?));
    }
    let rules = || {
        shared
            .all_settings()
            .filter_map(|it| Some((it, it.cors.as_ref()?)))
    };
    let origin = request
        .get(ORIGIN)
        .map_or(&b""[..], |origin| origin.as_bytes());
    rules()
        .find(|(_, rule)| cors::allows(rule, origin))
        .or_else(|| rules().next())
}

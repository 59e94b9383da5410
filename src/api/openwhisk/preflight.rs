//! What a page on another origin may do: `OPTIONS`, and whose cross-origin rule an answer goes by.

use axum::response::{IntoResponse, Response};
use http::{
    HeaderValue, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_REQUEST_METHOD,
        ALLOW, ORIGIN,
    },
};
use pingora::http::RequestHeader;

use super::{Inner, split};
use crate::{
    config::{Cors, Namespace},
    gate::cors,
    model::dialect::openwhisk::resource::Resource,
};

/// What a page may send beside what every look at a run may have.
const HEADERS: &str = "authorization, content-type, x-request-id, x-webhook-secret";

impl Inner {
    /// The answer to `OPTIONS`. A preflight has no credentials, so the rule of the namespace in its path counts.
    pub(super) fn preflight(&self, request: &RequestHeader, allow: &'static str) -> Response {
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        headers.insert(ALLOW, HeaderValue::from_static(allow));
        if !request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return response;
        }
        if let Some(rule) = self.rule(None, request) {
            headers.extend(cors::preflight(rule, &request.headers, &[]));
            if headers.contains_key(ACCESS_CONTROL_ALLOW_METHODS) {
                let methods = HeaderValue::from_static(allow);
                headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
                headers.append(
                    ACCESS_CONTROL_ALLOW_HEADERS,
                    HeaderValue::from_static(HEADERS),
                );
                let key = self.idempotency_header(request);
                headers.extend(key.map(|key| (ACCESS_CONTROL_ALLOW_HEADERS, key)));
            }
        }
        response
    }

    /// The rule of the namespace that an answer is about. Until that is known, it is the one in the path that counts;
    /// and for `_`, and where there is none, the first one that allows the origin: such an answer holds no activation.
    pub(super) fn rule(
        &self,
        namespace: Option<&Namespace>,
        request: &RequestHeader,
    ) -> Option<&Cors> {
        let known = self.callers.namespaces();
        let named = match namespace {
            Some(namespace) => Some(namespace.name.clone()),
            None => name(request),
        };
        if let Some(named) = named
            && let Some(named) = known.iter().find(|known| known.name == named)
        {
            return named.settings.cors.as_ref();
        }
        let origin = request
            .headers
            .get(ORIGIN)
            .map_or(&b""[..], |origin| origin.as_bytes());
        let rules = || {
            known
                .iter()
                .filter_map(|known| known.settings.cors.as_ref())
        };
        rules()
            .find(|rule| cors::allows(rule, origin))
            .or_else(|| rules().next())
    }

    fn idempotency_header(&self, request: &RequestHeader) -> Option<HeaderValue> {
        let known = self.callers.namespaces();
        let named = name(request);
        let named = known
            .iter()
            .find(|known| Some(&known.name) == named.as_ref());
        let settings = &named.or(known.first())?.settings;
        HeaderValue::from_str(settings.idempotency_header.as_str()).ok()
    }
}

fn name(request: &RequestHeader) -> Option<String> {
    let resource = Resource::of(split(request.raw_path()).0).ok()?;
    resource.namespace().map(str::to_owned)
}

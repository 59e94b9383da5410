//! Who is let in: the host that is meant, the bearer token or a session, and no foreign page that acts.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
    header::{
        ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN,
        REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    },
    uri::Authority,
};
use ring::hmac;

use super::{OwnRules, Shared, pages};
use crate::model::problem::{Code, Problem};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// What htmx says of its requests, and what it does when it is told so (htmx's reference of headers).
const HX_REQUEST: HeaderName = HeaderName::from_static("hx-request");
const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Refuses requests for a host that is not this listener's: a page that binds its own name to our address (DNS
/// rebinding) cannot read what we answer.
pub(super) async fn for_this_host(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    if named_host(request.uri(), request.headers()).is_some_and(|host| shared.answers_to(&host)) {
        return protected(next.run(request).await);
    }
    let text = "This listener answers to IP addresses, localhost and the names in admin.hosts.\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

/// Lets requests pass that have the token or a session, or any if there is no token. One that acts must have the
/// token, or must not be made by a foreign page: a browser adds a session, or the way to a loopback address, to
/// whatever any page asks for.
pub(super) async fn admitted(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let Some(way) = shared.way_in(headers) else {
        return shared.turned_away(&request);
    };
    let acts = !matches!(*request.method(), Method::GET | Method::HEAD);
    if acts && way != Way::Token && !is_own_page(request.uri(), headers) {
        return foreign().into_response();
    }
    next.run(request).await
}

/// A foreign page would act.
pub(super) fn foreign() -> Problem {
    Problem::new(
        Code::CrossSiteRequest,
        "A page of another site made this request. Act from a page of this listener, or send the token as Authorization: Bearer <token>.",
    )
}

/// How a request got in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Token,
    Session,
    /// There is no token.
    Open,
}

impl Shared {
    fn answers_to(&self, host: &str) -> bool {
        host == "localhost"
            || host.parse::<IpAddr>().is_ok()
            || self.entrance.load().hosts.iter().any(|known| known == host)
    }

    fn way_in(&self, headers: &HeaderMap) -> Option<Way> {
        let entrance = self.entrance.load();
        let Some(lock) = &entrance.lock else {
            return Some(Way::Open);
        };
        if headers.contains_key(AUTHORIZATION) {
            let given = bearer(headers)?;
            return same(given, lock.token.reveal()).then_some(Way::Token);
        }
        let now = self.clock.now();
        lock.sessions.holds(headers, now).then_some(Way::Session)
    }

    /// A browser that asks for a page is shown the way in, and a page that asks for a part of itself is told where it
    /// is; everybody else is told what is missing.
    fn turned_away(&self, request: &Request) -> Response {
        let accepted = request.headers().get(ACCEPT);
        let wants_page = accepted
            .and_then(|accepted| accepted.to_str().ok())
            .is_some_and(|accepted| accepted.contains("text/html"));
        let path = request.uri().path();
        let is_page = !path.starts_with("/api/") && *request.method() == Method::GET;
        let way_in = pages::way_in(request.uri());
        if wants_page && is_page {
            return Redirect::to(&way_in).into_response();
        }
        let says =
            "Send the admin token: Authorization: Bearer <token>. Browsers log in at /login.";
        let mut response = Problem::new(Code::Unauthorized, says).into_response();
        let challenge = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        if request.headers().contains_key(HX_REQUEST) {
            let way_in = HeaderValue::from_static("/login");
            response.headers_mut().insert(HX_REDIRECT, way_in);
        }
        response
    }
}

/// The host that a request names, lower case, without port and brackets; none if there is none, or several.
fn named_host(target: &Uri, headers: &HeaderMap) -> Option<String> {
    let authority = authority(target, headers)?;
    let host = authority.host();
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    Some(host.to_ascii_lowercase())
}

fn authority(target: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let mut lines = headers.get_all(HOST).iter();
    match (target.authority(), lines.next(), lines.next()) {
        (Some(authority), _, None) => Some(authority.clone()),
        (None, Some(line), None) => Authority::try_from(line.as_bytes()).ok(),
        _ => None,
    }
}

/// Whether a request is none of a foreign page: a page of this listener made it, or no page at all. Where the browser
/// says it itself that counts, for a proxy in front may have changed `Host`.
pub(super) fn is_own_page(target: &Uri, headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return site == "same-origin";
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let origin = origin.to_str().ok();
    let from = origin
        .and_then(|origin| origin.split_once("://"))
        .and_then(|(_, from)| Authority::try_from(from).ok());
    from.is_some_and(|from| authority(target, headers) == Some(from))
}

/// Compares in a time that tells neither of them: the keyed hashes of both are compared.
pub(super) fn same(given: &[u8], expected: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"raincheck admin token");
    hmac::verify(&key, given, hmac::sign(&key, expected).as_ref()).is_ok()
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

/// What every answer of this listener has: it is not embedded, guessed at, remembered, or told of elsewhere. Unless it
/// brings rules of its own, it loads nothing; to a replayed response this rule is added.
fn protected(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if response.extensions().get::<OwnRules>().is_none() {
        let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        let headers = response.headers_mut();
        headers.append(CONTENT_SECURITY_POLICY, nothing);
    }
    response
}

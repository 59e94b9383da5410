//! The pages that browsers see before they are let in: the way in, and the way out.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::{Html, IntoResponse, Redirect, Response},
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
    header::{CONTENT_SECURITY_POLICY, RETRY_AFTER, SET_COOKIE},
};
use url::form_urlencoded;

use super::{
    OwnRules, Shared,
    guard::{foreign, is_own_page, same},
    session,
};

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// How long a wrong token's answer takes.
const WRONG: Duration = Duration::from_millis(500);
/// Log-ins that are looked at at a time.
pub(super) const LOG_INS: usize = 4;

/// `GET /login`
pub(super) async fn log_in_page(State(shared): State<Arc<Shared>>, target: Uri) -> Response {
    if shared.entrance.load().lock.is_none() {
        return Redirect::to("/").into_response();
    }
    page(StatusCode::OK, &form("", &next(&target)))
}

/// The way in, from where one comes back to `target`.
pub(super) fn way_in(target: &Uri) -> String {
    let Some(from) = target.path_and_query().filter(|from| from.as_str() != "/") else {
        return "/login".to_owned();
    };
    let query: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("next", from.as_str())
        .finish();
    format!("/login?{query}")
}

/// Where one goes when one is in: a page of ours, by its path.
fn next(way_in: &Uri) -> String {
    let query = way_in.query().unwrap_or_default();
    let next = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "next");
    let next = next.map(|(_, value)| value.into_owned());
    // `//host` and `/\\host` lead elsewhere.
    let is_ours = |next: &String| {
        let is_path = next.starts_with('/') && !next[1..].starts_with(['/', '\\']);
        is_path && next.bytes().all(|byte| byte.is_ascii_graphic())
    };
    next.filter(is_ours).unwrap_or_else(|| "/".to_owned())
}

/// `POST /login`: the token for a session. Few are looked at at a time, and a wrong one takes its time: guessing is
/// slow, however many try.
pub(super) async fn log_in(
    State(shared): State<Arc<Shared>>,
    target: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let entrance = shared.entrance.load_full();
    let Some(lock) = &entrance.lock else {
        return Redirect::to("/").into_response();
    };
    if !is_own_page(&target, &headers) {
        return foreign().into_response();
    }
    let Ok(_turn) = lock.log_ins.try_acquire() else {
        let says = "Too many are trying at once. Try again.";
        let mut busy = page(StatusCode::TOO_MANY_REQUESTS, &form(says, &next(&target)));
        busy.headers_mut().insert(RETRY_AFTER, 1.into());
        return busy;
    };
    let token = form_urlencoded::parse(&body).find(|(name, _)| name == "token");
    let token = token.map(|(_, value)| value.trim().to_owned());
    if !token.is_some_and(|token| same(token.as_bytes(), lock.token.reveal())) {
        tracing::warn!("a log-in with a wrong token");
        tokio::time::sleep(WRONG).await;
        let says = "This is not the token. It is the configuration's admin.token.";
        return page(StatusCode::UNAUTHORIZED, &form(says, &next(&target)));
    }
    let cookie = lock.sessions.begin(shared.clock.now(), is_secure(&headers));
    ([(SET_COOKIE, cookie)], Redirect::to(&next(&target))).into_response()
}

/// `POST /logout`
pub(super) async fn log_out(target: Uri, headers: HeaderMap) -> Response {
    if !is_own_page(&target, &headers) {
        return foreign().into_response();
    }
    let cookie = session::end(is_secure(&headers));
    ([(SET_COOKIE, cookie)], Redirect::to("/login")).into_response()
}

/// A proxy with TLS in front says so. Nobody gains by saying it wrongly: the cookie is then not sent back.
fn is_secure(headers: &HeaderMap) -> bool {
    headers
        .get(X_FORWARDED_PROTO)
        .is_some_and(|scheme| scheme == "https")
}

fn form(says: &str, next: &str) -> String {
    let says = if says.is_empty() {
        String::new()
    } else {
        format!("<p role=\"alert\">{says}</p>\n")
    };
    let query: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("next", next)
        .finish();
    format!(
        "{says}<form method=\"post\" action=\"/login?{query}\">\n\
         <p><label>Admin token<br>\n\
         <input type=\"password\" name=\"token\" autocomplete=\"current-password\" required autofocus></label></p>\n\
         <button class=\"primary\">Log in</button>\n</form>\n\
         <p class=\"quiet\">It is the configuration's <code>admin.token</code>.</p>\n"
    )
}

/// The style sheet is the dashboard's, if there is one.
fn page(status: StatusCode, text: &str) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>Log in – Raincheck</title>\n\
         <link rel=\"stylesheet\" href=\"/assets/style.css\">\n\
         <main class=\"login\">\n<h1>Raincheck</h1>\n{text}</main>\n</html>\n"
    );
    let rules = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    let rules = [(CONTENT_SECURITY_POLICY, HeaderValue::from_static(rules))];
    let mut page = (status, rules, Html(html)).into_response();
    page.extensions_mut().insert(OwnRules);
    page
}

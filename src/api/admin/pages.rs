//! The pages that browsers see: the way in, the way out, and the first page.

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
    Shared,
    guard::{OwnRules, foreign, is_own_page, same},
    session,
};

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// How long a wrong token's answer takes.
const WRONG: Duration = Duration::from_millis(500);
/// Log-ins that are looked at at a time.
pub(super) const LOG_INS: usize = 4;

/// `GET /login`
pub(super) async fn log_in_page(State(shared): State<Arc<Shared>>) -> Response {
    if shared.lock.is_none() {
        return Redirect::to("/").into_response();
    }
    page(StatusCode::OK, "Log in", &form(""))
}

/// `POST /login`: the token for a session. Few are looked at at a time, and a wrong one takes its time: guessing is
/// slow, however many try.
pub(super) async fn log_in(
    State(shared): State<Arc<Shared>>,
    target: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(lock) = &shared.lock else {
        return Redirect::to("/").into_response();
    };
    if !is_own_page(&target, &headers) {
        return foreign().into_response();
    }
    let Ok(_turn) = lock.log_ins.try_acquire() else {
        let mut busy = page(
            StatusCode::TOO_MANY_REQUESTS,
            "Log in",
            &form("Too many are trying at once. Try again."),
        );
        busy.headers_mut().insert(RETRY_AFTER, 1.into());
        return busy;
    };
    let token = form_urlencoded::parse(&body).find(|(name, _)| name == "token");
    let token = token.map(|(_, value)| value.trim().to_owned());
    if !token.is_some_and(|token| same(token.as_bytes(), lock.token.reveal())) {
        tracing::warn!("a log-in with a wrong token");
        tokio::time::sleep(WRONG).await;
        let says = "This is not the token. It is the configuration's admin.token.";
        return page(StatusCode::UNAUTHORIZED, "Log in", &form(says));
    }
    let cookie = lock.sessions.begin(shared.clock.now(), is_secure(&headers));
    ([(SET_COOKIE, cookie)], Redirect::to("/")).into_response()
}

/// `POST /logout`
pub(super) async fn log_out(target: Uri, headers: HeaderMap) -> Response {
    if !is_own_page(&target, &headers) {
        return foreign().into_response();
    }
    let cookie = session::end(is_secure(&headers));
    ([(SET_COOKIE, cookie)], Redirect::to("/login")).into_response()
}

/// `GET /`
pub(super) async fn first(State(shared): State<Arc<Shared>>) -> Response {
    let out = if shared.lock.is_some() {
        "<form method=\"post\" action=\"/logout\"><button>Log out</button></form>\n"
    } else {
        ""
    };
    let links = [
        ("/api/v1/runs", "Runs"),
        ("/api/v1/breakers", "Circuit breakers"),
        ("/api/v1/stats", "Statistics"),
        ("/metrics", "Metrics"),
        ("/openapi.json", "The API's description"),
    ];
    let links = links.map(|(to, text)| format!("<li><a href=\"{to}\">{text}</a></li>\n"));
    let text = format!("<ul>\n{}</ul>\n{out}", links.concat());
    page(StatusCode::OK, "Raincheck", &text)
}

/// A proxy with TLS in front says so. Nobody gains by saying it wrongly: the cookie is then not sent back.
fn is_secure(headers: &HeaderMap) -> bool {
    headers
        .get(X_FORWARDED_PROTO)
        .is_some_and(|scheme| scheme == "https")
}

fn form(says: &str) -> String {
    let says = if says.is_empty() {
        String::new()
    } else {
        format!("<p role=\"alert\">{says}</p>\n")
    };
    format!(
        "{says}<form method=\"post\" action=\"/login\">\n\
         <p><label>Admin token<br>\n\
         <input type=\"password\" name=\"token\" autocomplete=\"current-password\" required autofocus></label></p>\n\
         <button>Log in</button>\n</form>\n"
    )
}

fn page(status: StatusCode, title: &str, text: &str) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<h1>{title}</h1>\n{text}</html>\n"
    );
    let rules = "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    let rules = [(CONTENT_SECURITY_POLICY, HeaderValue::from_static(rules))];
    let mut page = (status, rules, Html(html)).into_response();
    page.extensions_mut().insert(OwnRules);
    page
}

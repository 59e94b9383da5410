//! What pages load: style, scripts, libraries. All of it is in the program.
//!
//! `htmx.min.js` is htmx 2.0.11 (npm `htmx.org`, 0BSD); `uPlot.iife.min.js` and `uPlot.min.css` are uPlot 1.6.32 (npm
//! `uplot`, MIT, © Leon Sorokin); each as published.

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use ring::digest;

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Name, type, content.
pub(super) const ALL: [(&str, &str, &[u8]); 6] = [
    ("style.css", STYLE, include_bytes!("assets/style.css")),
    (
        "dashboard.js",
        SCRIPT,
        include_bytes!("assets/dashboard.js"),
    ),
    ("htmx.min.js", SCRIPT, include_bytes!("assets/htmx.min.js")),
    (
        "uplot.js",
        SCRIPT,
        include_bytes!("assets/uPlot.iife.min.js"),
    ),
    ("uplot.css", STYLE, include_bytes!("assets/uPlot.min.css")),
    (
        "icon.svg",
        "image/svg+xml",
        include_bytes!("assets/icon.svg"),
    ),
];

/// `GET /assets/{name}`: kept by browsers, and asked for again, for an upgrade may change it.
pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some((_, kind, content)) = ALL.into_iter().find(|(known, _, _)| *known == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let digest = digest::digest(&digest::SHA256, content);
    let tag: String = digest.as_ref()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let tag = format!("\"{tag}\"");
    let is_known = headers
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        content.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}

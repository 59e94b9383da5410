//! What all pages have in common.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderValue, StatusCode, header::CONTENT_SECURITY_POLICY};

use crate::api::OwnRules;

/// Nothing from elsewhere, nothing within the page: what a response or a name may hold can run nowhere.
const RULES: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What is around every page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// Which page it is, for the navigation.
    pub(super) here: &'static str,
    /// Whether one can log out.
    pub(super) has_sessions: bool,
}

impl Frame {
    /// The program's version.
    #[expect(clippy::unused_self, reason = "templates ask the frame")]
    pub(super) const fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}

/// A template as an answer.
pub(super) fn html(status: StatusCode, template: &impl Template) -> Response {
    let text = match template.render() {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(%error, "a page cannot be rendered");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let rules = [(CONTENT_SECURITY_POLICY, HeaderValue::from_static(RULES))];
    let mut page = (status, rules, Html(text)).into_response();
    page.extensions_mut().insert(OwnRules);
    page
}

//! Foreign web pages: none may use a visitor's browser to have the visitor's pages sent to itself.
//!
//! A page can make a browser send a simple request anywhere, with the visitor's cookies; it cannot read the answer, but
//! with a webhook endpoint the answer would be sent to it. So a browser's request has to prove where it comes from.

use http::{HeaderMap, HeaderName, header};

use super::cors;
use crate::{
    config::Cors,
    model::problem::{Code, Problem},
};

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const DESTINATION: HeaderName = HeaderName::from_static("sec-fetch-dest");
const USER: HeaderName = HeaderName::from_static("sec-fetch-user");

/// The origin that a request was sent to, as its sender saw it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Own<'a> {
    /// Over TLS.
    pub(super) secure: bool,
    /// Host and port.
    pub(super) authority: &'a [u8],
}

/// Judges a request with a webhook endpoint.
///
/// # Errors
/// [`Code::CrossSiteWebhook`] for a browser's request that does not prove that it comes from the application's own
/// pages, or from an origin that the route names. A `*` in `cors.origins` names nobody.
pub(super) fn check(headers: &HeaderMap, own: Own<'_>, cors: Option<&Cors>) -> Result<(), Problem> {
    if !looks_like_a_browser(headers) || is_same_origin(headers) {
        return Ok(());
    }
    if let Some(origin) = only(headers, &header::ORIGIN)
        && (is_own(origin, own) || cors.is_some_and(|cors| cors::names(cors, origin)))
    {
        return Ok(());
    }
    let detail = "A browser's request may name a webhook only from the application's own pages \
        (`Sec-Fetch-Site: same-origin`, no navigation) or from an origin in the route's `cors.origins`. \
        Callers that are no browsers: send no cookies, `Origin` or `Sec-Fetch-*`, and no `Mozilla/` user agent.";
    Err(Problem::new(Code::CrossSiteWebhook, detail))
}

fn looks_like_a_browser(headers: &HeaderMap) -> bool {
    [
        SITE,
        MODE,
        DESTINATION,
        USER,
        header::ORIGIN,
        header::COOKIE,
    ]
    .iter()
    .any(|name| headers.contains_key(name))
        || headers
            .get_all(header::USER_AGENT)
            .iter()
            .any(|agent| agent.as_bytes().starts_with(b"Mozilla/"))
        || headers
            .keys()
            .any(|name| name.as_str().starts_with("sec-fetch-"))
}

fn is_same_origin(headers: &HeaderMap) -> bool {
    only(headers, &SITE) == Some(b"same-origin")
        && only(headers, &MODE).is_some_and(|mode| mode != b"navigate")
}

/// The header's value, if it is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes())
}

fn is_own(origin: &[u8], own: Own<'_>) -> bool {
    let (scheme, default_port): (&[u8], &[u8]) = if own.secure {
        (b"https://", b":443")
    } else {
        (b"http://", b":80")
    };
    let plain = |authority: &[u8]| {
        let authority = authority.strip_suffix(default_port).unwrap_or(authority);
        authority.to_ascii_lowercase()
    };
    !own.authority.is_empty()
        && origin
            .strip_prefix(scheme)
            .is_some_and(|authority| plain(authority) == plain(own.authority))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;

    fn passes_on(own: Own<'_>, origins: &[&str], lines: &[(&'static str, &'static str)]) -> bool {
        let cors = Cors {
            origins: origins.iter().map(|&origin| origin.to_owned()).collect(),
            credentials: false,
            max_age: Duration::ZERO,
        };
        let headers: HeaderMap = lines
            .iter()
            .map(|&(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        check(&headers, own, Some(&cors)).is_ok()
    }

    fn passes(lines: &[(&'static str, &'static str)]) -> bool {
        let own = Own {
            secure: true,
            authority: b"app.example",
        };
        passes_on(own, &["https://friend.example"], lines)
    }

    #[test]
    fn programs_prove_nothing() {
        assert!(passes(&[]));
        assert!(passes(&[
            ("user-agent", "curl/8"),
            ("authorization", "Bearer x")
        ]));
        assert!(passes(&[("user-agent", "Not-Mozilla/5.0")]));
    }

    #[test]
    fn a_page_of_the_application_may_and_so_may_an_origin_that_the_route_names() {
        for lines in [
            &[
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-mode", "cors"),
                ("cookie", "a"),
            ][..],
            &[("origin", "https://app.example"), ("cookie", "a")],
            &[("origin", "https://APP.example:443")],
            &[
                ("origin", "https://friend.example"),
                ("sec-fetch-site", "cross-site"),
            ],
        ] {
            assert!(passes(lines), "{lines:?}");
        }
    }

    #[test]
    fn a_foreign_page_may_not() {
        for lines in [
            &[("cookie", "a")][..],
            &[("user-agent", "Mozilla/5.0 (X11)")],
            &[
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "no-cors"),
            ],
            &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors")],
            &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")],
            &[
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-mode", "navigate"),
            ],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-dest", "image")],
            &[("sec-fetch-storage-access", "active")],
            &[("origin", "null")],
            &[("origin", "https://evil.example")],
            &[("origin", "http://app.example")],
            &[("origin", "https://app.example:8443")],
            &[("origin", "https://app.example.evil")],
            &[("origin", "https://friend.example.evil")],
        ] {
            assert!(!passes(lines), "{lines:?}");
        }
    }

    #[test]
    fn a_star_opens_reading_to_all_and_webhooks_to_none() {
        let own = Own {
            secure: false,
            authority: b"app.example:8080",
        };
        assert!(!passes_on(
            own,
            &["*"],
            &[("origin", "https://evil.example")]
        ));
        assert!(passes_on(
            own,
            &["*"],
            &[("origin", "http://app.example:8080")]
        ));
    }

    #[test]
    fn an_origin_that_is_given_twice_proves_nothing() {
        let mut headers = HeaderMap::new();
        for origin in ["https://app.example", "https://evil.example"] {
            headers.append(header::ORIGIN, HeaderValue::from_static(origin));
        }
        let own = Own {
            secure: true,
            authority: b"app.example",
        };
        assert!(check(&headers, own, None).is_err());
    }
}

//! The response of a run, replayed: the rules that make it safe to serve from the application's origin at a new URL.

use std::io;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
    header::{
        ACCEPT_RANGES, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE,
        CONTENT_SECURITY_POLICY, LOCATION, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
    },
};

use super::range::{self, Part};
use crate::{
    model::{
        exchange::{self, ResponseHead, StoredResponse},
        run::Run,
    },
    store::Store,
};

/// `Raincheck-Replay: full` asks for all headers.
const REPLAY: HeaderName = HeaderName::from_static("raincheck-replay");
const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");

/// Headers that frame a message; ours come from the stored body.
const FRAMING: [HeaderName; 3] = [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION];

/// The stored response of `run`, as the answer to `request`. `origin` is scheme and authority of a relative
/// `Location`.
///
/// # Errors
/// When the stored head or the first piece of the body cannot be read.
pub(super) async fn replay(
    store: &dyn Store,
    run: &Run,
    stored: StoredResponse,
    request: &http::request::Parts,
    origin: Option<&str>,
) -> io::Result<Response> {
    let head = ResponseHead::parse(&stored.head).map_err(io::Error::other)?;
    let length = stored.body.len();
    let is_head = request.method == Method::HEAD;
    let of_head = run.facts.method == "HEAD";
    let ranges = head.status == StatusCode::OK && !of_head;
    let part = if ranges && !is_head {
        range::asked(&request.headers, &head.headers, length)
    } else {
        Part::Whole
    };
    let full = request
        .headers
        .get(REPLAY)
        .is_some_and(|value| value == "full");
    let stored_length = head.headers.get(CONTENT_LENGTH).cloned();
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = protected(head.headers, full, origin, &run.facts.path);
    *response.status_mut() = head.status;
    if ranges {
        let unit = HeaderValue::from_static("bytes");
        response.headers_mut().insert(ACCEPT_RANGES, unit);
    }
    let (skip, take) = cut(&mut response, part, length);
    let content_length = match response.status() {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => None,
        _ if is_head && of_head => stored_length,
        _ => Some(take.into()),
    };
    if let Some(length) = content_length {
        response.headers_mut().insert(CONTENT_LENGTH, length);
    }
    *response.body_mut() = if is_head {
        // A body of unknown length, so that the router adds no length of 0.
        Body::from_stream(stream::empty::<io::Result<Bytes>>())
    } else {
        body(store, &stored.body, skip, take).await?
    };
    Ok(response)
}

/// Makes the response one of a part of its body; returns where the part begins, and its length.
fn cut(response: &mut Response, part: Part, length: u64) -> (u64, u64) {
    let (status, range, place) = match part {
        Part::Whole => return (0, length),
        Part::Bytes { first, last } => (
            StatusCode::PARTIAL_CONTENT,
            format!("bytes {first}-{last}/{length}"),
            (first, last - first + 1),
        ),
        Part::Unsatisfiable => (
            StatusCode::RANGE_NOT_SATISFIABLE,
            format!("bytes */{length}"),
            (0, 0),
        ),
    };
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_RANGE, text(range));
    place
}

/// The stored headers, made safe for a new URL of the same origin. `origin` is scheme and authority of a relative
/// `Location`, `path` the original request's.
///
/// Beside `Cache-Control`, the fields that override it at a cache (RFC 9213, `Surrogate-Control`) are dropped. The
/// policy `sandbox` is added to the application's own: a browser enforces all of them, so none is weakened.
fn protected(mut headers: HeaderMap, full: bool, origin: Option<&str>, path: &str) -> HeaderMap {
    let overriding: Vec<_> = headers
        .keys()
        .filter(|name| name.as_str().ends_with("cdn-cache-control") || **name == SURROGATE_CONTROL)
        .cloned()
        .collect();
    let withheld = if full {
        &[][..]
    } else {
        &exchange::OF_THE_ORIGIN
    };
    for name in FRAMING.iter().chain(withheld).chain(&overriding) {
        headers.remove(name);
    }
    if let Some(origin) = origin {
        let location = headers
            .get(LOCATION)
            .and_then(|to| absolute(to, origin, path));
        if let Some(location) = location {
            headers.insert(LOCATION, location);
        }
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.append(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
}

/// A relative `Location` resolved (RFC 3986 §5.2) against `origin` and `path`; none if it is absolute already, or
/// cannot be resolved. The bytes of a reference with a path from the root are kept as they are.
fn absolute(location: &HeaderValue, origin: &str, path: &str) -> Option<HeaderValue> {
    let reference = location.as_bytes();
    let before = if reference.starts_with(b"//") {
        origin.split_once("//").map(|(scheme, _)| scheme)?
    } else if reference.starts_with(b"/") {
        origin
    } else {
        let text = location.to_str().ok()?;
        if url::Url::parse(text).is_ok() {
            return None;
        }
        let base = url::Url::parse(&format!("{origin}{path}")).ok()?;
        return HeaderValue::from_str(base.join(text).ok()?.as_str()).ok();
    };
    HeaderValue::from_bytes(&[before.as_bytes(), reference].concat()).ok()
}

/// Scheme and authority that a relative `Location` is resolved against: those of `public_url`, else those by which
/// the replay itself is asked for. The original request is deleted when its run ends; it came by the same listener.
pub(super) fn origin(public_url: &str, target: &Uri) -> Option<String> {
    if !public_url.is_empty() {
        return Some(public_url.to_owned());
    }
    Some(format!(
        "{}://{}",
        target.scheme_str()?,
        target.authority()?
    ))
}

/// `take` bytes of a stored body, after the first `skip`. The first piece is read here, so that what cannot be read
/// at all is an error and no broken answer.
async fn body(
    store: &dyn Store,
    stored: &exchange::Body,
    skip: u64,
    take: u64,
) -> io::Result<Body> {
    let mut reader = store.spool().reader_range(stored, skip, take);
    let Some(first) = reader.next().await? else {
        return Ok(Body::empty());
    };
    if first.len() as u64 == take {
        return Ok(Body::from(first));
    }
    let rest = stream::try_unfold(reader, async |mut reader| {
        Ok(reader.next().await?.map(|piece| (piece, reader)))
    });
    let first = stream::iter([io::Result::Ok(first)]);
    Ok(Body::from_stream(first.chain(rest)))
}

fn text(value: String) -> HeaderValue {
    HeaderValue::try_from(value).expect("digits and punctuation are a header value")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ORIGIN: Option<&str> = Some("https://api.example.com");

    fn stored(lines: &str) -> HeaderMap {
        let text = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        ResponseHead::parse(text.as_bytes()).unwrap().headers
    }

    fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
        let values = headers.get_all(name).iter();
        values
            .map(|value| value.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn what_acts_on_the_origin_is_withheld_unless_asked_for() {
        let lines = "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nClear-Site-Data: \"*\"\r\nAlt-Svc: clear\r\n\
                     Strict-Transport-Security: max-age=1\r\nX-Kept: 1\r\nX-Kept: 2\r\n";
        let safe = protected(stored(lines), false, ORIGIN, "/run");
        for name in [
            "set-cookie",
            "clear-site-data",
            "alt-svc",
            "strict-transport-security",
        ] {
            assert!(!safe.contains_key(name), "{name}");
        }
        assert_eq!(values(&safe, "x-kept"), ["1", "2"]);
        let full = protected(stored(lines), true, ORIGIN, "/run");
        assert_eq!(values(&full, "set-cookie"), ["a=1", "b=2"]);
        assert_eq!(values(&full, "content-security-policy"), ["sandbox"]);
    }

    #[test]
    fn a_replay_is_never_cached_and_always_sandboxed() {
        let lines = "Cache-Control: public, max-age=9\r\nCache-Control: immutable\r\nCDN-Cache-Control: max-age=9\r\n\
                     Surrogate-Control: max-age=9\r\nContent-Security-Policy: sandbox allow-scripts\r\n\
                     X-Content-Type-Options: no\r\nContent-Length: 99\r\n";
        let safe = protected(stored(lines), false, ORIGIN, "/run");
        assert_eq!(values(&safe, "cache-control"), ["private, no-store"]);
        assert_eq!(
            values(&safe, "content-security-policy"),
            ["sandbox allow-scripts", "sandbox"]
        );
        assert_eq!(values(&safe, "x-content-type-options"), ["nosniff"]);
        for name in ["cdn-cache-control", "surrogate-control", "content-length"] {
            assert!(!safe.contains_key(name), "{name}");
        }
    }

    #[test]
    fn a_relative_location_is_resolved_against_the_original_target() {
        for (location, resolved) in [
            ("/next?a=b%20c", "https://api.example.com/next?a=b%20c"),
            ("next", "https://api.example.com/jobs/next"),
            ("../x", "https://api.example.com/x"),
            ("?page=2", "https://api.example.com/jobs/run?page=2"),
            ("//cdn.example.com/x", "https://cdn.example.com/x"),
            ("http://other.example/x", "http://other.example/x"),
            ("urn:x:y", "urn:x:y"),
        ] {
            let lines = format!("Location: {location}\r\n");
            let safe = protected(stored(&lines), false, ORIGIN, "/jobs/run");
            assert_eq!(values(&safe, "location"), [resolved]);
        }
        let unknown = protected(stored("Location: /next\r\n"), false, None, "/");
        assert_eq!(values(&unknown, "location"), ["/next"]);
    }

    proptest! {
        #[test]
        fn no_location_makes_it_panic(bytes: Vec<u8>) {
            if let Ok(location) = HeaderValue::from_bytes(&bytes) {
                let _ = absolute(&location, "https://api.example.com", "/jobs/run");
            }
        }
    }
}

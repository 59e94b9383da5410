//! The head of a stored request: what is kept of what the caller sent, as HTTP/1.1 text in one buffer.

use bytes::Bytes;
use http::{HeaderMap, Method, header};

use super::{preferences, query};
use crate::model::dialect::Parameters;

/// What is taken out of a request that becomes a run, and what is set.
#[derive(Debug, Clone, Copy)]
pub struct Surgery<'a> {
    /// The control parameters that are taken out of the query; none if they are forwarded.
    pub parameters: Option<Parameters<'a>>,
    /// The preferences that were honoured, by name.
    pub preferences: &'a [&'a str],
    /// Whether ranges and conditions stay: a GET or HEAD whose answer is kept for later has to be whole.
    pub keep_conditions: bool,
    /// Whether `Accept-Encoding` stays: few receivers of webhooks decompress.
    pub keep_encodings: bool,
    /// `Content-Length` to be set; none for a request without a body.
    pub length: Option<u64>,
}

/// A request as it came.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query.
    pub target: &'a [u8],
    /// The headers, for look-ups.
    pub headers: &'a HeaderMap,
    /// HTTP/2's `:authority`: the host where there is no `Host`.
    pub authority: Option<&'a str>,
}

/// The longest of the names that [`fate`] knows, in bytes.
const LONGEST: usize = 32;

/// What becomes of a header line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Gone,
    /// Gone for GET and HEAD, unless conditions stay.
    Condition,
    Encoding,
    Preference,
}

/// Writes the head as it is stored. `lines` are the header lines as they were written, in their order.
pub fn stored<'a>(
    received: Received<'_>,
    lines: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    surgery: Surgery<'_>,
) -> Bytes {
    let mut head = Vec::with_capacity(256 + received.target.len() + 40 * received.headers.len());
    write_request_line(&mut head, received, surgery);
    if !received.headers.contains_key(header::HOST)
        && let Some(authority) = received.authority
    {
        write_line(&mut head, b"Host", authority.as_bytes());
    }
    let plain_read = matches!(*received.method, Method::GET | Method::HEAD);
    for (name, value) in lines {
        match fate(name) {
            Fate::Gone => {}
            Fate::Condition if plain_read && !surgery.keep_conditions => {}
            Fate::Encoding if !surgery.keep_encodings => {}
            Fate::Preference if !surgery.preferences.is_empty() => {
                if let Some(rest) = preferences::without(value, surgery.preferences) {
                    write_line(&mut head, name, &rest);
                }
            }
            Fate::Kept | Fate::Condition | Fate::Encoding | Fate::Preference => {
                if !is_named_by_connection(received.headers, name) {
                    write_line(&mut head, name, value);
                }
            }
        }
    }
    if let Some(length) = surgery.length {
        write_line(&mut head, b"Content-Length", length.to_string().as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

fn write_request_line(head: &mut Vec<u8>, received: Received<'_>, surgery: Surgery<'_>) {
    head.extend_from_slice(received.method.as_str().as_bytes());
    head.push(b' ');
    match surgery.parameters {
        Some(names) => query::write_target_without(
            received.target,
            |parameter| parameter.is(names.asynchronous) || parameter.is(names.webhook),
            head,
        ),
        None => head.extend_from_slice(received.target),
    }
    head.extend_from_slice(b" HTTP/1.1\r\n");
}

fn write_line(head: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    head.extend_from_slice(name);
    head.extend_from_slice(b": ");
    let start = head.len();
    head.extend_from_slice(value);
    // A folded line (RFC 9112 §5.2) must not become two.
    if memchr::memchr3(b'\r', b'\n', b'\0', &head[start..]).is_some() {
        for byte in &mut head[start..] {
            if matches!(byte, b'\r' | b'\n' | b'\0') {
                *byte = b' ';
            }
        }
    }
    head.extend_from_slice(b"\r\n");
}

/// Hop-by-hop headers (RFC 9110 §7.6.1), what we answer ourselves, and what is ours to set.
fn fate(name: &[u8]) -> Fate {
    let mut lower = [0; LONGEST];
    let Some(lower) = lower.get_mut(..name.len()) else {
        return match name.get(..10) {
            Some(start) if start.eq_ignore_ascii_case(b"raincheck-") => Fate::Gone,
            _ => Fate::Kept,
        };
    };
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    match &*lower {
        b"connection" | b"keep-alive" | b"te" | b"trailer" | b"transfer-encoding" | b"upgrade"
        | b"content-length" | b"expect" | b"x-webhook-secret" => Fate::Gone,
        b"range"
        | b"if-range"
        | b"if-match"
        | b"if-none-match"
        | b"if-modified-since"
        | b"if-unmodified-since" => Fate::Condition,
        b"accept-encoding" => Fate::Encoding,
        b"prefer" => Fate::Preference,
        other if other.starts_with(b"raincheck-") || other.starts_with(b"proxy-") => Fate::Gone,
        _ => Fate::Kept,
    }
}

/// Whether a `Connection` line names this header. A request's framing and host are never given up for it.
fn is_named_by_connection(headers: &HeaderMap, name: &[u8]) -> bool {
    headers.contains_key(header::CONNECTION)
        && !name.eq_ignore_ascii_case(b"host")
        && headers.get_all(header::CONNECTION).iter().any(|line| {
            line.as_bytes()
                .split(|&byte| byte == b',')
                .any(|option| option.trim_ascii().eq_ignore_ascii_case(name))
        })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    const NAMES: Parameters<'static> = Parameters {
        asynchronous: "async",
        webhook: "webhookEndpoint",
    };

    fn run() -> Surgery<'static> {
        Surgery {
            parameters: Some(NAMES),
            preferences: &[],
            keep_conditions: false,
            keep_encodings: true,
            length: None,
        }
    }

    fn store(
        method: Method,
        target: &[u8],
        lines: &[(&str, &[u8])],
        surgery: Surgery<'_>,
    ) -> Vec<u8> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value).unwrap(),
            );
        }
        let received = Received {
            method: &method,
            target,
            headers: &headers,
            authority: Some("h2.example"),
        };
        let lines = lines.iter().map(|(name, value)| (name.as_bytes(), *value));
        stored(received, lines, surgery).to_vec()
    }

    fn text(method: Method, target: &str, lines: &[(&str, &str)], surgery: Surgery<'_>) -> String {
        let lines: Vec<_> = lines.iter().map(|&(n, v)| (n, v.as_bytes())).collect();
        String::from_utf8(store(method, target.as_bytes(), &lines, surgery)).unwrap()
    }

    #[test]
    fn what_speaks_of_the_connection_or_is_ours_goes_and_the_rest_keeps_case_and_order() {
        let stored = text(
            Method::POST,
            "/run?a=%20b&async=true&webhookEndpoint=http%3A%2F%2Fh&c",
            &[
                ("Host", "app.example"),
                ("X-Odd-CASE", "1"),
                ("Connection", "close, X-Hop , host"),
                ("Keep-Alive", "timeout=5"),
                ("X-Hop", "gone"),
                ("TE", "trailers"),
                ("Transfer-Encoding", "chunked"),
                ("Proxy-Authorization", "Basic x"),
                ("Upgrade", "h2c"),
                ("Expect", "100-continue"),
                ("X-Webhook-Secret", "hush"),
                ("Raincheck-Run-Id", "forged"),
                ("Raincheck-Some-Quite-Long-Name-Indeed", "forged"),
                ("x-odd-case", "2"),
                ("X-Forwarded-For", "1.2.3.4"),
                ("If-None-Match", "\"a\""),
                ("Prefer", "respond-async"),
            ],
            Surgery {
                length: Some(7),
                ..run()
            },
        );
        assert_eq!(
            stored,
            "POST /run?a=%20b&c HTTP/1.1\r\nHost: app.example\r\nX-Odd-CASE: 1\r\nx-odd-case: 2\r\n\
             X-Forwarded-For: 1.2.3.4\r\nIf-None-Match: \"a\"\r\nPrefer: respond-async\r\nContent-Length: 7\r\n\r\n"
        );
    }

    #[test]
    fn a_read_whose_answer_is_kept_asks_for_all_of_it() {
        let lines = [
            ("Range", "bytes=0-1"),
            ("If-Modified-Since", "x"),
            ("Accept-Encoding", "gzip"),
        ];
        let kept = |method, surgery| text(method, "/", &lines, surgery).matches("\r\n").count() - 3;
        assert_eq!(kept(Method::GET, run()), 1);
        assert_eq!(kept(Method::HEAD, run()), 1);
        assert_eq!(kept(Method::POST, run()), 3);
        let webhook = Surgery {
            keep_encodings: false,
            ..run()
        };
        assert_eq!(kept(Method::GET, webhook), 0);
        let told = Surgery {
            keep_conditions: true,
            ..run()
        };
        assert_eq!(kept(Method::GET, told), 3);
    }

    #[test]
    fn only_honoured_preferences_go() {
        let lines = [
            ("Prefer", "respond-async, wait=10"),
            ("Prefer", "respond-async"),
        ];
        let honoured = Surgery {
            preferences: &["respond-async"],
            ..run()
        };
        assert_eq!(
            text(Method::GET, "/", &lines, honoured),
            "GET / HTTP/1.1\r\nHost: h2.example\r\nPrefer: wait=10\r\n\r\n"
        );
    }

    #[test]
    fn control_parameters_stay_where_the_route_forwards_them() {
        let forwarded = Surgery {
            parameters: None,
            ..run()
        };
        let stored = text(Method::GET, "/?async=true", &[("Host", "a")], forwarded);
        assert!(stored.starts_with("GET /?async=true HTTP/1.1\r\n"));
    }

    #[test]
    fn values_that_are_no_text_stay_as_they_are() {
        let stored = store(Method::GET, b"/\xff", &[("X", b"caf\xe9")], run());
        assert_eq!(
            stored,
            b"GET /\xff HTTP/1.1\r\nHost: h2.example\r\nX: caf\xe9\r\n\r\n"
        );
    }

    proptest! {
        #[test]
        fn other_headers_stay_whatever_they_are(values in proptest::collection::vec("[ -~]{0,20}", 0..8)) {
            let lines: Vec<_> = values.iter().map(|value| ("X-Any", value.trim().as_bytes())).collect();
            let stored = String::from_utf8(store(Method::PUT, b"/p", &lines, run())).unwrap();
            let kept: Vec<_> = stored
                .lines()
                .filter_map(|line| line.strip_prefix("X-Any: ").or((line == "X-Any:").then_some("")))
                .map(str::to_owned)
                .collect();
            let sent: Vec<_> = values.iter().map(|value| value.trim().to_owned()).collect();
            prop_assert_eq!(kept, sent);
        }
    }
}

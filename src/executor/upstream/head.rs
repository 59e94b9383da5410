//! Heads on their way in and out: what an attempt adds to the stored request, and what is kept of a response.

use bytes::{Bytes, BytesMut};
use http::{HeaderName, header};
use pingora::http::ResponseHeader;

use crate::{
    model::trace::{Part, TraceContext, span_id},
    store::RunClaim,
};

/// The stored head with the headers of this attempt: `Raincheck-Run-Id`, `Raincheck-Attempt`, `X-Request-Id` unless
/// the caller sent one, and our mark at the end of `CDN-Loop` (RFC 8586). If it is traced, `traceparent` names the
/// attempt's span; otherwise it is the caller's.
pub(super) fn of_attempt(claim: &RunClaim, loop_id: &str, is_traced: bool) -> Bytes {
    let stored = &claim.request.head;
    let mut head = BytesMut::with_capacity(stored.len() + 192);
    let mut marks: Vec<&[u8]> = Vec::new();
    let mut has_request_id = false;
    for line in stored.split_inclusive(|byte| *byte == b'\n') {
        if line == b"\r\n" || line == b"\n" {
            break;
        }
        match header_line(line) {
            Some((name, value)) if name.eq_ignore_ascii_case(b"cdn-loop") => {
                marks.push(value);
                continue;
            }
            Some((name, _)) if is_traced && name.eq_ignore_ascii_case(b"traceparent") => continue,
            Some((name, _)) => has_request_id |= name.eq_ignore_ascii_case(b"x-request-id"),
            None => {}
        }
        head.extend_from_slice(line);
    }
    let id = claim.run.id.to_string();
    if !has_request_id {
        put(&mut head, "X-Request-Id", &[id.as_bytes()]);
    }
    put(&mut head, "Raincheck-Run-Id", &[id.as_bytes()]);
    let attempt = claim.run.progress.attempts.to_string();
    put(&mut head, "Raincheck-Attempt", &[attempt.as_bytes()]);
    if is_traced {
        let span = span_id(claim.run.id, Part::Attempt(claim.run.progress.attempts));
        let parent = TraceContext::of(&claim.run).header(span);
        put(&mut head, "traceparent", &[parent.as_bytes()]);
    }
    marks.push(loop_id.as_bytes());
    put(&mut head, "CDN-Loop", &marks);
    head.extend_from_slice(b"\r\n");
    head.freeze()
}

fn header_line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    Some((&line[..colon], line[colon + 1..].trim_ascii()))
}

fn put(head: &mut BytesMut, name: &str, values: &[&[u8]]) {
    head.extend_from_slice(name.as_bytes());
    for (index, value) in values.iter().enumerate() {
        head.extend_from_slice(if index == 0 { b": " } else { b", " });
        head.extend_from_slice(value);
    }
    head.extend_from_slice(b"\r\n");
}

/// Headers that speak of one connection only (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Takes hop-by-hop headers and `Raincheck-*` out of a response's head.
pub(super) fn strip(response: &mut ResponseHeader) {
    let gone: Vec<HeaderName> = response
        .headers
        .keys()
        .filter(|name| {
            HOP_BY_HOP.contains(name)
                || name.as_str().starts_with("raincheck-")
                || named_by_connection(response, name)
        })
        .cloned()
        .collect();
    for name in &gone {
        response.remove_header(name);
    }
}

/// A response's head as it is stored: HTTP/1.1 text without hop-by-hop headers and without `Raincheck-*`.
pub(super) fn kept(mut response: ResponseHeader) -> Bytes {
    strip(&mut response);
    let mut head = BytesMut::with_capacity(512);
    head.extend_from_slice(b"HTTP/1.1 ");
    head.extend_from_slice(response.status.as_str().as_bytes());
    head.extend_from_slice(b" ");
    head.extend_from_slice(response.get_reason_phrase().unwrap_or_default().as_bytes());
    head.extend_from_slice(b"\r\n");
    response.header_to_h1_wire(&mut head);
    head.extend_from_slice(b"\r\n");
    head.freeze()
}

fn named_by_connection(response: &ResponseHeader, name: &HeaderName) -> bool {
    response
        .headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case(name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_by_hop_headers_and_our_own_are_not_kept() {
        let mut response = ResponseHeader::build(200, None).unwrap();
        for (name, value) in [
            ("Connection", "close, X-Private"),
            ("X-Private", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Transfer-Encoding", "chunked"),
            ("Raincheck-Run-State", "succeeded"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
            ("X-CaSe", "kept"),
        ] {
            response.append_header(name, value).unwrap();
        }
        let head = kept(response);
        let mut lines: Vec<_> = std::str::from_utf8(&head).unwrap().lines().collect();
        lines[1..].sort_unstable();
        let expected = [
            "HTTP/1.1 200 OK",
            "",
            "Set-Cookie: a=1",
            "Set-Cookie: b=2",
            "X-CaSe: kept",
        ];
        assert_eq!(lines, expected);
    }
}

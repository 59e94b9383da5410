//! The head of a stored response, between its HTTP/1.1 text and its parts.

use bytes::{BufMut, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{SET_COOKIE, STRICT_TRANSPORT_SECURITY},
};

/// Headers that act on the application's whole origin and not on one response: whoever shows the response elsewhere
/// withholds them.
pub const OF_THE_ORIGIN: [HeaderName; 4] = [
    SET_COOKIE,
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("alt-svc"),
    STRICT_TRANSPORT_SECURITY,
];

/// Status and headers of a stored response. Repeated header lines stay repeated, and values may be any bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// Its HTTP status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
}

/// The text is no head of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored head is no HTTP/1.1 head of a response")]
pub struct InvalidHead;

impl ResponseHead {
    /// Reads a status line and header lines, each ended by CRLF (RFC 9112 §4 and §5), up to the empty line.
    ///
    /// # Errors
    /// When a line is malformed, or the empty line is missing.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidHead> {
        let (status, mut rest) = line(text)?;
        let status = status
            .strip_prefix(b"HTTP/1.1 ")
            .and_then(|status| status.get(..3))
            .and_then(|status| StatusCode::from_bytes(status).ok())
            .ok_or(InvalidHead)?;
        let mut headers = HeaderMap::new();
        loop {
            let (header, after) = line(rest)?;
            if header.is_empty() {
                return Ok(Self { status, headers });
            }
            let colon = memchr::memchr(b':', header).ok_or(InvalidHead)?;
            let name = HeaderName::from_bytes(&header[..colon]).map_err(|_| InvalidHead)?;
            let value = header[colon + 1..].trim_ascii();
            headers.append(
                name,
                HeaderValue::from_bytes(value).map_err(|_| InvalidHead)?,
            );
            rest = after;
        }
    }

    /// The text that [`ResponseHead::parse`] reads.
    pub fn to_text(&self) -> Bytes {
        let mut text = BytesMut::with_capacity(32 + 48 * self.headers.len());
        text.put_slice(b"HTTP/1.1 ");
        text.put_slice(self.status.as_str().as_bytes());
        text.put_slice(b" ");
        text.put_slice(
            self.status
                .canonical_reason()
                .unwrap_or_default()
                .as_bytes(),
        );
        text.put_slice(b"\r\n");
        for (name, value) in &self.headers {
            text.put_slice(name.as_str().as_bytes());
            text.put_slice(b": ");
            text.put_slice(value.as_bytes());
            text.put_slice(b"\r\n");
        }
        text.put_slice(b"\r\n");
        text.freeze()
    }
}

fn line(text: &[u8]) -> Result<(&[u8], &[u8]), InvalidHead> {
    let end = memchr::memmem::find(text, b"\r\n").ok_or(InvalidHead)?;
    Ok((&text[..end], &text[end + 2..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_head_reads_back_with_repeated_lines_and_any_bytes() {
        let head = ResponseHead::parse(
            b"HTTP/1.1 201 Made\r\nSet-Cookie: a=1\r\nset-cookie:b=2 \r\nX-Latin: caf\xe9\r\nX-None:\r\n\r\nbody",
        )
        .unwrap();
        assert_eq!(head.status, 201);
        let cookies: Vec<_> = head.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
        assert_eq!(head.headers["x-latin"].as_bytes(), b"caf\xe9");
        assert_eq!(head.headers["x-none"], "");
        assert_eq!(ResponseHead::parse(&head.to_text()), Ok(head));
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for text in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 20",
            b"HTTP/1.1 20x OK\r\n\r\n",
            b"HTTP/2 200\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\na: \x01\r\n\r\n",
        ] {
            assert_eq!(ResponseHead::parse(text), Err(InvalidHead));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: Vec<u8>) {
            let _ = ResponseHead::parse(&text);
        }
    }
}

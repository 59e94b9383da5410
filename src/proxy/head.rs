//! The checks on a request's head that come before everything else.

use http::{Method, Version, header};
use pingora::http::authority::{RawTargetAuthority, raw_target_authority};
use pingora::{
    http::RequestHeader,
    protocols::http::{ServerSession, v1::server::HttpSession as HttpSessionV1},
};

use crate::model::{
    exchange::path,
    problem::{Code, Problem},
};

/// The largest head that is taken, in bytes.
pub(super) const LARGEST: usize = 64 * 1024;

/// Checks a head, and makes it plain: an absolute-form target becomes a `Host` and an origin-form target.
///
/// # Errors
/// What is wrong with the head, for the caller.
pub(super) fn check(session: &mut ServerSession) -> Result<(), Problem> {
    if let ServerSession::H1(h1) = &*session {
        check_h1(h1)?;
    }
    let request = session.req_header_mut();
    if request.raw_path().first() != Some(&b'/') {
        make_plain(request)?;
    }
    if request.version == Version::HTTP_11 && !request.headers.contains_key(header::HOST) {
        let detail = "The request has no Host header; HTTP/1.1 requires one (RFC 9112 §3.2).";
        return Err(Problem::new(Code::BadRequest, detail));
    }
    if path::has_dot_segments(path::of_target(request.raw_path())) {
        let detail = "The path has `.` or `..` segments, plain or percent-encoded; send the path that they lead to.";
        return Err(Problem::new(Code::AmbiguousPath, detail));
    }
    Ok(())
}

/// What is seen only in the head as it came: its size, and a `Content-Length` that Pingora has removed beside
/// `Transfer-Encoding`. (HTTP/2 heads are limited by the connection's settings.)
fn check_h1(session: &HttpSessionV1) -> Result<(), Problem> {
    let raw = session.get_headers_raw_bytes();
    if raw.len() > LARGEST {
        let detail = format!(
            "The request's head is {} bytes; at most {LARGEST} are taken. Send fewer or shorter headers.",
            raw.len()
        );
        return Err(Problem::new(Code::HeadTooLarge, detail));
    }
    let request = session.req_header();
    if request.headers.contains_key(header::TRANSFER_ENCODING) && has_content_length(&raw) {
        let detail =
            "The request has both Content-Length and Transfer-Encoding; send one (RFC 9112 §6.1).";
        return Err(Problem::new(Code::BadRequest, detail));
    }
    Ok(())
}

fn has_content_length(raw: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length:";
    raw.split(|&byte| byte == b'\n').skip(1).any(|line| {
        line.get(..NAME.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(NAME))
    })
}

/// Turns an absolute-form target into `Host` and origin-form (RFC 9112 §3.2.2). `OPTIONS *` stays.
fn make_plain(request: &mut RequestHeader) -> Result<(), Problem> {
    let target = request.raw_path().to_vec();
    if let RawTargetAuthority::Absolute {
        scheme,
        authority,
        path_and_query,
    } = raw_target_authority(&target)
        && (scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https"))
    {
        let plain = match path_and_query {
            [] => b"/".to_vec(),
            [b'/', ..] => path_and_query.to_vec(),
            query => [b"/", query].concat(),
        };
        let replaced = request
            .insert_header(header::HOST, authority)
            .and_then(|()| request.set_raw_path(&plain));
        if replaced.is_ok() {
            return Ok(());
        }
    }
    if target == b"*" && request.method == Method::OPTIONS {
        return Ok(());
    }
    let detail = "The request target is neither a path nor an http URL (RFC 9112 §3.2).";
    Err(Problem::new(Code::BadRequest, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn checked(head: &[u8]) -> (Result<(), Code>, RequestHeader) {
        let mut session =
            ServerSession::new_http1(Box::new(pingora::protocols::l4::stream::Stream::from(
                pingora::protocols::l4::virt::VirtualSocketStream::new(Box::new(Scripted(
                    std::io::Cursor::new(head.to_vec()),
                ))),
            )));
        assert!(session.read_request().await.unwrap());
        let result = check(&mut session).map_err(|problem| problem.code);
        (result, session.req_header().clone())
    }

    #[derive(Debug)]
    struct Scripted(std::io::Cursor<Vec<u8>>);

    impl pingora::protocols::l4::virt::VirtualSocket for Scripted {
        fn set_socket_option(
            &self,
            _: pingora::protocols::l4::virt::VirtualSockOpt,
        ) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl tokio::io::AsyncRead for Scripted {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::pin::Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl tokio::io::AsyncWrite for Scripted {
        fn poll_write(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buf: &[u8],
        ) -> std::task::Poll<std::io::Result<usize>> {
            std::task::Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn poll_shutdown(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn an_absolute_form_targets_authority_is_the_host() {
        let (result, request) = checked(b"GET http://one.example:81?q=1 HTTP/1.1\r\n\r\n").await;
        assert_eq!(result, Ok(()));
        assert_eq!(request.raw_path(), b"/?q=1");
        assert_eq!(request.headers[header::HOST], "one.example:81");
    }

    #[tokio::test]
    async fn heads_that_can_be_read_in_two_ways_are_refused() {
        for head in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\ncontent-LENGTH:3\r\n\r\n",
            b"GET ftp://a/b HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            let (result, _) = checked(head).await;
            assert_eq!(result, Err(Code::BadRequest), "{}", head.escape_ascii());
        }
        let (result, _) = checked(b"GET /a/%2e%2e/b HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(result, Err(Code::AmbiguousPath));
    }

    #[tokio::test]
    async fn ordinary_heads_pass_as_they_are() {
        for head in [
            &b"GET /a?b=../c HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"GET / HTTP/1.0\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nX-Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            let (result, _) = checked(head).await;
            assert_eq!(result, Ok(()), "{}", head.escape_ascii());
        }
    }

    #[tokio::test]
    async fn a_head_over_the_limit_is_too_large() {
        let head = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "x".repeat(LARGEST)
        );
        let (result, _) = checked(head.as_bytes()).await;
        assert_eq!(result, Err(Code::HeadTooLarge));
    }
}

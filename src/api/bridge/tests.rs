//! What a client gets from a router through a Pingora session, byte by byte.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::routing::{any, get};
use futures::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

fn router() -> Router {
    let pieces = || Body::from_stream(stream::iter(["ab", "cde"].map(io::Result::Ok)));
    let broken = || {
        let pieces = [Ok("ab"), Err(io::Error::other("no more"))];
        Body::from_stream(stream::iter(pieces))
    };
    Router::new()
        .route("/whole", get(async || "hello"))
        .route("/pieces", get(async move || pieces()))
        .route("/broken", get(async move || broken()))
        .route("/nothing", get(async || StatusCode::NO_CONTENT))
        .route("/unchanged", get(async || StatusCode::NOT_MODIFIED))
        .route("/length", any(async |body: Bytes| body.len().to_string()))
}

async fn session(request: &[u8], buffer: usize) -> (ServerSession, DuplexStream) {
    let (mut client, server) = duplex(buffer.max(request.len()));
    client.write_all(request).await.unwrap();
    let mut session = ServerSession::new_http1(Box::new(server));
    assert!(session.read_request().await.unwrap());
    (session, client)
}

/// The answer's status line and headers, its body, and whether it was answered whole.
async fn get_answer(request: &str) -> (String, String, bool) {
    let (mut session, mut client) = session(request.as_bytes(), 256 * 1024).await;
    let target = session.req_header().uri.clone();
    let answered = answer(&mut session, router(), target).await.is_ok();
    drop(session);
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned(), answered)
}

#[tokio::test]
async fn a_whole_body_is_framed_by_its_length() {
    let (head, body, answered) = get_answer("GET /whole HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(
        head.starts_with("http/1.1 200") && head.contains("content-length: 5"),
        "{head}"
    );
    assert_eq!((body.as_str(), answered), ("hello", true));
}

#[tokio::test]
async fn a_body_of_unknown_length_is_chunked_or_ends_with_an_old_connection() {
    let (head, body, _) = get_answer("GET /pieces HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    assert_eq!(body, "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n");
    let (head, body, _) = get_answer("GET /pieces HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(body, "abcde");
}

#[tokio::test]
async fn a_head_request_gets_the_head_alone() {
    let (head, body, _) = get_answer("HEAD /whole HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(head.contains("content-length: 5"), "{head}");
    assert_eq!(body, "");
}

#[tokio::test]
async fn answers_without_a_body_have_no_length() {
    for path in ["nothing", "unchanged"] {
        let (head, body, _) = get_answer(&format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert!(
            !head.contains("content-length") && !head.contains("transfer"),
            "{head}"
        );
        assert_eq!(body, "");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_never_looks_whole() {
    let (_, body, answered) = get_answer("GET /broken HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(!answered);
    assert!(!body.ends_with("0\r\n\r\n"), "{body}");
}

#[tokio::test]
async fn a_request_body_is_handed_over_up_to_its_limit() {
    let with = |length: usize| {
        let body = "x".repeat(length);
        format!("DELETE /length HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let (_, body, _) = get_answer(&with(REQUEST_BODY_MAX)).await;
    assert_eq!(body, REQUEST_BODY_MAX.to_string());
    let (head, ..) = get_answer(&with(REQUEST_BODY_MAX + 1)).await;
    assert!(head.starts_with("http/1.1 413"), "{head}");
}

#[tokio::test(start_paused = true)]
async fn a_request_body_that_does_not_come_is_not_waited_for() {
    let request = "DELETE /length HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx";
    let (head, ..) = get_answer(request).await;
    assert!(head.starts_with("http/1.1 408"), "{head}");
}

#[tokio::test]
async fn a_connection_stays_open_after_a_whole_answer() {
    let (mut session, client) = session(b"GET /whole HTTP/1.1\r\nHost: a\r\n\r\n", 4096).await;
    let target = session.req_header().uri.clone();
    answer(&mut session, router(), target).await.unwrap();
    assert!(session.finish().await.unwrap().is_some());
    drop(client);
}

/// Counts the pieces that were asked for, and is told when it is dropped.
fn endless() -> (Router, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let handler = async move || {
        let pieces = stream::repeat_with(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            io::Result::Ok(Bytes::from_static(&[0; 1024]))
        });
        Body::from_stream(pieces)
    };
    (Router::new().route("/", get(handler)), count)
}

#[tokio::test]
async fn a_slow_client_slows_the_stream_and_one_that_leaves_ends_it() {
    let (router, count) = endless();
    let (mut session, mut client) = session(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 4096).await;
    let weak = Arc::downgrade(&count);
    let answering = async {
        let unanswered = answer(&mut session, router, Uri::from_static("/"))
            .await
            .unwrap_err();
        assert!(matches!(unanswered, Unanswered::ClientLeft(_)));
    };
    let reading = async {
        let mut read = [0; 16 * 1024];
        client.read_exact(&mut read).await.unwrap();
        let asked = count.load(Ordering::SeqCst);
        assert!(
            asked < 16 * 1024,
            "{asked} pieces were asked for, and 16 read"
        );
        drop(client);
    };
    tokio::join!(answering, reading);
    drop(count);
    assert!(weak.upgrade().is_none(), "the stream was dropped");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_ends_the_wait_for_it() {
    let never = Router::new().route("/", get(std::future::pending::<()>));
    let (mut session, client) = session(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 4096).await;
    drop(client);
    let unanswered = answer(&mut session, never, Uri::from_static("/"))
        .await
        .unwrap_err();
    assert!(matches!(unanswered, Unanswered::ClientLeft(_)));
}

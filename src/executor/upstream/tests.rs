//! What is relied on of Pingora's subrequests, against real upstreams on loopback.

#![expect(
    clippy::disallowed_methods,
    reason = "a test's servers end with its runtime"
)]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use pingora::upstreams::peer::HttpPeer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::*;
use crate::executor::testing::{FakeStore, claim, policy, request};

mod passing;

/// A host with one peer, which answers `/forbidden` itself.
struct Host {
    peer: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Host {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> pingora::Result<bool> {
        let from_client = session
            .client_addr()
            .and_then(|address| address.as_inet())
            .is_some_and(|address| address.to_string() == "192.0.2.7:4711");
        if session.req_header().headers.contains_key("x-forbidden") || !from_client {
            session
                .respond_error_with_body(403, Bytes::from_static(b"not you"))
                .await?;
            return Ok(true);
        }
        Ok(false)
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _ctx: &mut (),
    ) -> pingora::Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(self.peer, false, String::new());
        peer.options.connection_timeout = Some(Duration::from_secs(5));
        Ok(Box::new(peer))
    }
}

struct Stage {
    store: Arc<FakeStore>,
    pipeline: Pipeline<Host>,
}

fn stage(peer: SocketAddr) -> Stage {
    let store = FakeStore::new();
    let clock = Arc::new(store.clock.clone());
    let conf = Arc::new(ServerConf::default());
    let pipeline = Pipeline::new(&conf, Hosted::new(Host { peer }), store.clone(), clock);
    Stage { store, pipeline }
}

impl Stage {
    async fn attempt(&self, claim: &RunClaim) -> (Attempted, Arc<Contact>) {
        let contact = Arc::new(Contact::default());
        let attempted = self.pipeline.attempt(claim, &contact).await;
        (attempted, contact)
    }

    async fn body(&self, attempted: &Attempted) -> Vec<u8> {
        let body = &attempted.response.as_ref().unwrap().body;
        let mut reader = self.store.spool().reader(body);
        let mut all = Vec::new();
        while let Some(piece) = reader.next().await.unwrap() {
            all.extend_from_slice(&piece);
        }
        all
    }
}

/// An upstream that reads one request head, writes `answer` and closes; gives back the head that came.
async fn upstream(answer: impl Into<Vec<u8>>) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = answer.into();
    let task = tokio::task::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        let _ = stream.write_all(&answer).await;
        head
    });
    (address, task)
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn get() -> RunClaim {
    claim(policy("app"), request("GET", "", Body::EMPTY))
}

fn head_of(attempted: &Attempted) -> String {
    let head = &attempted.response.as_ref().unwrap().head;
    String::from_utf8(head.to_vec()).unwrap()
}

fn answered(status: u16) -> Outcome {
    Outcome::Answered {
        status,
        retry_after: None,
    }
}

async fn outcome_of(answer: &'static [u8], claim: &RunClaim) -> Outcome {
    let (address, _upstream) = upstream(answer).await;
    stage(address).attempt(claim).await.0.outcome
}

#[tokio::test]
async fn a_request_goes_as_stored_with_the_headers_of_its_attempt() {
    let (address, upstream) = upstream("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await;
    let stage = stage(address);
    let headers = "X-CaSe: 1\r\nCDN-Loop: one; v=1\r\ncdn-loop: two\r\n";
    let claim = claim(policy("app"), request("GET", headers, Body::EMPTY));
    let (attempted, contact) = stage.attempt(&claim).await;
    assert_eq!(attempted.outcome, answered(200));
    assert_eq!(stage.body(&attempted).await, b"hi");
    assert_eq!(
        head_of(&attempted),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    );
    assert!(contact.may_have_sent() && !contact.was_reused());
    let id = claim.run.id;
    assert_eq!(
        upstream.await.unwrap(),
        format!(
            "GET /work?x=1 HTTP/1.1\r\nHost: app\r\nX-CaSe: 1\r\nX-Request-Id: {id}\r\nRaincheck-Run-Id: {id}\r\n\
             Raincheck-Attempt: 1\r\nCDN-Loop: one; v=1, two, raincheck-abc\r\n\r\n"
        )
    );
}

#[tokio::test]
async fn the_callers_request_id_stays() {
    let (address, upstream) = upstream("HTTP/1.1 204 No Content\r\n\r\n").await;
    let claim = claim(
        policy("app"),
        request("DELETE", "x-request-ID: mine\r\n", Body::EMPTY),
    );
    let (attempted, _) = stage(address).attempt(&claim).await;
    assert_eq!(attempted.outcome, answered(204));
    let head = upstream.await.unwrap();
    assert!(head.contains("x-request-ID: mine\r\n") && !head.contains("X-Request-Id"));
}

#[tokio::test]
async fn chunks_are_joined_and_1xx_and_trailers_dropped() {
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\
                  Trailer: X-Sum\r\nRaincheck-Error: no\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n";
    let (address, _upstream) = upstream(answer).await;
    let stage = stage(address);
    let (attempted, _) = stage.attempt(&get()).await;
    assert_eq!(attempted.outcome, answered(201));
    assert_eq!(stage.body(&attempted).await, b"abcde");
    assert_eq!(head_of(&attempted), "HTTP/1.1 201 Created\r\n\r\n");
}

#[tokio::test]
async fn answers_without_a_body_are_whole() {
    let head = claim(policy("app"), request("HEAD", "", Body::EMPTY));
    assert_eq!(
        outcome_of(
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
            &head
        )
        .await,
        answered(200)
    );
    assert_eq!(
        outcome_of(b"HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n", &get()).await,
        answered(304)
    );
    assert_eq!(
        outcome_of(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &get()).await,
        answered(200)
    );
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_is_whole() {
    let (address, _upstream) = upstream("HTTP/1.1 200 OK\r\n\r\nall of it").await;
    let stage = stage(address);
    let (attempted, _) = stage.attempt(&get()).await;
    assert_eq!(attempted.outcome, answered(200));
    assert_eq!(stage.body(&attempted).await, b"all of it");
}

#[tokio::test]
async fn truncated_answers_are_broken() {
    for answer in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"this is not HTTP\r\n\r\n",
    ] {
        let outcome = outcome_of(answer, &get()).await;
        assert_eq!(
            outcome,
            Outcome::Broken,
            "{:?}",
            String::from_utf8_lossy(answer)
        );
    }
}

#[tokio::test]
async fn retry_after_is_read() {
    let outcome = outcome_of(
        b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
        &get(),
    )
    .await;
    let retry_after = Some(Duration::from_secs(7));
    assert_eq!(
        outcome,
        Outcome::Answered {
            status: 503,
            retry_after
        }
    );
}

#[tokio::test]
async fn nothing_is_sent_for_a_claim_that_may_be_anothers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stage = stage(listener.local_addr().unwrap());
    stage.store.go_stale();
    let claim = get();
    let (attempted, mut stream) = tokio::join!(stage.attempt(&claim), async {
        let (stream, _) = listener.accept().await.unwrap();
        stream
    });
    let outcome = attempted.0.outcome;
    assert_eq!(outcome, Outcome::NotSent { other_peer: false });
    let mut came = Vec::new();
    stream.read_to_end(&mut came).await.unwrap();
    assert!(came.is_empty());
}

#[tokio::test]
async fn a_refused_connection_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (attempted, contact) = stage(address).attempt(&get()).await;
    assert_eq!(attempted.outcome, Outcome::NotSent { other_peer: false });
    assert!(!contact.may_have_sent());
}

#[tokio::test]
async fn the_hosts_own_answer_is_the_response() {
    let (address, _upstream) = upstream("").await;
    let stage = stage(address);
    let claim = claim(
        policy("app"),
        request("GET", "X-Forbidden: yes\r\n", Body::EMPTY),
    );
    let (attempted, contact) = stage.attempt(&claim).await;
    assert_eq!(attempted.outcome, answered(403));
    assert_eq!(stage.body(&attempted).await, b"not you");
    assert!(!contact.may_have_sent());
}

#[tokio::test]
async fn a_body_over_the_limit_ends_the_connection() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let endless = tokio::task::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            stream.write_all(head.as_bytes()).await.unwrap();
            let piece = vec![b'x'; 64 * 1024];
            while stream.write_all(&piece).await.is_ok() {}
        });
        let (attempted, _) = stage(address).attempt(&get()).await;
        assert_eq!(attempted.outcome, Outcome::ResponseTooLarge);
        endless.await.unwrap();
    }
}

#[tokio::test]
async fn long_bodies_go_both_ways_through_the_spool() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let echo = tokio::task::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        let mut body = vec![0; 700_000];
        stream.read_exact(&mut body).await.unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        head
    });
    let stage = stage(address);
    let sent: Vec<u8> = (0..700_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut writer = stage.store.spool().writer(INLINE_MAX);
    writer.write(sent.clone().into()).await.unwrap();
    let body = writer.finish().await.unwrap();
    let claim = claim(policy("app"), request("POST", "", body));
    let (attempted, _) = stage.attempt(&claim).await;
    assert_eq!(attempted.outcome, answered(200));
    assert!(matches!(
        attempted.response.as_ref().unwrap().body,
        Body::Spooled { .. }
    ));
    assert!(stage.body(&attempted).await == sent);
    assert!(echo.await.unwrap().contains("Content-Length: 700000\r\n"));
}

#[tokio::test]
async fn an_answer_before_the_whole_request_counts() {
    let (address, _upstream) =
        upstream("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")
            .await;
    let stage = stage(address);
    let body = Body::Inline(vec![b'x'; INLINE_MAX].into());
    let (attempted, _) = stage
        .attempt(&claim(policy("app"), request("POST", "", body)))
        .await;
    // The peer resets the connection for the bytes it did not read; the answer may be lost with it.
    assert!(
        matches!(
            attempted.outcome,
            Outcome::Broken | Outcome::Answered { status: 413, .. }
        ),
        "{:?}",
        attempted.outcome
    );
}

#[tokio::test]
async fn a_dropped_attempt_closes_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stage = stage(address);
    let claim = get();
    let contact = Arc::new(Contact::default());
    let attempt = stage.pipeline.attempt(&claim, &contact);
    let hanging = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream
    };
    let mut stream = tokio::select! {
        attempted = attempt => panic!("an answer without an answer: {attempted:?}"),
        stream = hanging => stream,
    };
    assert!(contact.may_have_sent());
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

/// Answers one request on a connection, then closes it or writes `second` when the next one comes.
async fn reused(second: &'static [u8]) -> (Stage, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let upstream = tokio::task::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        let first = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(first).await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(second).await.unwrap();
    });
    let stage = stage(address);
    assert_eq!(stage.attempt(&get()).await.0.outcome, answered(200));
    (stage, upstream)
}

#[tokio::test]
async fn a_reused_connection_that_fails_before_any_answer_was_stale() {
    let (stage, upstream) = reused(b"").await;
    let (attempted, contact) = stage.attempt(&get()).await;
    assert_eq!(attempted.outcome, Outcome::Stale);
    assert!(contact.was_reused());
    upstream.await.unwrap();
}

#[tokio::test]
async fn a_reused_connection_that_fails_within_an_answer_broke() {
    for second in [
        &b"HTTP/1.1 200"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
    ] {
        let (stage, upstream) = reused(second).await;
        let (attempted, contact) = stage.attempt(&get()).await;
        assert_eq!(attempted.outcome, Outcome::Broken);
        assert!(contact.was_reused());
        upstream.await.unwrap();
    }
}

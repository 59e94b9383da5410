//! Requests that callers wait for, and that may become runs.

use pingora::protocols::{GetSocketDigest, SocketDigest, Stream, http::subrequest::server};

use super::*;
use crate::executor::Call;

/// A caller's session with this request, and the other end of its connection.
async fn caller(request: &str) -> (ServerSession, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    let (stream, address) = listener.accept().await.unwrap();
    let mut stream = pingora::protocols::l4::stream::Stream::from(stream);
    let digest = SocketDigest::from_raw_fd(-1);
    digest.peer_addr.set(Some(address.into())).unwrap();
    stream.set_socket_digest(digest);
    let stream: Stream = Box::new(stream);
    let mut session = ServerSession::new_http1(stream);
    assert!(session.read_request().await.unwrap());
    (session, client)
}

fn call(session: &mut ServerSession) -> Call {
    Call {
        id: get().run.id,
        route: "app".to_owned(),
        head: Box::new(session.req_header().clone()),
        has_body: !session.is_body_empty(),
        client: None,
        tls: false,
    }
}

/// A host that answers whoever asks, unlike [`Host`]: these callers are on loopback.
struct Open(SocketAddr);

#[async_trait]
impl ProxyHttp for Open {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(
        &self,
        session: &mut Session,
        _ctx: &mut (),
    ) -> pingora::Result<Box<HttpPeer>> {
        assert!(run_mark(session).is_some());
        Ok(Box::new(HttpPeer::new(self.0, false, String::new())))
    }
}

fn open(peer: SocketAddr) -> Pipeline<Open> {
    let store = FakeStore::new();
    let clock = Arc::new(store.clock.clone());
    let conf = Arc::new(ServerConf::default());
    Pipeline::new(&conf, Hosted::new(Open(peer)), store, clock)
}

/// The tasks of a passage to its end, in short.
async fn heard(passage: &mut Passage) -> Vec<String> {
    let mut heard = Vec::new();
    while let Some(task) = passage.next().await {
        heard.push(match task {
            HttpTask::Header(head, _) => format!("head {}", head.status.as_u16()),
            HttpTask::Body(piece, _) => format!(
                "body {}",
                String::from_utf8_lossy(&piece.unwrap_or_default())
            ),
            HttpTask::Done => "done".to_owned(),
            other => format!("{other:?}"),
        });
    }
    heard
}

#[tokio::test]
async fn the_edited_head_is_sent_and_the_response_comes_piece_by_piece() {
    let answer = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let (address, upstream) = upstream(answer).await;
    let (mut session, _client) = caller("GET /a HTTP/1.1\r\nHost: app\r\nX-CaSe: 1\r\n\r\n").await;
    let mut call = call(&mut session);
    call.head.insert_header("X-Edited", "yes").unwrap();
    call.head.remove_header("x-case");
    let pipeline = open(address);
    let mut passage = pipeline.pass(&session, call).await.unwrap();
    assert_eq!(
        heard(&mut passage).await,
        ["head 103", "head 200", "body hi", "done"]
    );
    assert_eq!(
        upstream.await.unwrap(),
        "GET /a HTTP/1.1\r\nHost: app\r\nX-Edited: yes\r\n\r\n"
    );
    assert!(passage.contact().has_answer_begun() && !passage.contact().is_run());
    assert!(passage.take_error().is_none());
}

#[tokio::test]
async fn bodies_are_fed_with_and_without_a_length() {
    for (framing, sent) in [
        ("Content-Length: 6", "abcdef"),
        (
            "Transfer-Encoding: chunked",
            "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let length = sent.len();
        let upstream = tokio::task::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                .await
                .unwrap();
            String::from_utf8(body).unwrap()
        });
        let request = format!("POST / HTTP/1.1\r\nHost: app\r\n{framing}\r\n\r\n");
        let (mut session, _client) = caller(&request).await;
        let call = call(&mut session);
        assert!(call.has_body);
        let mut passage = open(address).pass(&session, call).await.unwrap();
        let feeder = passage.feeder();
        for (piece, end) in [("abc", false), ("def", true)] {
            assert!(feeder.has_room());
            feeder.feed(HttpTask::Body(Some(piece.into()), end));
        }
        assert_eq!(heard(&mut passage).await, ["head 204", "done"]);
        assert_eq!(upstream.await.unwrap(), sent);
        // What takes no more has room for whatever comes.
        feeder.room().await;
        assert!(feeder.has_room());
    }
}

#[tokio::test]
async fn a_response_that_came_before_the_run_was_stored_is_the_runs() {
    let (address, _upstream) =
        upstream("HTTP/1.1 201 Created\r\nRaincheck-Error: no\r\nContent-Length: 2\r\n\r\nhi")
            .await;
    let (mut session, _client) = caller("GET /a HTTP/1.1\r\nHost: app\r\n\r\n").await;
    let call = call(&mut session);
    let store = FakeStore::new();
    let clock = Arc::new(store.clock.clone());
    let conf = Arc::new(ServerConf::default());
    let pipeline = Pipeline::new(&conf, Hosted::new(Open(address)), store.clone(), clock);
    let mut passage = pipeline.pass(&session, call).await.unwrap();
    let stored = async {
        while !passage.contact().has_answer_begun() {
            let went_on = tokio::time::timeout(Duration::from_millis(5), passage.go_on()).await;
            assert!(went_on.is_err(), "it waits for the store");
        }
        passage
    };
    let passage = stored.await;
    let attempted = pipeline.take_over(&get(), passage).await;
    assert_eq!(attempted.outcome, answered(201));
    assert_eq!(
        head_of(&attempted),
        "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n"
    );
    let body = attempted.response.unwrap().body;
    assert_eq!(body, Body::Inline("hi".into()));
}

#[tokio::test]
async fn one_that_fails_says_why_before_the_run_and_ends_as_an_attempt_after() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let pipeline = open(address);
    let (mut session, _client) = caller("GET /a HTTP/1.1\r\nHost: app\r\n\r\n").await;
    let first = call(&mut session);
    let mut passage = pipeline.pass(&session, first).await.unwrap();
    assert_eq!(heard(&mut passage).await[0], "head 502");
    let error = passage.take_error().unwrap();
    assert_eq!(error.etype(), &pingora::ErrorType::ConnectRefused);

    let second = call(&mut session);
    let passage = pipeline.pass(&session, second).await.unwrap();
    passage.contact().is_run_now();
    let attempted = pipeline.take_over(&get(), passage).await;
    assert_eq!(attempted.outcome, Outcome::NotSent { other_peer: false });
}

#[tokio::test]
async fn a_dropped_passage_closes_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (mut session, _client) = caller("GET /a HTTP/1.1\r\nHost: app\r\n\r\n").await;
    let call = call(&mut session);
    let mut passage = open(address).pass(&session, call).await.unwrap();
    let hanging = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream
    };
    let mut stream = tokio::select! {
        task = passage.next() => panic!("an answer without an answer: {task:?}"),
        stream = hanging => stream,
    };
    drop(passage);
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_session_stands_for_its_caller() {
    let (session, client) = caller("GET /a HTTP/1.1\r\nHost: app\r\n\r\n").await;
    let (stands_for, _handle) = server::HttpSession::new_from_session(&session);
    let address = stands_for
        .client_addr()
        .and_then(|address| address.as_inet());
    assert_eq!(address, Some(&client.local_addr().unwrap()));
}

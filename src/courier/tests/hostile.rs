//! Receivers that refuse, hang, lie, trickle and flood: each ends as the record says, and in time.

use std::time::Duration;

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc,
};

use super::bench::{Bench, read_request, settings};
use crate::{
    config::WebhookClient,
    model::delivery::{DeliveryError, DeliveryOutcome, DeliveryState},
};

/// An attempt has 300 ms.
fn impatient() -> WebhookClient {
    WebhookClient {
        timeout: Duration::from_millis(300),
        ..settings()
    }
}

async fn failure_of(bench: &mut Bench, endpoint: &str) -> DeliveryError {
    let (run, attempt) = bench.deliver(endpoint).await;
    assert_eq!(run.delivery.unwrap().state, DeliveryState::Pending);
    match attempt.outcome {
        DeliveryOutcome::Failed(error) => error,
        DeliveryOutcome::Answered { status, .. } => panic!("answered {status}"),
    }
}

async fn status_of(bench: &mut Bench, endpoint: &str) -> u16 {
    match bench.deliver(endpoint).await.1.outcome {
        DeliveryOutcome::Answered { status, .. } => status,
        DeliveryOutcome::Failed(error) => panic!("{}", error.as_str()),
    }
}

/// Sends `piece` until nobody takes it.
async fn endlessly(mut stream: TcpStream, piece: Vec<u8>) {
    while stream.write_all(&piece).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let mut bench = Bench::new(settings());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let endpoint = format!("http://{address}/");
    assert_eq!(
        failure_of(&mut bench, &endpoint).await,
        DeliveryError::Unreachable
    );
    let nowhere = "http://no-such-name.invalid/";
    assert_eq!(
        failure_of(&mut bench, nowhere).await,
        DeliveryError::Unreachable
    );
    assert_eq!(bench.attempts("unreachable"), 2);
}

#[tokio::test]
async fn an_address_that_the_guard_refuses_is_never_dialled() {
    let mut bench = Bench::new(WebhookClient {
        allow_networks: Vec::new(),
        ..settings()
    });
    let (dialled, mut connections) = mpsc::unbounded_channel();
    let address = bench
        .receiver(move |_| {
            dialled.send(()).unwrap();
            std::future::ready(())
        })
        .await;
    let port = address.port();
    for host in [
        "127.0.0.1",
        "2130706433",
        "localhost",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
    ] {
        let endpoint = format!("http://{host}:{port}/");
        assert_eq!(
            failure_of(&mut bench, &endpoint).await,
            DeliveryError::Unreachable
        );
    }
    assert!(connections.try_recv().is_err());
}

#[tokio::test]
async fn one_that_never_takes_the_connection_times_out() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    // One connection fills the queue of a listener that accepts nobody.
    let _queued = TcpStream::connect(address).await.unwrap();
    let mut bench = Bench::new(WebhookClient {
        connect_timeout: Duration::from_millis(200),
        ..settings()
    });
    let endpoint = format!("http://{address}/");
    assert_eq!(
        failure_of(&mut bench, &endpoint).await,
        DeliveryError::Timeout
    );
}

#[tokio::test]
async fn one_that_never_answers_times_out() {
    let mut bench = Bench::new(impatient());
    let address = bench
        .receiver(|mut stream| async move {
            read_request(&mut stream).await;
            read_request(&mut stream).await;
        })
        .await;
    let endpoint = format!("http://{address}/");
    assert_eq!(
        failure_of(&mut bench, &endpoint).await,
        DeliveryError::Timeout
    );
}

#[tokio::test]
async fn a_head_that_trickles_or_never_ends_times_out() {
    let mut bench = Bench::new(impatient());
    let slow = bench
        .receiver(|mut stream| async move {
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            for byte in
                b"HTTP/1.1 200 OK\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            {
                tick.tick().await;
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
        })
        .await;
    let endpoint = format!("http://{slow}/");
    assert_eq!(
        failure_of(&mut bench, &endpoint).await,
        DeliveryError::Timeout
    );
    for interim in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 102 Processing\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n",
    ] {
        let flooding = bench
            .receiver(move |stream| endlessly(stream, interim.as_bytes().to_vec()))
            .await;
        let endpoint = format!("http://{flooding}/");
        let failed = failure_of(&mut bench, &endpoint).await;
        assert_eq!(failed, DeliveryError::Timeout, "{interim}");
    }
}

#[tokio::test]
async fn a_thousand_interim_answers_are_no_answer() {
    let mut bench = Bench::new(settings());
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n";
    let answer = interim.repeat(500) + "HTTP/1.1 204 No Content\r\n\r\n";
    let address = bench.answering(answer.leak()).await;
    let status = status_of(&mut bench, &format!("http://{address}/")).await;
    assert_eq!(status, 204);
}

#[tokio::test]
async fn a_body_of_one_byte_a_second_is_not_waited_for() {
    let mut bench = Bench::new(settings());
    let address = bench
        .receiver(|mut stream| async move {
            read_request(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let mut tick = tokio::time::interval(Duration::from_secs(1));
            loop {
                tick.tick().await;
                if stream.write_all(b"x").await.is_err() {
                    return;
                }
            }
        })
        .await;
    let (_, attempt) = bench.deliver(&format!("http://{address}/")).await;
    assert!(matches!(
        attempt.outcome,
        DeliveryOutcome::Answered { status: 200, .. }
    ));
    assert!(attempt.took < Duration::from_secs(3), "{:?}", attempt.took);
    assert!(attempt.excerpt.starts_with('x'));
}

#[tokio::test]
async fn a_head_without_end_is_broken_off() {
    let mut bench = Bench::new(settings());
    let address = bench
        .receiver(|mut stream| async move {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ").await;
            endlessly(stream, vec![b'a'; 65536]).await;
        })
        .await;
    let endpoint = format!("http://{address}/");
    assert_eq!(
        failure_of(&mut bench, &endpoint).await,
        DeliveryError::Broken
    );
}

#[tokio::test]
async fn an_answer_of_a_gigabyte_counts_by_its_status_and_is_not_read() {
    let mut bench = Bench::new(settings());
    let address = bench
        .receiver(|mut stream| async move {
            read_request(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n";
            stream.write_all(head).await.unwrap();
            endlessly(stream, vec![b'x'; 65536]).await;
        })
        .await;
    assert_eq!(
        status_of(&mut bench, &format!("http://{address}/")).await,
        200
    );
}

#[tokio::test]
async fn a_body_that_never_ends_takes_nothing_from_the_status() {
    let mut bench = Bench::new(impatient());
    let address = bench
        .receiver(|mut stream| async move {
            read_request(&mut stream).await;
            let head = b"HTTP/1.1 201 Made\r\nContent-Length: 10\r\n\r\nabc";
            stream.write_all(head).await.unwrap();
            read_request(&mut stream).await;
        })
        .await;
    assert_eq!(
        status_of(&mut bench, &format!("http://{address}/")).await,
        201
    );
}

#[tokio::test]
async fn what_is_no_http_or_ends_midway_is_broken() {
    let mut bench = Bench::new(settings());
    for answer in [
        "",
        "HTTP/1.1 200 O",
        "HTTP/1.1 200 OK\r\nContent-Len",
        "<html>hello from HTTP/0.9</html>",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ] {
        let address = bench.answering(answer).await;
        let endpoint = format!("http://{address}/");
        assert_eq!(
            failure_of(&mut bench, &endpoint).await,
            DeliveryError::Broken,
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn odd_answers_count_by_their_status() {
    let mut bench = Bench::new(settings());
    for (answer, status) in [
        (
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
            204,
        ),
        ("HTTP/1.0 200 OK\r\n\r\nuntil the end", 200),
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", 200),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            200,
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n",
            202,
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            101,
        ),
        ("HTTP/1.1 500 No\r\n\r\n", 500),
        ("HTTP/1.1 999 Odd\r\n\r\n", 999),
    ] {
        let address = bench.answering(answer).await;
        let endpoint = format!("http://{address}/");
        assert_eq!(status_of(&mut bench, &endpoint).await, status, "{answer:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_never_followed() {
    let mut bench = Bench::new(settings());
    let (dialled, mut connections) = mpsc::unbounded_channel();
    let elsewhere = bench
        .receiver(move |_| {
            dialled.send(()).unwrap();
            std::future::ready(())
        })
        .await;
    for status in [301, 302, 303, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {status} There\r\nLocation: http://{elsewhere}/\r\nContent-Length: 0\r\n\r\n"
        );
        let address = bench.answering(answer.leak()).await;
        let (run, attempt) = bench.deliver(&format!("http://{address}/")).await;
        assert!(
            matches!(attempt.outcome, DeliveryOutcome::Answered { status: s, .. } if s == status)
        );
        assert_eq!(run.delivery.unwrap().state, DeliveryState::Pending);
    }
    assert!(connections.try_recv().is_err());
}

#[tokio::test]
async fn a_redirect_to_itself_is_asked_once() {
    let mut bench = Bench::new(settings());
    let (asked, mut requests) = mpsc::unbounded_channel();
    let address = bench
        .receiver(move |mut stream| {
            let asked = asked.clone();
            async move {
                while !read_request(&mut stream).await.is_empty() {
                    asked.send(()).unwrap();
                    let back = b"HTTP/1.1 308 Here\r\nLocation: /\r\nContent-Length: 0\r\n\r\n";
                    stream.write_all(back).await.unwrap();
                }
            }
        })
        .await;
    let status = status_of(&mut bench, &format!("http://{address}/")).await;
    assert_eq!(status, 308);
    assert_eq!(requests.try_recv(), Ok(()));
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn gone_is_dead_at_once_and_retry_after_reaches_the_record() {
    let mut bench = Bench::new(settings());
    let gone = bench.answering("HTTP/1.1 410 Gone\r\n\r\n").await;
    let (run, _) = bench.deliver(&format!("http://{gone}/")).await;
    assert_eq!(run.delivery.unwrap().state, DeliveryState::Dead);
    let busy = bench
        .answering("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n\r\n")
        .await;
    let (_, attempt) = bench.deliver(&format!("http://{busy}/")).await;
    let outcome = DeliveryOutcome::Answered {
        status: 503,
        retry_after: Some(Duration::from_secs(7)),
    };
    assert_eq!(attempt.outcome, outcome);
}

#[tokio::test]
async fn an_answer_before_the_body_is_sent_counts() {
    let mut bench = Bench::new(settings());
    let address = bench
        .receiver(|mut stream| async move {
            let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            read_request(&mut stream).await;
        })
        .await;
    let mut claim = bench.delivery(&format!("http://{address}/"));
    claim.response.body = bench.spooled(&vec![7; 4 << 20]).await;
    bench.shelf.put(&claim);
    let (_, attempt) = bench.settled().await;
    assert!(matches!(
        attempt.outcome,
        DeliveryOutcome::Answered { status: 413, .. }
    ));
}

#[tokio::test]
async fn bad_tls_is_told_from_a_bad_connection() {
    let mut bench = Bench::new(settings());
    let plain = bench
        .receiver(|mut stream| async move {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad\r\n\r\n").await;
            read_request(&mut stream).await;
        })
        .await;
    let closing = bench.receiver(|stream| async move { drop(stream) }).await;
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.unwrap())
        .unwrap();
    let config = std::sync::Arc::new(config);
    let self_signed = bench
        .receiver(move |stream| {
            let config = std::sync::Arc::clone(&config);
            async move {
                let stream = stream.into_std().unwrap();
                stream.set_nonblocking(false).unwrap();
                tokio::task::spawn_blocking(move || {
                    let mut stream = stream;
                    let mut tls = rustls::ServerConnection::new(config).unwrap();
                    while tls
                        .complete_io(&mut stream)
                        .is_ok_and(|moved| moved != (0, 0))
                    {}
                })
                .await
                .unwrap();
            }
        })
        .await;
    for address in [plain, closing, self_signed] {
        let endpoint = format!("https://{address}/");
        let failed = failure_of(&mut bench, &endpoint).await;
        assert_eq!(failed, DeliveryError::Tls, "{address}");
    }
}

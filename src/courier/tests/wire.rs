//! What a receiver sees of a delivery, byte for byte.

use bytes::Bytes;
use tokio::{io::AsyncWriteExt, sync::mpsc};

use super::bench::{Bench, SIGNING_SECRET, field, read_request, settings, split};
use crate::model::{
    delivery::{DeliveryError, DeliveryOutcome, DeliveryState},
    exchange::Body,
    run::{Reason, RunState},
    secret::Secret,
    signature::{Signed, Signing},
    time::{Clock, Timestamp},
};
use crate::store::Store;

/// A receiver that keeps what it gets and answers 200.
pub(super) async fn recording(bench: &mut Bench) -> (String, mpsc::UnboundedReceiver<Vec<u8>>) {
    let (kept, requests) = mpsc::unbounded_channel();
    let address = bench
        .receiver(move |mut stream| {
            let kept = kept.clone();
            async move {
                loop {
                    let request = read_request(&mut stream).await;
                    if request.is_empty() {
                        return;
                    }
                    kept.send(request).unwrap();
                    let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                    stream.write_all(ok).await.unwrap();
                }
            }
        })
        .await;
    (format!("http://{address}/hook?key=1"), requests)
}

fn verify(head: &str, body: &[u8], now: Timestamp) {
    let signed = Signed {
        id: field(head, "webhook-id").unwrap(),
        timestamp: field(head, "webhook-timestamp").unwrap(),
        signature: field(head, "webhook-signature").unwrap(),
    };
    let secret = Secret::new(SIGNING_SECRET);
    assert_eq!(signed.verify(&secret, body, now), Ok(()));
}

#[tokio::test]
async fn a_delivery_carries_the_body_and_the_headers_of_the_contract_and_nothing_else() {
    let mut bench = Bench::new(settings());
    let (endpoint, mut requests) = recording(&mut bench).await;
    let (run, _) = bench.deliver(&endpoint).await;
    let delivery = run.delivery.unwrap();
    assert_eq!(delivery.state, DeliveryState::Delivered);
    let request = requests.recv().await.unwrap();
    let (head, body) = split(&request).unwrap();
    assert_eq!(body, b"hello");
    verify(head, body, bench.shelf.clock.now());
    let id = run.id.to_string();
    let host = endpoint.split('/').nth(2).unwrap();
    let mut lines: Vec<&str> = head.split("\r\n").collect();
    assert_eq!(lines.remove(0), "POST /hook?key=1 HTTP/1.1");
    lines.retain(|line| !line.starts_with("webhook-signature: v1,"));
    lines.sort_unstable();
    let agent = concat!("user-agent: raincheck/", env!("CARGO_PKG_VERSION"));
    let expected = [
        "accept: */*",
        "cdn-loop: rc-test, rc-test",
        "content-length: 5",
        "content-type: text/plain",
        &format!("host: {host}"),
        "raincheck-delivery-attempt: 1",
        &format!("raincheck-run-id: {id}"),
        "raincheck-run-state: succeeded",
        "raincheck-upstream-status: 200",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        agent,
        &format!("webhook-id: msg_{}", run.id.simple()),
        "webhook-timestamp: 1700000000",
        &format!("x-request-id: {id}"),
    ];
    assert_eq!(lines, expected);
    assert_eq!(bench.attempts("delivered"), 1);
    assert_eq!(bench.metrics.delivery_lag.get_sample_count(), 1);
}

#[tokio::test]
async fn a_failed_run_says_why_and_names_no_upstream_status_that_there_was_not() {
    let mut bench = Bench::new(settings());
    let (endpoint, mut requests) = recording(&mut bench).await;
    let mut claim = bench.delivery(&endpoint);
    claim.run.state = RunState::Failed;
    claim.run.reason = Some(Reason::Timeout);
    claim.run.response.as_mut().unwrap().from_upstream = false;
    claim.response.head = Bytes::from_static(
        b"HTTP/1.1 504 Gateway Timeout\r\nContent-Encoding: br\r\nContent-Type: application/problem+json\r\n\r\n",
    );
    bench.shelf.put(&claim);
    bench.settled().await;
    let request = requests.recv().await.unwrap();
    let (head, _) = split(&request).unwrap();
    assert_eq!(field(head, "raincheck-run-state"), Some("failed"));
    assert_eq!(field(head, "raincheck-run-reason"), Some("timeout"));
    assert_eq!(field(head, "raincheck-upstream-status"), None);
    assert_eq!(field(head, "content-encoding"), Some("br"));
    let kind = field(head, "content-type");
    assert_eq!(kind, Some("application/problem+json"));
}

#[tokio::test]
async fn the_callers_secret_adds_its_signature() {
    let mut bench = Bench::new(settings());
    let (endpoint, mut requests) = recording(&mut bench).await;
    let mut claim = bench.delivery(&endpoint);
    let secret = Secret::new(*b"caller's own");
    claim.secret = Some(secret.clone());
    bench.shelf.put(&claim);
    bench.settled().await;
    let request = requests.recv().await.unwrap();
    let (head, body) = split(&request).unwrap();
    let mut signing = Signing::new(claim.run.id, bench.shelf.clock.now(), &[], Some(&secret));
    signing.update(body);
    assert_eq!(
        field(head, "x-cerebrium-webhook-signature"),
        signing.finish().cerebrium.as_deref()
    );
    let timestamp = field(head, "x-cerebrium-webhook-timestamp");
    assert_eq!(timestamp, Some("1700000000"));
}

#[tokio::test]
async fn an_empty_body_is_sent_with_its_length() {
    let mut bench = Bench::new(settings());
    let (endpoint, mut requests) = recording(&mut bench).await;
    let mut claim = bench.delivery(&endpoint);
    claim.response.body = Body::EMPTY;
    bench.shelf.put(&claim);
    bench.settled().await;
    let request = requests.recv().await.unwrap();
    let (head, body) = split(&request).unwrap();
    assert_eq!(field(head, "content-length"), Some("0"));
    verify(head, body, bench.shelf.clock.now());
}

#[tokio::test]
async fn a_spooled_body_is_signed_and_sent_whole() {
    let mut bench = Bench::new(settings());
    let (endpoint, mut requests) = recording(&mut bench).await;
    let mut claim = bench.delivery(&endpoint);
    let bytes: Vec<u8> = (0..700_000_u32)
        .map(|n| n.to_le_bytes()[n as usize % 3])
        .collect();
    claim.response.body = bench.spooled(&bytes).await;
    bench.shelf.put(&claim);
    bench.settled().await;
    let request = requests.recv().await.unwrap();
    let (head, body) = split(&request).unwrap();
    assert!(body == bytes, "the body has changed");
    assert_eq!(field(head, "content-length"), Some("700000"));
    assert_eq!(field(head, "transfer-encoding"), None);
    verify(head, body, bench.shelf.clock.now());
}

#[tokio::test]
async fn a_body_that_cannot_be_read_back_is_our_own_fault() {
    let mut bench = Bench::new(settings());
    let (endpoint, _requests) = recording(&mut bench).await;
    let mut claim = bench.delivery(&endpoint);
    let body = bench.spooled(&vec![7; 300_000]).await;
    if let Body::Spooled { name, .. } = &body {
        bench.shelf.spool().remove(name).unwrap();
    }
    claim.response.body = body;
    bench.shelf.put(&claim);
    let (_, attempt) = bench.settled().await;
    let internal = DeliveryOutcome::Failed(DeliveryError::Internal);
    assert_eq!(attempt.outcome, internal);
}

#[tokio::test]
async fn each_attempt_is_counted_and_stamped_and_signed_anew_under_one_id() {
    let mut bench = Bench::new(settings());
    let (kept, mut requests) = mpsc::unbounded_channel();
    let address = bench
        .receiver(move |mut stream| {
            let kept = kept.clone();
            async move {
                let request = read_request(&mut stream).await;
                let first = String::from_utf8_lossy(&request).contains("delivery-attempt: 1");
                kept.send(request).unwrap();
                let status = if first { "500 No" } else { "200 OK" };
                let answer =
                    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        })
        .await;
    let (run, _) = bench.deliver(&format!("http://{address}/")).await;
    assert_eq!(run.delivery.unwrap().state, DeliveryState::Pending);
    bench
        .shelf
        .clock
        .advance(std::time::Duration::from_secs(60));
    bench.shelf.notices().deliveries.miss();
    let (run, _) = bench.settled().await;
    assert_eq!(run.delivery.unwrap().state, DeliveryState::Delivered);
    let [first, second] = [
        requests.recv().await.unwrap(),
        requests.recv().await.unwrap(),
    ];
    let [(first, _), (second, body)] = [split(&first).unwrap(), split(&second).unwrap()];
    assert_eq!(field(first, "webhook-id"), field(second, "webhook-id"));
    assert_eq!(field(second, "raincheck-delivery-attempt"), Some("2"));
    assert_eq!(field(second, "webhook-timestamp"), Some("1700000060"));
    verify(second, body, bench.shelf.clock.now());
    assert_eq!(
        (bench.attempts("rejected"), bench.attempts("delivered")),
        (1, 1)
    );
}

#[tokio::test]
async fn a_connection_serves_several_deliveries() {
    let mut bench = Bench::new(settings());
    let (opened, mut connections) = mpsc::unbounded_channel();
    let address = bench
        .receiver(move |mut stream| {
            opened.send(()).unwrap();
            async move {
                while !read_request(&mut stream).await.is_empty() {
                    let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                    stream.write_all(ok).await.unwrap();
                }
            }
        })
        .await;
    for _ in 0..3 {
        bench.deliver(&format!("http://{address}/")).await;
    }
    assert_eq!(connections.try_recv(), Ok(()));
    assert!(connections.try_recv().is_err());
}

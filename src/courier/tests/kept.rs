//! What is kept of an attempt for the delivery log: where it went, what was said, why it failed.

use std::time::Duration;

use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::bench::{Bench, read_request, settings};
use crate::model::delivery::DeliveryOutcome;

#[tokio::test]
async fn an_answer_is_kept_with_its_address_and_its_first_kib() {
    let mut bench = Bench::new(settings());
    let long = "0123456789abcdef".repeat(65);
    for (body, kept) in [
        ("no\r\n", "no\r\n"),
        ("", ""),
        (long.as_str(), &long[..1024]),
    ] {
        let answer = format!(
            "HTTP/1.1 500 No\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let address = bench.answering(answer.leak()).await;
        let (_, attempt) = bench.deliver(&format!("http://{address}/")).await;
        assert_eq!(attempt.address, Some(address));
        assert_eq!(
            (attempt.excerpt.as_str(), attempt.detail.as_str()),
            (kept, "")
        );
    }
}

#[tokio::test]
async fn a_failure_is_kept_with_the_address_that_was_dialled_and_why() {
    let mut bench = Bench::new(settings());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let port = address.port();
    for endpoint in [
        format!("http://{address}/"),
        format!("http://localhost:{port}/"),
    ] {
        let (_, attempt) = bench.deliver(&endpoint).await;
        let dialled = attempt.address.unwrap();
        assert!(dialled.ip().is_loopback() && dialled.port() == port);
        assert!(!attempt.detail.is_empty());
        assert!(!attempt.detail.contains("http://"), "{}", attempt.detail);
    }
}

#[tokio::test]
async fn what_an_endless_answer_began_with_is_kept() {
    let mut bench = Bench::new(settings());
    let address = bench
        .receiver(|mut stream| async move {
            read_request(&mut stream).await;
            let begun = b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\nlater";
            stream.write_all(begun).await.unwrap();
            read_request(&mut stream).await;
        })
        .await;
    let (_, attempt) = bench.deliver(&format!("http://{address}/")).await;
    assert_eq!(attempt.excerpt, "later");
    assert!(attempt.took >= Duration::from_secs(1));
}

#[tokio::test]
async fn retry_after_is_taken_as_seconds_a_date_or_a_year_and_garbage_is_none() {
    let mut bench = Bench::new(settings());
    // The bench's clock stands at 2023-11-14T22:13:20Z.
    for (said, understood) in [
        ("Tue, 14 Nov 2023 22:14:20 GMT", Some(60)),
        ("Tue, 14 Nov 1995 22:14:20 GMT", Some(0)),
        ("Thu, 14 Nov 2024 22:13:20 GMT", Some(366 * 24 * 3600)),
        ("31622400", Some(366 * 24 * 3600)),
        ("soon", None),
        ("-1", None),
        ("1e3", None),
        ("\u{1f388}", None),
        ("", None),
    ] {
        let answer =
            format!("HTTP/1.1 503 Busy\r\nRetry-After: {said}\r\nContent-Length: 0\r\n\r\n");
        let address = bench.answering(answer.leak()).await;
        let (run, attempt) = bench.deliver(&format!("http://{address}/")).await;
        let outcome = DeliveryOutcome::Answered {
            status: 503,
            retry_after: understood.map(Duration::from_secs),
        };
        assert_eq!(attempt.outcome, outcome, "{said}");
        // The second step is 5 s: no receiver can move it further than to its double.
        let next = run.delivery.unwrap().next_attempt_at.unwrap();
        assert!(
            next.since(attempt.started_at) <= Duration::from_secs(10),
            "{said}"
        );
    }
}

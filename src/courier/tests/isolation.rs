//! One receiver's trouble is its own: limits, breakers, and a recovery without a stampede.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::{io::AsyncWriteExt, sync::Semaphore};

use super::*;
use crate::model::breaker::{BreakerState, FAILURES, PROBE_EVERY};

/// A receiver that answers 200 while `alive`, and 500 otherwise; `most` remembers how many it saw at a time.
async fn moody(bench: &mut Bench, alive: &Arc<AtomicBool>, most: &Arc<AtomicUsize>) -> String {
    let (alive, most) = (Arc::clone(alive), Arc::clone(most));
    let now = Arc::new(AtomicUsize::new(0));
    let address = bench
        .receiver(move |mut stream| {
            let (alive, most, now) = (Arc::clone(&alive), Arc::clone(&most), Arc::clone(&now));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                read_request(&mut stream).await;
                tokio::task::yield_now().await;
                let status = if alive.load(Ordering::SeqCst) {
                    "200 OK"
                } else {
                    "500 No"
                };
                now.fetch_sub(1, Ordering::SeqCst);
                let answer =
                    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        })
        .await;
    format!("http://{address}/")
}

impl Bench {
    /// Waits until nothing is out to a receiver whose breaker is open.
    async fn opened(&self) {
        let lines = self.courier.lines();
        while !lines
            .troubled()
            .iter()
            .any(|line| line.state == BreakerState::Open && line.out == 0)
        {
            tokio::task::yield_now().await;
        }
    }

    /// Moves the clock, and lets the courier look at it.
    fn pass(&self, time: Duration) {
        self.shelf.clock.advance(time);
        self.shelf.notices().deliveries.miss();
    }
}

#[tokio::test]
async fn ten_thousand_for_a_receiver_that_hangs_do_not_hold_up_one_for_another() {
    let mut bench = Bench::new(WebhookClient {
        concurrency: 32,
        timeout: Duration::from_secs(60),
        ..settings()
    });
    let never = Arc::new(Semaphore::new(0));
    let hanging = bench.gated(&never).await;
    for _ in 0..10_000 {
        let claim = bench.delivery(&hanging);
        bench.shelf.put(&claim);
    }
    let mut claimed = 0;
    while claimed < 16 {
        claimed += usize::from(matches!(bench.event().await, Event::Claimed));
    }
    let good = bench
        .answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await;
    let claim = bench.delivery(&format!("http://{good}/"));
    bench.shelf.put(&claim);
    assert!(matches!(bench.event().await, Event::Claimed));
    let (run, _) = bench.settled().await;
    assert_eq!(run.id, claim.run.id);
    // The hanging one has no more than its share, and hands over nothing more either.
    let handoff = bench.courier.handoff();
    let receiver = hanging.trim_start_matches("http://").trim_end_matches('/');
    assert!(handoff.reserve(receiver).is_none());
    assert!(handoff.reserve("another:1").is_some());
}

#[tokio::test]
async fn while_a_breaker_is_open_attempts_wait_and_are_not_used_up_and_one_probe_finds_out() {
    let mut bench = Bench::new(settings());
    let (alive, most) = (Arc::default(), Arc::default());
    let endpoint = moody(&mut bench, &alive, &most).await;
    for _ in 0..60 {
        let claim = bench.delivery(&endpoint);
        bench.shelf.put(&claim);
    }
    bench.opened().await;
    let tried = bench.attempts("rejected");
    assert!(
        (10..18).contains(&tried),
        "{tried} attempts, of 8 at a time"
    );
    assert_eq!(bench.metrics.delivery_breakers_open.get(), 1);

    // The probe fails: it is the only one that goes out, and the breaker is open again.
    bench.pass(PROBE_EVERY * 2);
    while bench.attempts("rejected") == tried {
        tokio::task::yield_now().await;
    }
    bench.opened().await;
    assert_eq!(bench.attempts("rejected"), tried + 1);

    // It comes back: nothing was lost, and it is not stormed.
    most.store(0, Ordering::SeqCst);
    alive.store(true, Ordering::SeqCst);
    bench.pass(PROBE_EVERY * 2);
    let mut delivered = 0;
    while delivered < 60 {
        let (run, _) = bench.settled().await;
        delivered += usize::from(run.delivery.unwrap().state == DeliveryState::Delivered);
        bench.pass(Duration::from_secs(5));
    }
    assert!(most.load(Ordering::SeqCst) <= 8);
    assert_eq!(bench.metrics.delivery_breakers_open.get(), 0);
    assert!(bench.courier.lines().is_empty());
}

#[tokio::test]
async fn refusals_of_one_endpoint_do_not_close_its_host_for_others() {
    let mut bench = Bench::new(settings());
    let gone = bench
        .answering("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .await;
    for _ in 0..FAILURES + 5 {
        let claim = bench.delivery(&format!("http://{gone}/"));
        bench.shelf.put(&claim);
    }
    for _ in 0..FAILURES + 5 {
        bench.settled().await;
    }
    assert!(bench.courier.lines().troubled().is_empty());
}

//! The courier's loop: what it claims, how much at a time, and how it stops.

use std::{sync::Arc, time::Duration};

use tokio::{io::AsyncWriteExt, sync::Semaphore};

use self::{
    bench::{Bench, read_request, settings},
    shelf::Event,
};
use crate::{
    config::WebhookClient,
    model::{delivery::DeliveryState, exchange::Body},
    store::Store,
};

mod bench;
mod bodies;
mod hostile;
mod isolation;
mod kept;
mod names;
mod shelf;
mod wire;

impl Bench {
    async fn spooled(&self, bytes: &[u8]) -> Body {
        let mut writer = self.shelf.spool().writer(0);
        for piece in bytes.chunks(60_000) {
            writer.write(piece.to_vec().into()).await.unwrap();
        }
        writer.finish().await.unwrap()
    }

    /// A receiver that answers 200 to as many requests as `gate` lets through.
    async fn gated(&mut self, gate: &Arc<Semaphore>) -> String {
        let gate = Arc::clone(gate);
        let address = self
            .receiver(move |mut stream| {
                let gate = Arc::clone(&gate);
                async move {
                    read_request(&mut stream).await;
                    gate.acquire().await.unwrap().forget();
                    let ok = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
                    stream.write_all(ok).await.unwrap();
                }
            })
            .await;
        format!("http://{address}/")
    }
}

#[tokio::test]
async fn no_more_are_claimed_than_there_are_slots() {
    let mut bench = Bench::new(WebhookClient {
        concurrency: 2,
        ..settings()
    });
    let gate = Arc::new(Semaphore::new(0));
    let endpoint = bench.gated(&gate).await;
    for _ in 0..5 {
        let claim = bench.delivery(&endpoint);
        bench.shelf.put(&claim);
    }
    let mut under_way = 0;
    let mut settled = 0;
    while settled < 5 {
        match bench.event().await {
            Event::Claimed => under_way += 1,
            Event::Settled(..) => (under_way, settled) = (under_way - 1, settled + 1),
            Event::Released(id) => panic!("{id} was given back"),
        }
        assert!(under_way <= 2);
        if under_way == 2 || under_way + settled == 5 {
            assert!(bench.courier.handoff().reserve("127.0.0.1:1").is_none() || settled > 3);
            gate.add_permits(1);
        }
    }
}

#[tokio::test]
async fn what_the_executor_hands_over_is_delivered_without_a_claim() {
    let mut bench = Bench::new(settings());
    let gate = Arc::new(Semaphore::new(1));
    let endpoint = bench.gated(&gate).await;
    let later = bench.delivery(&endpoint);
    let room = bench.courier.handoff().reserve("127.0.0.1:1").unwrap();
    bench.shelf.put_claimed(&later);
    room.give(later).unwrap();
    let Event::Settled(run, _) = bench.event().await else {
        panic!("it was claimed, or given back");
    };
    assert_eq!(run.delivery.unwrap().state, DeliveryState::Delivered);
}

#[tokio::test]
async fn a_drain_lets_what_is_under_way_finish_and_claims_nothing_more() {
    let mut bench = Bench::new(settings());
    let gate = Arc::new(Semaphore::new(0));
    let endpoint = bench.gated(&gate).await;
    let claim = bench.delivery(&endpoint);
    bench.shelf.put(&claim);
    assert!(matches!(bench.event().await, Event::Claimed));
    bench.courier.stop_claiming();
    let another = bench.delivery(&endpoint);
    bench.shelf.put(&another);
    gate.add_permits(1);
    bench.courier.drain(Duration::from_secs(60)).await;
    assert!(matches!(bench.event().await, Event::Settled(run, _) if run.id == claim.run.id));
    assert!(bench.courier.handoff().reserve("127.0.0.1:1").is_none());
    let left = bench.shelf.pending_deliveries(None, 9).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].id, another.run.id);
}

#[tokio::test]
async fn what_a_drain_cuts_short_is_given_back_as_it_was() {
    let mut bench = Bench::new(settings());
    let gate = Arc::new(Semaphore::new(0));
    let endpoint = bench.gated(&gate).await;
    let claim = bench.delivery(&endpoint);
    bench.shelf.put(&claim);
    assert!(matches!(bench.event().await, Event::Claimed));
    let room = bench.courier.handoff().reserve("127.0.0.1:1").unwrap();
    bench.courier.drain(Duration::ZERO).await;
    assert!(matches!(bench.event().await, Event::Released(id) if id == claim.run.id));
    // One whose room was reserved before comes too late: its claim comes back to who gives it.
    let late = bench.delivery(&endpoint);
    assert!(room.give(late).is_err());
}

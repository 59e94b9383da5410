//! Checks of what lasts, and how long.

use super::*;
use crate::store::{StoreError, Tidied, Unwritable};

async fn tidy(s: &Subject) -> Tidied {
    let mut all = Tidied::default();
    loop {
        let piece = s.store.tidy().await.unwrap();
        all.runs += piece.runs;
        all.tombstones += piece.tombstones;
        if !piece.more {
            return all;
        }
    }
}

pub(super) async fn retention(s: Subject) {
    let claim = s.accept_started(s.with_webhook("app")).await;
    let told = claim.run.id;
    let delivery = *s.end(claim, End::Succeeded, true).await.delivery.unwrap();
    let mut keyed = s.new_run("app");
    keyed.facts.has_key = true;
    keyed.key = Some(IdempotencyKey {
        scope: [3; 32],
        fingerprint: [3; 32],
    });
    let key = keyed.key;
    let claim = s.accept_started(keyed).await;
    let plain = claim.run.id;
    s.end(claim, End::Succeeded, false).await;
    s.clock.advance(RETENTION / 2);
    s.deliver(delivery, 200).await;
    assert_eq!(tidy(&s).await.runs, 0);
    s.clock.advance(RETENTION / 2);
    assert_eq!(tidy(&s).await.runs, 1);
    assert!(matches!(s.store.find(plain).await.unwrap(), Found::Expired));
    assert!(matches!(
        s.store.cancel(plain).await.unwrap(),
        Cancelled::Expired
    ));
    assert!(s.store.response(plain).await.unwrap().is_none());
    assert_eq!(s.run(told).await.state, RunState::Succeeded);
    let mut again = s.new_run("app");
    again.key = key;
    again.facts.has_key = true;
    let again = s.accept(again).await;
    s.clock.advance(RETENTION / 2);
    assert_eq!(tidy(&s).await.runs, 1);
    assert!(matches!(s.store.find(told).await.unwrap(), Found::Expired));
    s.clock.advance(RETENTION);
    assert_eq!(tidy(&s).await.tombstones, 2);
    assert!(matches!(s.store.find(plain).await.unwrap(), Found::Unknown));
    assert_eq!(s.run(again).await.state, RunState::Queued);
    let books = s.books().await;
    assert_eq!((books.accepted, books.runs(RunState::Succeeded)), (3, 2));
    assert_eq!(books.deliveries(DeliveryState::Delivered), 1);
}

pub(super) async fn retention_in_pieces(s: Subject) {
    for _ in 0..1100 {
        s.accept(s.new_run("app")).await;
    }
    for claim in s.claim("app", 2000).await {
        s.end(claim, End::Succeeded, false).await;
    }
    s.clock.advance(RETENTION);
    let first = s.store.tidy().await.unwrap();
    assert!(first.more && first.runs > 0 && first.runs < 1100);
    assert_eq!(first.runs + tidy(&s).await.runs, 1100);
    assert_eq!(s.books().await.runs(RunState::Succeeded), 1100);
}

pub(super) async fn long_bodies(s: Subject) {
    let long = Bytes::from(vec![7; 300_000]);
    let spooled = || async {
        let mut writer = s.store.spool().writer(1000);
        writer.write(long.clone()).await.unwrap();
        writer.finish().await.unwrap()
    };
    let mut new = s.new_run("app");
    new.request.body = spooled().await;
    let asked = new.request.body.clone();
    let id = s.accept(new).await;
    let claim = s.claim("app", 1).await.remove(0);
    // A store may have brought it into a file of its own.
    assert_eq!(claim.request.body.len(), asked.len());
    let mut reader = s.store.spool().reader(&claim.request.body);
    while let Some(piece) = reader.next().await.unwrap() {
        assert!(piece.iter().all(|byte| *byte == 7));
    }
    let mut answer = response("200 OK", b"");
    answer.body = spooled().await;
    let settlement = Settlement {
        began: claim.run.accepted_at,
        outcome: crate::model::retry::Outcome::Answered {
            status: 200,
            retry_after: None,
        },
        progress: claim.run.progress,
        next: Next::End(End::Succeeded),
        response: Some(answer),
        claim_delivery: false,
    };
    s.store.settle_run(claim, settlement).await.unwrap();
    let stored = s.store.response(id).await.unwrap().unwrap();
    assert_eq!(s.run(id).await.response.unwrap().bytes, 300_000);
    let mut reader = s.store.spool().reader(&stored.body);
    let mut read = 0;
    while let Some(piece) = reader.next().await.unwrap() {
        read += piece.len();
    }
    assert_eq!(read, 300_000);
}

pub(super) async fn closed(s: Subject) {
    let claim = s.accept_started(s.new_run("app")).await;
    let id = claim.run.id;
    let new = s.new_run("app");
    s.store.close().await;
    s.store.close().await;
    assert_eq!(s.store.ready(), Err(Unwritable::Closed));
    assert!(s.store.accept(new).await.is_err());
    assert!(matches!(s.store.find(id).await, Err(StoreError::Closed)));
    assert!(matches!(s.store.cancel(id).await, Err(StoreError::Closed)));
    let settlement = Settlement {
        began: claim.run.accepted_at,
        outcome: crate::model::retry::Outcome::Answered {
            status: 200,
            retry_after: None,
        },
        progress: claim.run.progress,
        next: Next::End(End::Succeeded),
        response: None,
        claim_delivery: false,
    };
    let late = s.store.settle_run(claim, settlement).await;
    assert_eq!(late.unwrap_err(), crate::store::SettleError::Closed);
}

//! Checks of what lasts, and how long.

use super::*;
use crate::{
    model::filter::Filter,
    store::{Page, Redelivered, StoreError, Unwritable},
};

/// A store may keep what has expired for a while longer: it is not shown.
async fn tidy(s: &Subject) {
    while s.store.tidy().await.unwrap().more {}
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
    tidy(&s).await;
    assert_eq!(s.run(plain).await.state, RunState::Succeeded);
    s.clock.advance(RETENTION / 2);
    tidy(&s).await;
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
    tidy(&s).await;
    assert!(matches!(s.store.find(told).await.unwrap(), Found::Expired));
    let redelivered = s.store.redeliver(vec![told]).await.unwrap();
    assert!(matches!(redelivered[..], [Redelivered::Expired]));
    let mut rounds = 0;
    while !matches!(s.store.find(plain).await.unwrap(), Found::Unknown) {
        assert!(rounds < 4, "a tombstone stays");
        rounds += 1;
        s.clock.advance(RETENTION);
        tidy(&s).await;
    }
    assert!(rounds > 0);
    assert!(matches!(s.store.find(plain).await.unwrap(), Found::Unknown));
    assert_eq!(s.run(again).await.state, RunState::Queued);
    let books = s.books().await;
    assert_eq!((books.accepted, books.runs(RunState::Succeeded)), (3, 2));
    assert_eq!(books.deliveries(DeliveryState::Delivered), 1);
}

pub(super) async fn retention_of_many(s: Subject) {
    for _ in 0..1100 {
        s.accept(s.new_run("app")).await;
    }
    for claim in s.claim("app", 2000).await {
        s.end(claim, End::Succeeded, false).await;
    }
    let listed = || async {
        let page = Page {
            before: None,
            skip: 0,
            limit: 10,
        };
        let listed = s.store.list(Filter::default(), page).await.unwrap();
        (
            listed.runs.len(),
            s.store.count(Filter::default()).await.unwrap(),
        )
    };
    assert_eq!(listed().await, (10, 1100));
    s.clock.advance(RETENTION);
    tidy(&s).await;
    assert_eq!(listed().await, (0, 0));
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

//! Checks of deliveries.

use super::*;
use crate::{model::delivery::UNTRIED, store::Redelivered};

async fn ended(s: &Subject, claim_delivery: bool) -> Settled {
    let claim = s.accept_started(s.with_webhook("app")).await;
    s.end(claim, End::Succeeded, claim_delivery).await
}

pub(super) async fn claimed_with_the_end(s: Subject) {
    let settled = ended(&s, true).await;
    let claim = *settled.delivery.unwrap();
    assert_eq!(claim.endpoint, "https://user:pw@hooks.example:8443/in?x=1");
    assert_eq!(claim.secret, Some(Secret::new(*b"hush")));
    assert_eq!(
        claim.response.body,
        Body::Inline(Bytes::from_static(b"answer"))
    );
    let known = claim.run.delivery.clone().unwrap();
    assert_eq!(
        (known.state, known.host.as_str()),
        (DeliveryState::Pending, "hooks.example")
    );
    assert!(s.deliveries(10).await.is_empty());
    assert_eq!(s.store.unfinished("app"), 1);
    let run = s.deliver(claim, 204).await;
    let delivery = run.delivery.clone().unwrap();
    assert_eq!(
        (delivery.state, delivery.attempts),
        (DeliveryState::Delivered, 1)
    );
    assert_eq!(s.run(run.id).await.delivery, Some(delivery));
    assert_eq!(s.store.unfinished("app"), 0);
    assert_eq!(s.books().await.deliveries(DeliveryState::Delivered), 1);
}

pub(super) async fn told_listed_claimed(s: Subject) {
    let first = ended(&s, false).await.run.id;
    s.clock.advance(Duration::from_millis(1));
    let second = ended(&s, false).await.run.id;
    let held = ended(&s, true).await;
    let pending = |id, due| PendingDelivery {
        id,
        receiver: "hooks.example:8443".into(),
        due,
    };
    let both = vec![
        pending(first, s.now().before(Duration::from_millis(1))),
        pending(second, s.now()),
    ];
    assert_eq!(s.store.notices().deliveries.take(), Some(both.clone()));
    assert_eq!(s.pending().await, both);
    let unknown = s.store.next_id();
    let wanted = vec![second, held.run.id, unknown, first];
    let claims = s.store.claim_deliveries(wanted).await.unwrap();
    let ids: Vec<RunId> = claims.iter().map(|claim| claim.run.id).collect();
    assert_eq!(ids, [second, first]);
    assert_eq!(claims[0].secret, Some(Secret::new(*b"hush")));
    assert!(s.pending().await.is_empty());
    let again = s.store.claim_deliveries(vec![first, second]).await;
    assert!(again.unwrap().is_empty());
    assert_eq!(s.store.notices().deliveries.take(), Some(Vec::new()));
}

pub(super) async fn redelivered(s: Subject) {
    let claim = *ended(&s, true).await.delivery.unwrap();
    let id = claim.run.id;
    let held = s.store.redeliver(vec![id]).await.unwrap().remove(0);
    assert!(matches!(held, Redelivered::UnderWay(_)));
    assert_eq!(
        s.deliver(claim, 410).await.delivery.unwrap().state,
        DeliveryState::Dead
    );
    s.clock.advance(Duration::from_secs(30));
    let none = s.accept(s.new_run("app")).await;
    let answers = s
        .store
        .redeliver(vec![s.store.next_id(), id, none])
        .await
        .unwrap();
    assert!(matches!(
        answers[..],
        [
            Redelivered::Unknown,
            Redelivered::Now(_),
            Redelivered::NoDelivery(_)
        ]
    ));
    assert_eq!(s.store.unfinished("app"), 2);
    let claim = s.deliveries(5).await.remove(0);
    assert_eq!(claim.secret, Some(Secret::new(*b"hush")));
    let delivery = claim.run.delivery.clone().unwrap();
    assert_eq!((delivery.attempts, delivery.attempts_before), (1, 1));
    assert_eq!(delivery.since, s.now());
    let again = s.deliver(claim, 503).await.delivery.unwrap();
    let due = s.now().after(Duration::from_secs(5));
    assert_eq!(
        (again.state, again.next_attempt_at),
        (DeliveryState::Pending, Some(due))
    );
    // One that waits is due at once.
    let now = s.store.redeliver(vec![id]).await.unwrap().remove(0);
    assert!(matches!(now, Redelivered::Now(_)));
    let claim = s.deliveries(5).await.remove(0);
    s.deliver(claim, 200).await;
    let books = s.books().await;
    assert_eq!(books.deliveries(DeliveryState::Delivered), 1);
    assert_eq!(books.deliveries(DeliveryState::Dead), 0);
    assert_eq!(s.store.unfinished("app"), 1);
}

pub(super) async fn dead_at_deadline(s: Subject) {
    let untried = ended(&s, false).await.run.id;
    let waiting = *ended(&s, true).await.delivery.unwrap();
    let waiting = s.deliver(waiting, 503).await.id;
    let held = *ended(&s, true).await.delivery.unwrap();
    s.clock.advance(Duration::from_secs(59));
    assert!(s.store.expire_deliveries().await.unwrap().is_empty());
    s.clock.advance(Duration::from_secs(1));
    let dead = s.store.expire_deliveries().await.unwrap();
    assert_eq!(dead.iter().map(|run| run.id).collect::<Vec<_>>(), [waiting]);
    let delivery = s.run(waiting).await.delivery.unwrap();
    assert_eq!(
        (delivery.state, delivery.attempts, delivery.finished_at),
        (DeliveryState::Dead, 1, Some(s.now()))
    );
    s.deliver(held, 200).await;
    s.clock.advance(UNTRIED);
    let dead = s.store.expire_deliveries().await.unwrap();
    assert_eq!(dead.iter().map(|run| run.id).collect::<Vec<_>>(), [untried]);
    assert!(s.pending().await.is_empty());
    assert_eq!(s.store.unfinished("app"), 0);
}

pub(super) async fn retried_then_dead(s: Subject) {
    let claim = *ended(&s, true).await.delivery.unwrap();
    let id = claim.run.id;
    let run = s.deliver(claim, 503).await;
    let due = s.now().after(Duration::from_secs(5));
    let delivery = run.delivery.unwrap();
    assert_eq!(
        (delivery.last_status, delivery.next_attempt_at),
        (Some(503), Some(due))
    );
    assert!(s.deliveries(5).await.is_empty());
    assert_eq!(s.pending().await[0].due, due);
    s.clock.advance(Duration::from_secs(5));
    let claim = s.deliveries(5).await.remove(0);
    let run = s.deliver(claim, 500).await;
    assert_eq!(run.delivery.unwrap().state, DeliveryState::Dead);
    let kept = s.run(id).await.delivery.unwrap();
    assert_eq!((kept.state, kept.attempts), (DeliveryState::Dead, 2));
    assert_eq!(kept.finished_at, Some(s.now()));
    assert_eq!(s.store.unfinished("app"), 0);
    assert_eq!(s.books().await.deliveries(DeliveryState::Dead), 1);
}

pub(super) async fn released(s: Subject) {
    let claim = *ended(&s, true).await.delivery.unwrap();
    let copy = DeliveryClaim {
        run: claim.run.clone(),
        response: claim.response.clone(),
        endpoint: claim.endpoint.clone(),
        secret: claim.secret.clone(),
        fence: claim.fence,
    };
    let before = claim.run.delivery.clone();
    s.store.release_delivery(claim).await.unwrap();
    let claim = s.deliveries(5).await.remove(0);
    assert_eq!(claim.run.delivery, before);
    assert_eq!(claim.secret, Some(Secret::new(*b"hush")));
    s.deliver(claim, 200).await;
    let late = s.store.release_delivery(copy).await;
    assert_eq!(late.unwrap_err(), crate::store::SettleError::WrongState);
}

pub(super) async fn narrowed(s: Subject) {
    let mut new = s.with_webhook("app");
    let mut narrow = policy("app");
    narrow.webhook.on = vec![RunState::Failed];
    new.policy = Arc::new(narrow);
    let claim = s.accept_started(new).await;
    let settled = s.end(claim, End::Succeeded, true).await;
    assert!(settled.delivery.is_none() && settled.run.delivery.is_none());
    assert!(s.deliveries(5).await.is_empty());
    assert_eq!(s.books().await.deliveries.values().sum::<u64>(), 0);
}

//! Checks of deliveries.

use super::*;

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

pub(super) async fn in_due_order(s: Subject) {
    let first = ended(&s, false).await.run.id;
    s.clock.advance(Duration::from_millis(1));
    let second = ended(&s, false).await.run.id;
    let claims = s.store.claim_deliveries(1).await.unwrap();
    assert_eq!(claims.claimed[0].run.id, first);
    assert_eq!(claims.claimed[0].secret, Some(Secret::new(*b"hush")));
    assert_eq!(claims.next_due, Some(s.now()));
    let claims = s.store.claim_deliveries(5).await.unwrap();
    assert_eq!(claims.claimed[0].run.id, second);
    assert_eq!((claims.claimed.len(), claims.next_due), (1, None));
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
    let claims = s.store.claim_deliveries(5).await.unwrap();
    assert!(claims.claimed.is_empty());
    assert_eq!(claims.next_due, Some(due));
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

//! Checks of runs.

use super::*;
use crate::store::SettleError;

pub(super) async fn ids_never_go_back(s: Subject) {
    let first = s.store.next_id();
    s.clock.set(s.now().before(Duration::from_secs(60)));
    let second = s.store.next_id();
    s.clock.advance(Duration::from_secs(120));
    let third = s.store.next_id();
    assert!(first < second && second < third);
    assert!(first.key() < second.key() && second.key() < third.key());
}

pub(super) async fn claims_in_order(s: Subject) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(s.accept(s.new_run("app")).await);
    }
    let claims = s.store.claim_runs("app", 2).await.unwrap();
    let of = |claims: &[RunClaim]| claims.iter().map(|c| c.run.id).collect::<Vec<_>>();
    assert_eq!(of(&claims.claimed), ids[..2]);
    assert!(claims.next_due.is_some_and(|due| due <= s.now()));
    let rest = s.store.claim_runs("app", 10).await.unwrap();
    assert_eq!(of(&rest.claimed), ids[2..]);
    assert_eq!(rest.next_due, None);
    for claim in &rest.claimed {
        assert_eq!(claim.run.state, RunState::Running);
        assert_eq!(claim.run.progress.attempts, 1);
        assert_eq!(claim.run.started_at, Some(s.now()));
    }
    assert!(s.claim("app", 10).await.is_empty());
}

pub(super) async fn as_started(s: Subject) {
    let claim = s.accept_started(s.new_run("app")).await;
    let run = s.run(claim.run.id).await;
    assert_eq!(run.state, RunState::Running);
    assert_eq!((run.progress.attempts, run.started_at), (1, Some(s.now())));
    assert!(s.claim("app", 10).await.is_empty());
    assert_eq!(s.store.unfinished("app"), 1);
    s.end(claim, End::Succeeded, false).await;
    assert_eq!(s.store.unfinished("app"), 0);
    assert_eq!(s.books().await.runs(RunState::Succeeded), 1);
}

pub(super) async fn request_is_shown(s: Subject) {
    let new = s.with_webhook("app");
    let asked = new.request.clone();
    let id = s.accept(new).await;
    for _ in ["queued", "running"] {
        let shown = s.store.request(id).await.unwrap().unwrap();
        assert_eq!(shown.head, asked.head);
        assert_eq!(shown.webhook_secret, asked.webhook_secret);
        s.claim("app", 1).await.into_iter().for_each(drop);
    }
    s.store.cancel(id).await.unwrap();
    for gone in [id, s.store.next_id()] {
        assert!(s.store.request(gone).await.unwrap().is_none());
    }
}

pub(super) async fn request_comes_back(s: Subject) {
    let mut new = s.with_webhook("app");
    new.request.client = Some("[2001:db8::1]:4711".parse().unwrap());
    new.request.tls = true;
    new.facts.name = "hello".into();
    new.facts.traceparent = Some("00-ab-cd-01".into());
    new.facts.access = Access::Owner([7; 32]);
    new.facts.extra.call_id = Some("mine".into());
    let (asked, facts) = (new.request.clone(), new.facts.clone());
    s.accept(new).await;
    let claim = s.claim("app", 1).await.remove(0);
    assert_eq!(claim.run.facts, facts);
    assert_eq!(claim.run.policy.as_ref(), &policy("app"));
    assert_eq!(claim.request.head, asked.head);
    assert_eq!(claim.request.body, asked.body);
    assert_eq!(claim.request.client, asked.client);
    assert!(claim.request.tls);
    assert_eq!(claim.request.webhook_secret, asked.webhook_secret);
    for access in [Access::Anybody, Access::TokenOnly] {
        let mut new = s.new_run("app");
        new.facts.access = access.clone();
        let id = s.accept(new).await;
        assert_eq!(s.run(id).await.facts.access, access);
    }
}

pub(super) async fn response_is_kept(s: Subject) {
    let claim = s.accept_started(s.new_run("app")).await;
    let id = claim.run.id;
    assert!(s.store.response(id).await.unwrap().is_none());
    let settled = s.end(claim, End::Succeeded, true).await;
    assert!(settled.delivery.is_none());
    let stored = s.store.response(id).await.unwrap().unwrap();
    assert_eq!(stored.body, Body::Inline(Bytes::from_static(b"answer")));
    let facts = s.run(id).await.response.unwrap();
    assert_eq!((facts.status, facts.bytes), (200, 6));
    assert_eq!(facts.content_type.as_deref(), Some("text/plain"));
    assert!(facts.from_upstream);

    let claim = s.accept_started(s.new_run("app")).await;
    let id = claim.run.id;
    s.end(claim, End::Failed(Reason::Timeout), false).await;
    let run = s.run(id).await;
    assert_eq!(
        (run.state, run.reason),
        (RunState::Failed, Some(Reason::Timeout))
    );
    let facts = run.response.unwrap();
    assert_eq!((facts.status, facts.from_upstream), (504, false));
    let stored = s.store.response(id).await.unwrap().unwrap();
    assert!(stored.head.starts_with(b"HTTP/1.1 504 Gateway Timeout\r\n"));
    let unknown = s.store.next_id();
    assert!(s.store.response(unknown).await.unwrap().is_none());
    assert!(matches!(
        s.store.find(unknown).await.unwrap(),
        Found::Unknown
    ));
}

pub(super) async fn repeated_when_due(s: Subject) {
    let claim = s.accept_started(s.new_run("app")).await;
    let id = claim.run.id;
    let started = claim.run.started_at;
    let mut claim = claim;
    claim.run.progress.unsent_in_row = 3;
    let due = s.now().after(Duration::from_secs(4));
    let run = s.again(claim, due).await;
    assert_eq!((run.state, run.due_at), (RunState::Queued, due));
    let claims = s.store.claim_runs("app", 10).await.unwrap();
    assert!(claims.claimed.is_empty());
    assert_eq!(claims.next_due, Some(due));
    s.clock.advance(Duration::from_secs(4));
    let claim = s.claim("app", 10).await.remove(0);
    assert_eq!(claim.run.id, id);
    assert_eq!(claim.run.started_at, started);
    assert_eq!(claim.run.progress.attempts, 2);
    assert_eq!(claim.run.progress.unsent_in_row, 3);
    assert_eq!(s.store.unfinished("app"), 1);
}

fn keyed(s: &Subject, scope: u8, fingerprint: u8) -> NewRun {
    let mut new = s.new_run("app");
    new.facts.has_key = true;
    new.key = Some(IdempotencyKey {
        scope: [scope; 32],
        fingerprint: [fingerprint; 32],
    });
    new
}

pub(super) async fn key_is_replayed(s: Subject) {
    let id = s.accept(keyed(&s, 1, 1)).await;
    let replayed = s.store.accept(keyed(&s, 1, 1)).await.unwrap();
    assert!(matches!(replayed, Accepted::Replayed(run) if run.id == id));
    let reused = s.store.accept(keyed(&s, 1, 2)).await.unwrap();
    assert!(matches!(reused, Accepted::KeyReused(known) if known == id));
    assert_eq!(s.books().await.accepted, 1);
    assert_eq!(s.store.unfinished("app"), 1);
}

pub(super) async fn key_comes_twice_at_once(s: Subject) {
    for scope in 0..10 {
        let same = (0..4).map(|_| s.store.accept(keyed(&s, scope, 1)));
        let other = s.store.accept(keyed(&s, scope, 2));
        let (same, other) = futures::join!(futures::future::join_all(same), other);
        let is_new = |one: &&Accepted| matches!(one, Accepted::New(_));
        let same: Vec<_> = same.into_iter().map(Result::unwrap).collect();
        let other = other.unwrap();
        let new = same.iter().chain([&other]).filter(is_new).count();
        assert_eq!(new, 1, "{same:?} {other:?}");
    }
    assert_eq!(s.books().await.accepted, 10);
}

pub(super) async fn cancel_in_each_state(s: Subject) {
    let queued = s.accept(s.new_run("app")).await;
    let cancelled = s.store.cancel(queued).await.unwrap();
    assert!(matches!(cancelled, Cancelled::Now(run) if run.state == RunState::Cancelled));
    let again = s.store.cancel(queued).await.unwrap();
    assert!(matches!(again, Cancelled::Before(_)));
    assert!(s.claim("app", 10).await.is_empty());

    let claim = s.accept_started(s.new_run("app")).await;
    let running = claim.run.id;
    assert!(matches!(
        s.store.cancel(running).await.unwrap(),
        Cancelled::Now(_)
    ));
    let settlement = Settlement {
        began: claim.run.accepted_at,
        outcome: crate::model::retry::Outcome::Answered {
            status: 200,
            retry_after: None,
        },
        progress: claim.run.progress,
        next: Next::End(End::Succeeded),
        response: Some(response("200 OK", b"late")),
        claim_delivery: false,
    };
    let late = s.store.settle_run(claim, settlement).await;
    assert_eq!(late.unwrap_err(), SettleError::WrongState);
    assert_eq!(s.run(running).await.response.unwrap().status, 409);

    let claim = s.accept_started(s.new_run("app")).await;
    let ended = claim.run.id;
    s.end(claim, End::Succeeded, false).await;
    assert!(matches!(
        s.store.cancel(ended).await.unwrap(),
        Cancelled::Finished(_)
    ));
    let unknown = s.store.cancel(s.store.next_id()).await.unwrap();
    assert!(matches!(unknown, Cancelled::Unknown));
    let books = s.books().await;
    assert_eq!(books.runs(RunState::Cancelled), 2);
    assert_eq!(s.store.unfinished("app"), 0);
}

pub(super) async fn expires(s: Subject) {
    let waiting = s.accept(s.new_run("app")).await;
    s.clock.advance(Duration::from_secs(7199));
    assert!(s.store.expire().await.unwrap().is_empty());
    let claim = s.accept_started(s.new_run("app")).await;
    let tried = claim.run.id;
    s.again(claim, s.now().after(Duration::from_secs(3600)))
        .await;
    s.clock.advance(Duration::from_secs(1));
    let ended = s.store.expire().await.unwrap();
    assert_eq!(ended.iter().map(|r| r.id).collect::<Vec<_>>(), [waiting]);
    assert_eq!(s.run(waiting).await.reason, Some(Reason::Expired));
    s.clock.advance(Duration::from_secs(900));
    let ended = s.store.expire().await.unwrap();
    assert_eq!(ended.iter().map(|r| r.id).collect::<Vec<_>>(), [tried]);
    assert_eq!(s.run(tried).await.reason, Some(Reason::Unreachable));
    assert_eq!(s.store.unfinished("app"), 0);
}

pub(super) async fn routes_apart(s: Subject) {
    for route in ["a", "b", "b"] {
        s.accept(s.new_run(route)).await;
    }
    assert_eq!(s.store.unfinished("a"), 1);
    assert_eq!(s.store.unfinished("b"), 2);
    assert_eq!(s.store.unfinished("c"), 0);
    assert_eq!(s.claim("a", 10).await.len(), 1);
    assert_eq!(s.claim("b", 10).await.len(), 2);
    assert!(s.claim("c", 10).await.is_empty());
    assert_eq!(s.books().await.runs(RunState::Running), 3);
}

pub(super) async fn settled_once(s: Subject) {
    let claim = s.accept_started(s.new_run("app")).await;
    let copy = RunClaim {
        run: claim.run.clone(),
        request: claim.request.clone(),
        fence: claim.fence,
    };
    s.again(claim, s.now()).await;
    let next = s.claim("app", 1).await.remove(0);
    let settlement = |claim: &RunClaim| Settlement {
        began: claim.run.accepted_at,
        outcome: crate::model::retry::Outcome::Answered {
            status: 200,
            retry_after: None,
        },
        progress: claim.run.progress,
        next: Next::End(End::Failed(Reason::Broken)),
        response: None,
        claim_delivery: false,
    };
    let old = settlement(&copy);
    let refused = s.store.settle_run(copy, old).await;
    assert_eq!(refused.unwrap_err(), SettleError::Fenced);
    s.end(next, End::Succeeded, false).await;
    assert_eq!(s.books().await.runs(RunState::Succeeded), 1);
}

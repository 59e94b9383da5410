//! Checks of lists, counts and the log of attempts.

use super::*;
use crate::{
    model::{attempt::RunAttempt, filter::Filter, retry::Outcome},
    store::Page,
};

const FIRST: Page = Page {
    before: None,
    skip: 0,
    limit: 100,
};

async fn ids(s: &Subject, filter: Filter, page: Page) -> Vec<RunId> {
    let listed = s.store.list(filter, page).await.unwrap();
    listed.runs.iter().map(|run| run.id).collect()
}

pub(super) async fn in_pages(s: Subject) {
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(s.accept(s.new_run("app")).await);
    }
    made.reverse();
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = Page {
            before,
            limit: 2,
            ..FIRST
        };
        let listed = s.store.list(Filter::default(), page).await.unwrap();
        seen.extend(listed.runs.iter().map(|run| run.id));
        before = listed.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, made);
    let skipped = ids(
        &s,
        Filter::default(),
        Page {
            skip: 1,
            limit: 3,
            ..FIRST
        },
    )
    .await;
    assert_eq!(skipped, made[1..4]);
    let none = Page { limit: 0, ..FIRST };
    assert!(ids(&s, Filter::default(), none).await.is_empty());
}

/// One run of each kind.
struct Kinds {
    queued: RunId,
    other_route: RunId,
    action: RunId,
    failed: RunId,
    dead: RunId,
}

impl Kinds {
    async fn make(s: &Subject) -> Self {
        let queued = s.accept(s.new_run("app")).await;
        s.clock.advance(Duration::from_secs(7200));
        let other_route = s.accept(s.new_run("other")).await;
        let mut new = s.new_run("app");
        new.facts.name = "pkg/action".into();
        new.facts.dialect = "openwhisk".into();
        let action = s.accept_started(new).await;
        let action = s.end(action, End::Succeeded, false).await.run.id;
        let failed = s.accept_started(s.new_run("app")).await;
        let failed = s
            .end(failed, End::Failed(Reason::Timeout), false)
            .await
            .run
            .id;
        let dead = s.accept_started(s.with_webhook("app")).await;
        let dead = s.end(dead, End::Succeeded, true).await.delivery.unwrap();
        let dead = s.deliver(*dead, 410).await.id;
        Self {
            queued,
            other_route,
            action,
            failed,
            dead,
        }
    }
}

pub(super) async fn filtered(s: Subject) {
    let all = Kinds::make(&s).await;
    let text = |text: &str| Some(text.to_owned());
    let none = Filter::default();
    for (what, filter, expected) in [
        (
            "queued",
            Filter {
                states: vec![RunState::Queued],
                ..none.clone()
            },
            vec![all.other_route, all.queued],
        ),
        (
            "failed",
            Filter {
                states: vec![RunState::Failed],
                ..none.clone()
            },
            vec![all.failed],
        ),
        (
            "reason",
            Filter {
                reasons: vec![Reason::Timeout, Reason::Broken],
                ..none.clone()
            },
            vec![all.failed],
        ),
        (
            "route",
            Filter {
                route: text("other"),
                ..none.clone()
            },
            vec![all.other_route],
        ),
        (
            "no such route",
            Filter {
                route: text("none"),
                ..none.clone()
            },
            vec![],
        ),
        (
            "route and action",
            Filter {
                route: text("app"),
                name: text("pkg/action"),
                ..none.clone()
            },
            vec![all.action],
        ),
        (
            "path",
            Filter {
                name: text("/run"),
                states: vec![RunState::Succeeded],
                ..none.clone()
            },
            vec![all.dead],
        ),
        (
            "dialect",
            Filter {
                dialect: text("openwhisk"),
                ..none.clone()
            },
            vec![all.action],
        ),
        (
            "until",
            Filter {
                until: Some(s.now().before(Duration::from_millis(1))),
                ..none.clone()
            },
            vec![all.queued],
        ),
        (
            "since",
            Filter {
                since: Some(s.now()),
                states: vec![RunState::Queued],
                ..none.clone()
            },
            vec![all.other_route],
        ),
        (
            "started",
            Filter {
                started_since: Some(s.now()),
                started_until: Some(s.now()),
                name: text("pkg/action"),
                ..none.clone()
            },
            vec![all.action],
        ),
        (
            "dead",
            Filter {
                delivery: Some(DeliveryState::Dead),
                host: text("hooks.example"),
                ..none.clone()
            },
            vec![all.dead],
        ),
        (
            "another host",
            Filter {
                delivery: Some(DeliveryState::Dead),
                host: text("example"),
                ..none.clone()
            },
            vec![],
        ),
    ] {
        let listed = s.store.list(filter.clone(), FIRST).await.unwrap();
        assert!(listed.runs.iter().all(|run| filter.takes(run)), "{what}");
        let found: Vec<RunId> = listed.runs.iter().map(|run| run.id).collect();
        assert_eq!(found, expected, "{what}");
        assert_eq!(listed.next, None, "{what}");
        let count = s.store.count(filter).await.unwrap();
        assert_eq!(count, expected.len() as u64, "{what}");
    }
}

pub(super) async fn attempts(s: Subject) {
    let only = s.accept_started(s.new_run("app")).await;
    let only = s.end(only, End::Succeeded, false).await.run.id;
    let log = s.store.attempts(only).await.unwrap();
    let first = RunAttempt::new(
        1,
        s.now(),
        s.now(),
        Outcome::Answered {
            status: 200,
            retry_after: None,
        },
    );
    assert_eq!(log.of_run, [first]);

    let claim = s.accept_started(s.with_webhook("app")).await;
    let id = claim.run.id;
    s.again(claim, s.now()).await;
    let claim = s.claim("app", 1).await.remove(0);
    let settled = s.end(claim, End::Succeeded, true).await;
    s.deliver(*settled.delivery.unwrap(), 503).await;
    let log = s.store.attempts(id).await.unwrap();
    let numbers: Vec<u32> = log.of_run.iter().map(|entry| entry.attempt).collect();
    assert_eq!(numbers, [1, 2]);
    let [told] = &log.of_delivery[..] else {
        panic!("one attempt of the delivery");
    };
    assert_eq!(
        (told.attempt, told.status, told.duration_ms),
        (1, Some(503), 7)
    );
    assert_eq!(told.answer, "thanks");
    assert_eq!(
        told.next_attempt_at,
        Some(s.now().after(Duration::from_secs(5)))
    );
    let unknown = s.store.attempts(s.store.next_id()).await.unwrap();
    assert!(unknown.of_run.is_empty() && unknown.of_delivery.is_empty());
}

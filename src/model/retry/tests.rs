use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::{
    id::RunId,
    policy::{Policy, StatusSet, WebhookBody, WebhookPolicy},
    run::{Access, Extra, Facts, Progress, RunState},
};

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const GRACE: Duration = Duration::from_secs(900);

fn run(method: &str, repeat: Repeat, attempts: u32) -> Run {
    let policy = Policy {
        route: "app".to_owned(),
        response_grace_period: GRACE,
        max_queue_time: Duration::from_secs(3600),
        repeat,
        attempts,
        retry_statuses: vec![429, 502, 503, 504],
        success_statuses: StatusSet(vec![200..=399]),
        response_body: 1024,
        webhook: WebhookPolicy {
            on: RunState::ALL.to_vec(),
            schedule: vec![Duration::ZERO],
            body: WebhookBody::Raw,
        },
    };
    Run {
        id: RunId::from_parts(8, 1),
        state: RunState::Running,
        reason: None,
        policy: Arc::new(policy),
        facts: Facts {
            dialect: "cerebrium".to_owned(),
            asynchronous: true,
            name: "/".to_owned(),
            method: method.to_owned(),
            path: "/".to_owned(),
            has_key: false,
            webhook_endpoint: None,
            depth: 0,
            traceparent: None,
            access: Access::Anybody,
            extra: Extra::default(),
        },
        accepted_at: START,
        started_at: Some(START),
        finished_at: None,
        due_at: START,
        progress: Progress {
            attempts: 1,
            ..Progress::default()
        },
        response: None,
        delivery: None,
    }
}

fn get(attempts: u32) -> Run {
    run("GET", Repeat::Idempotent, attempts)
}

fn post() -> Run {
    run("POST", Repeat::Idempotent, 9)
}

fn answered(status: u16) -> Outcome {
    Outcome::Answered {
        status,
        retry_after: None,
    }
}

fn after(seconds: u64) -> Next {
    Next::Again {
        due: START.after(Duration::from_secs(seconds)),
    }
}

fn not_sent(other_peer: bool) -> Outcome {
    Outcome::NotSent { other_peer }
}

/// What becomes of a run after each of `outcomes`, all at the same time.
fn nexts(run: &mut Run, outcomes: &[Outcome]) -> Vec<Next> {
    let next = |outcome: &Outcome| after_attempt(run, *outcome, START);
    outcomes.iter().map(next).collect()
}

#[test]
fn a_success_status_succeeds_and_another_fails() {
    for (status, end) in [
        (200, End::Succeeded),
        (399, End::Succeeded),
        (400, End::Failed(Reason::UpstreamStatus)),
        (500, End::Failed(Reason::UpstreamStatus)),
        (199, End::Failed(Reason::UpstreamStatus)),
    ] {
        assert_eq!(nexts(&mut get(9), &[answered(status)]), [Next::End(end)]);
    }
}

#[test]
fn retry_statuses_are_repeated_up_to_attempts() {
    assert_eq!(
        nexts(&mut get(1), &[answered(503)]),
        [failed(Reason::UpstreamStatus)]
    );
    let mut run = get(3);
    let all = [answered(503), answered(429), answered(502)];
    assert_eq!(
        nexts(&mut run, &all),
        [after(1), after(2), failed(Reason::UpstreamStatus)]
    );
    assert_eq!(
        nexts(&mut get(3), &[answered(500)]),
        [failed(Reason::UpstreamStatus)]
    );
    assert_eq!(
        nexts(&mut post(), &[answered(503)]),
        [failed(Reason::UpstreamStatus)]
    );
}

#[test]
fn retry_after_is_honoured_within_the_grace_period() {
    let answered = |seconds| Outcome::Answered {
        status: 503,
        retry_after: Some(Duration::from_secs(seconds)),
    };
    assert_eq!(nexts(&mut get(2), &[answered(70)]), [after(70)]);
    assert_eq!(nexts(&mut get(2), &[answered(0)]), [after(0)]);
    assert_eq!(
        nexts(&mut get(2), &[answered(900)]),
        [failed(Reason::UpstreamStatus)]
    );
}

#[test]
fn nothing_sent_is_repeated_with_pauses_whatever_the_method() {
    let mut run = run("POST", Repeat::Never, 1);
    let pauses = nexts(&mut run, &[not_sent(false); 7]);
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30].map(after));
    assert_eq!(run.progress.counted, 0);
}

#[test]
fn another_peer_is_tried_at_once_and_then_after_pauses() {
    let pauses = nexts(&mut post(), &[not_sent(true); 8]);
    assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 30, 30].map(after));
}

#[test]
fn the_pauses_begin_anew_once_something_was_sent() {
    let outcomes = [
        not_sent(false),
        not_sent(false),
        Outcome::Broken,
        not_sent(false),
    ];
    assert_eq!(
        nexts(&mut get(9), &outcomes),
        [after(1), after(2), after(1), after(1)]
    );
}

#[test]
fn the_last_pause_ends_with_the_grace_period() {
    let near = START.after(GRACE - Duration::from_millis(300));
    let next = after_attempt(&mut post(), not_sent(false), near);
    assert_eq!(
        next,
        Next::Again {
            due: START.after(GRACE)
        }
    );
}

#[test]
fn the_end_of_the_grace_period_says_whether_anything_was_sent() {
    let over = START.after(GRACE);
    let end = |run: &mut Run, outcome| after_attempt(run, outcome, over);
    assert_eq!(
        end(&mut post(), not_sent(true)),
        failed(Reason::Unreachable)
    );
    assert_eq!(
        end(&mut post(), Outcome::GraceOver { sent: false }),
        failed(Reason::Unreachable)
    );
    assert_eq!(
        end(&mut post(), Outcome::GraceOver { sent: true }),
        failed(Reason::Timeout)
    );
    let mut earlier = get(9);
    nexts(&mut earlier, &[Outcome::Broken]);
    assert_eq!(
        end(&mut earlier, Outcome::GraceOver { sent: false }),
        failed(Reason::Timeout)
    );
}

#[test]
fn a_broken_connection_counts() {
    assert_eq!(
        nexts(&mut get(1), &[Outcome::Broken]),
        [failed(Reason::Broken)]
    );
    assert_eq!(
        nexts(&mut get(2), &[Outcome::Broken, Outcome::Broken]),
        [after(1), failed(Reason::Broken)]
    );
    assert_eq!(
        nexts(&mut post(), &[Outcome::Broken]),
        [failed(Reason::Broken)]
    );
}

#[test]
fn a_stale_connection_is_forgiven_once() {
    let mut run = get(1);
    assert_eq!(
        nexts(&mut run, &[Outcome::Stale, Outcome::Stale]),
        [after(0), failed(Reason::Broken)]
    );
    assert_eq!(
        nexts(&mut post(), &[Outcome::Stale]),
        [failed(Reason::Interrupted)]
    );
}

#[test]
fn the_third_interruption_ends_any_run() {
    for attempts in [1, 9] {
        assert_eq!(
            nexts(&mut get(attempts), &[Outcome::Interrupted; 3]),
            [after(0), after(0), failed(Reason::Interrupted)]
        );
    }
    assert_eq!(
        nexts(&mut post(), &[Outcome::Interrupted]),
        [failed(Reason::Interrupted)]
    );
    let over = START.after(GRACE);
    assert_eq!(
        after_attempt(&mut get(1), Outcome::Interrupted, over),
        failed(Reason::Timeout)
    );
}

#[test]
fn our_own_limits_and_faults_end_a_run() {
    assert_eq!(
        nexts(&mut get(9), &[Outcome::ResponseTooLarge]),
        [failed(Reason::ResponseTooLarge)]
    );
    assert_eq!(
        nexts(&mut get(9), &[Outcome::Internal]),
        [failed(Reason::Internal)]
    );
}

#[test]
fn repeat_decides_by_method_and_key() {
    let allowed = |method, repeat, has_key| {
        let mut run = run(method, repeat, 1);
        run.facts.has_key = has_key;
        may_repeat(&run)
    };
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
        assert!(allowed(method, Repeat::Idempotent, false));
        assert!(allowed(method, Repeat::WithKey, false));
        assert!(!allowed(method, Repeat::Never, true));
    }
    for method in ["POST", "PATCH", "get", "PROPFIND"] {
        assert!(!allowed(method, Repeat::Idempotent, true));
        assert!(!allowed(method, Repeat::WithKey, false));
        assert!(allowed(method, Repeat::WithKey, true));
        assert!(allowed(method, Repeat::Always, false));
        assert!(!allowed(method, Repeat::Never, false));
    }
}

#[test]
fn waiting_too_long_ends_a_queued_run() {
    let mut waiting = post();
    waiting.started_at = None;
    let end = queue_end(&waiting);
    assert_eq!(after_waiting(&waiting, START), None);
    assert_eq!(
        after_waiting(&waiting, end),
        Some(End::Failed(Reason::Expired))
    );
    let mut between = post();
    let over = grace_end(&between);
    assert_eq!(after_waiting(&between, START), None);
    assert_eq!(
        after_waiting(&between, over),
        Some(End::Failed(Reason::Unreachable))
    );
    between.progress.ever_sent = true;
    assert_eq!(
        after_waiting(&between, over),
        Some(End::Failed(Reason::Timeout))
    );
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now = Timestamp::from_millis(784_111_777_000);
    let read = |value| retry_after(value, now);
    assert_eq!(read("120"), Some(Duration::from_secs(120)));
    assert_eq!(
        read(" Sun, 06 Nov 1994 08:50:37 GMT "),
        Some(Duration::from_secs(60))
    );
    assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
    assert_eq!(read("soon"), None);
    assert_eq!(read("-1"), None);
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    let answered =
        (100_u16..600, proptest::option::of(0_u64..2000)).prop_map(|(status, seconds)| {
            Outcome::Answered {
                status,
                retry_after: seconds.map(Duration::from_secs),
            }
        });
    prop_oneof![
        answered,
        any::<bool>().prop_map(|other_peer| Outcome::NotSent { other_peer }),
        any::<bool>().prop_map(|sent| Outcome::GraceOver { sent }),
        Just(Outcome::Stale),
        Just(Outcome::Broken),
        Just(Outcome::ResponseTooLarge),
        Just(Outcome::Interrupted),
        Just(Outcome::Internal),
    ]
}

fn runs() -> impl Strategy<Value = Run> {
    let method = prop_oneof![Just("GET"), Just("POST"), Just("PUT"), Just("PATCH")];
    let repeat = prop_oneof![
        Just(Repeat::Idempotent),
        Just(Repeat::WithKey),
        Just(Repeat::Always),
        Just(Repeat::Never),
    ];
    (method, repeat, 1..5_u32, any::<bool>()).prop_map(|(method, repeat, attempts, has_key)| {
        let mut run = run(method, repeat, attempts);
        run.facts.has_key = has_key;
        run
    })
}

#[test]
fn a_stale_connection_is_tried_once_more_within_an_attempt_where_it_may_be_repeated() {
    let mut get = run("GET", Repeat::Idempotent, 1);
    assert!(!once_more_within(&mut get, Some(Outcome::Broken)));
    assert!(once_more_within(&mut get, Some(Outcome::Stale)));
    assert!(!once_more_within(&mut get, Some(Outcome::Stale)));
    let mut post = run("POST", Repeat::Idempotent, 1);
    assert!(!once_more_within(&mut post, Some(Outcome::Stale)));
}

/// The sum of what can only grow.
fn used(progress: &Progress) -> [u32; 4] {
    let Progress {
        counted,
        interruptions,
        ever_sent,
        stale_forgiven,
        ..
    } = *progress;
    [
        counted,
        interruptions,
        u32::from(ever_sent),
        u32::from(stale_forgiven),
    ]
}

proptest! {
    #[test]
    fn only_an_interrupted_run_goes_on_behind_a_caller_who_waits(mut run in runs(), outcome in outcomes()) {
        let next = after_attempt(&mut run, outcome, START);
        match as_told(next, outcome) {
            Next::Again { .. } => prop_assert_eq!(outcome, Outcome::Interrupted),
            Next::End(end) => if let Next::End(before) = next {
                prop_assert_eq!(end, before);
            } else {
                prop_assert!(matches!(end, End::Failed(_)));
            },
        }
    }

    #[test]
    fn laws_of_a_life(mut run in runs(), steps in prop::collection::vec((outcomes(), 0_u64..40), 1..200)) {
        let mut now = START;
        let mut may_have_been_sent = 0_u32;
        for (outcome, seconds) in steps {
            now = now.after(Duration::from_secs(seconds));
            let before = run.progress;
            let next = after_attempt(&mut run, outcome, now);
            prop_assert!(used(&before).iter().zip(used(&run.progress)).all(|(before, after)| *before <= after));
            let nothing_sent = matches!(outcome, Outcome::NotSent { .. });
            may_have_been_sent += u32::from(!nothing_sent);
            let Next::Again { due } = next else { return Ok(()) };
            // Never repeated where it may not be.
            prop_assert!(nothing_sent || may_repeat(&run));
            // Never more often than allowed: `attempts`, and what uses none of them up.
            prop_assert!(may_have_been_sent <= run.policy.attempts + 1 + INTERRUPTIONS_SURVIVED);
            // Always within the grace period, and never in the past.
            prop_assert!(now < grace_end(&run) && due <= grace_end(&run) && due >= now);
            now = due;
            run.progress.attempts += 1;
            if now >= grace_end(&run) {
                let end = after_attempt(&mut run, Outcome::GraceOver { sent: false }, now);
                prop_assert!(matches!(end, Next::End(End::Failed(Reason::Timeout | Reason::Unreachable))));
                return Ok(());
            }
        }
    }
}

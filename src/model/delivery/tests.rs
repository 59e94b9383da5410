//! The law of the schedule: when the next attempt is due, and when there is none.

use proptest::prelude::*;

use super::*;
use crate::model::policy::WebhookBody;

const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn policy(schedule: &[Duration]) -> WebhookPolicy {
    WebhookPolicy {
        on: Vec::new(),
        schedule: schedule.to_vec(),
        body: WebhookBody::Raw,
    }
}

fn answered(status: u16, retry_after: Option<Duration>) -> DeliveryOutcome {
    DeliveryOutcome::Answered {
        status,
        retry_after,
    }
}

fn new(policy: &WebhookPolicy) -> Delivery {
    Delivery::new("hooks.example".to_owned(), policy, START)
}

fn outcome() -> impl Strategy<Value = DeliveryOutcome> {
    let error = proptest::sample::select(&DeliveryError::ALL[..]).prop_map(DeliveryOutcome::Failed);
    let retry_after = proptest::option::of((0_u64..1 << 40).prop_map(Duration::from_secs));
    let status = prop_oneof![100_u16..200, 300_u16..410, 411_u16..1000];
    prop_oneof![
        error,
        (status, retry_after).prop_map(|(status, after)| answered(status, after))
    ]
}

fn schedule() -> impl Strategy<Value = Vec<Duration>> {
    proptest::collection::vec((0_u64..40_000).prop_map(Duration::from_secs), 1..10)
}

proptest! {
    #[test]
    fn each_delay_is_its_step_or_the_clamped_retry_after_give_or_take_a_fifth(
        schedule in schedule(),
        outcomes in proptest::collection::vec((outcome(), 0.0..1.0_f64), 1..12),
    ) {
        let policy = policy(&schedule);
        let mut delivery = new(&policy);
        let mut now = START.after(schedule[0]);
        prop_assert_eq!(delivery.next_attempt_at, Some(now));
        for (outcome, chance) in outcomes {
            delivery.settle(outcome, &policy, now, chance);
            let Some(due) = delivery.next_attempt_at else { break };
            let step = schedule[delivery.attempts as usize];
            let asked = match outcome {
                DeliveryOutcome::Answered { retry_after, .. } => retry_after.unwrap_or_default(),
                DeliveryOutcome::Failed(_) => Duration::ZERO,
            };
            let meant = step.max(asked.min(step * 2));
            let millisecond = Duration::from_millis(1);
            prop_assert!(due.since(now) + millisecond >= meant.mul_f64(0.8));
            // What the receiver asked for is never undercut.
            prop_assert!(due.since(now) + millisecond >= asked.min(step * 2));
            prop_assert!(due.since(now) <= meant.mul_f64(1.2) + millisecond);
            prop_assert_eq!(delivery.state, DeliveryState::Pending);
            prop_assert!(due <= delivery.deadline(&policy));
            now = due;
        }
    }

    #[test]
    fn one_that_always_fails_is_dead_after_its_last_attempt_or_at_its_deadline(
        schedule in schedule(),
        outcomes in proptest::collection::vec((outcome(), 0.0..1.0_f64), 10),
    ) {
        let policy = policy(&schedule);
        let mut delivery = new(&policy);
        let mut now = START;
        for (outcome, chance) in outcomes {
            let Some(due) = delivery.next_attempt_at else { break };
            now = due;
            delivery.settle(outcome, &policy, now, chance);
        }
        prop_assert_eq!(delivery.state, DeliveryState::Dead);
        prop_assert_eq!(delivery.finished_at, Some(now));
        prop_assert!(delivery.attempts as usize <= schedule.len());
        prop_assert!(now <= delivery.deadline(&policy));
    }

    #[test]
    fn any_2xx_delivers_and_410_ends_at_whatever_attempt(
        schedule in schedule(),
        failures in 0_usize..9,
        success in 200_u16..300,
        gone: bool,
    ) {
        let policy = policy(&schedule);
        let mut delivery = new(&policy);
        for _ in 0..failures.min(schedule.len() - 1) {
            let due = delivery.next_attempt_at.unwrap_or(START);
            delivery.settle(answered(500, None), &policy, due, 0.0);
        }
        prop_assume!(delivery.state == DeliveryState::Pending);
        let now = delivery.next_attempt_at.unwrap();
        let (status, state) = if gone {
            (410, DeliveryState::Dead)
        } else {
            (success, DeliveryState::Delivered)
        };
        delivery.settle(answered(status, None), &policy, now, 0.5);
        prop_assert_eq!(delivery.state, state);
        prop_assert_eq!(delivery.finished_at, Some(now));
        prop_assert_eq!(delivery.next_attempt_at, None);
        prop_assert_eq!(delivery.last_status, Some(status));
        prop_assert_eq!(delivery.last_error, None);
    }
}

#[test]
fn a_delivery_that_was_held_up_past_its_deadline_is_dead_after_its_next_failure() {
    let policy = policy(&[0, 5, 300].map(Duration::from_secs));
    let mut delivery = new(&policy);
    // Its first attempt comes late, and has the whole schedule before it all the same.
    let first = START.after(Duration::from_secs(5000));
    delivery.settle(answered(500, None), &policy, first, 0.5);
    assert_eq!(
        delivery.deadline(&policy),
        first.after(Duration::from_secs(610))
    );
    let late = first.after(Duration::from_secs(606));
    delivery.settle(answered(500, None), &policy, late, 0.5);
    assert_eq!(delivery.state, DeliveryState::Dead);
}

#[test]
fn the_record_tells_the_last_status_or_the_last_error_and_not_both() {
    let policy = policy(&[0, 5, 5, 5].map(Duration::from_secs));
    let mut delivery = new(&policy);
    delivery.settle(answered(503, None), &policy, START, 0.5);
    assert_eq!(
        (delivery.last_status, delivery.last_error),
        (Some(503), None)
    );
    let timeout = DeliveryError::Timeout;
    delivery.settle(DeliveryOutcome::Failed(timeout), &policy, START, 0.5);
    assert_eq!(
        (delivery.last_status, delivery.last_error),
        (None, Some(timeout))
    );
}

#[test]
fn a_delivery_that_was_never_tried_is_not_given_up_for_a_day_however_short_its_schedule() {
    let policy = policy(&[0, 5, 5].map(Duration::from_secs));
    let minute = START.after(Duration::from_secs(60));
    let mut untried = new(&policy);
    let mut tried = new(&policy);
    tried.settle(answered(503, None), &policy, START, 0.5);
    assert!(!untried.give_up(&policy, minute));
    assert!(tried.give_up(&policy, minute));
    tried.begin_again(minute);
    assert!(!tried.give_up(&policy, minute.after(Duration::from_secs(3600))));
    assert!(untried.give_up(&policy, START.after(UNTRIED)));
}

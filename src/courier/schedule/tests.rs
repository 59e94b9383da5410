//! The law of the schedule: by due time, within each receiver's limit, and none is forgotten.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::{
    breaker::{FAILURES, PROBE_EVERY},
    delivery::DeliveryError,
};

const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const BAD: DeliveryOutcome = DeliveryOutcome::Failed(DeliveryError::Unreachable);
const GOOD: DeliveryOutcome = DeliveryOutcome::Answered {
    status: 204,
    retry_after: None,
};

fn pending(number: u32, receiver: &str, due: Timestamp) -> PendingDelivery {
    PendingDelivery {
        id: RunId::from_parts(i64::from(number) << 3, 1),
        receiver: receiver.to_owned(),
        due,
    }
}

#[test]
fn a_receiver_that_has_enough_lets_others_go_first() {
    let mut schedule = Schedule::new(2);
    for number in 0..5 {
        schedule.add(&pending(number, "slow:1", START), START);
    }
    schedule.add(
        &pending(9, "quick:1", START.after(Duration::from_millis(1))),
        START,
    );
    let now = START.after(Duration::from_secs(1));
    let names: Vec<Name> = std::iter::from_fn(|| schedule.next(false, now))
        .map(|(_, name)| name)
        .collect();
    assert_eq!(
        names.iter().map(|name| &**name).collect::<Vec<_>>(),
        ["slow:1", "quick:1", "slow:1"],
        "who has the fewest out is first"
    );
    assert_eq!(schedule.next_at(), None);
    schedule.leave("slow:1", Some(GOOD), now, 0.5);
    assert_eq!(schedule.next_at(), Some(START));
}

#[test]
fn an_open_breaker_holds_all_back_but_one_probe() {
    let mut schedule = Schedule::new(16);
    for number in 0..1000 {
        schedule.add(&pending(number, "dead:1", START), START);
    }
    let mut out = 0;
    while schedule.next(false, START).is_some() {
        out += 1;
    }
    assert_eq!(out, 16);
    for _ in 0..out {
        schedule.leave("dead:1", Some(BAD), START, 0.5);
    }
    assert!(schedule.next(false, START).is_none());
    let probe = START.after(PROBE_EVERY);
    assert_eq!(schedule.next_at(), Some(probe));
    assert_eq!(schedule.held_until("dead:1"), Some(probe));
    assert!(schedule.next(false, probe).is_some());
    assert!(schedule.next(false, probe).is_none());
    assert_eq!(schedule.count(BreakerState::HalfOpen), 1);
    schedule.leave("dead:1", Some(GOOD), probe, 0.5);
    assert_eq!(schedule.troubled().next().unwrap().pending, 983);
    let back = std::iter::from_fn(|| schedule.next(false, probe)).count();
    assert_eq!(back, 2, "no stampede");
}

#[test]
fn what_is_handed_over_does_not_overtake_what_waits() {
    let mut schedule = Schedule::new(16);
    assert!(schedule.enter("one:1", false, START));
    schedule.add(&pending(1, "one:1", START), START);
    assert!(!schedule.enter("one:1", false, START));
    assert!(schedule.enter("other:1", false, START));
    for _ in 0..FAILURES {
        schedule.leave("other:1", Some(BAD), START, 0.5);
    }
    assert!(!schedule.enter("other:1", false, START));
}

#[test]
fn a_delivery_that_is_told_twice_waits_once_at_its_latest_time() {
    let mut schedule = Schedule::new(16);
    let later = START.after(Duration::from_secs(5));
    schedule.add(&pending(1, "one:1", START), START);
    schedule.add(&pending(1, "one:1", later), START);
    assert_eq!((schedule.len(), schedule.next_at()), (1, Some(later)));
    assert!(schedule.next(false, START).is_none());
    assert!(schedule.next(false, later).is_some());
    assert_eq!(schedule.len(), 0);
}

#[test]
fn when_places_are_scarce_they_are_for_receivers_that_have_none_out() {
    let mut schedule = Schedule::new(16);
    for number in 0..3 {
        schedule.add(&pending(number, "slow:1", START), START);
    }
    assert!(schedule.next(true, START).is_some());
    assert!(schedule.next(true, START).is_none());
    assert!(!schedule.enter("slow:1", true, START));
    assert!(schedule.enter("quick:1", true, START));
    schedule.add(&pending(9, "other:1", START), START);
    let (_, name) = schedule.next(true, START).unwrap();
    assert_eq!(&*name, "other:1");
    assert!(schedule.next(false, START).is_some());
}

#[test]
fn the_breaker_of_a_receiver_that_nothing_waits_for_is_forgotten_after_a_while() {
    let mut schedule = Schedule::new(16);
    for _ in 0..FAILURES {
        assert!(schedule.enter("dead:1", false, START));
        schedule.leave("dead:1", Some(BAD), START, 0.5);
    }
    assert_eq!(schedule.count(BreakerState::Open), 1);
    let soon = START.after(REMEMBERED.saturating_sub(Duration::from_secs(1)));
    assert!(schedule.next(false, soon).is_none());
    assert_eq!(schedule.count(BreakerState::Open), 1);
    let later = START.after(REMEMBERED);
    assert!(schedule.next(false, later).is_none());
    assert_eq!(schedule.count(BreakerState::Open), 0);
    assert!(schedule.lines.is_empty() && schedule.idle.is_empty());
}

proptest! {
    #[test]
    fn none_is_forgotten_and_no_limit_is_passed(
        steps in prop::collection::vec((0..4_u8, 0..60_u32, 0..3_usize, any::<bool>(), 0..20_u64), 1..300),
    ) {
        let names = ["a:1", "b:1", "c:1"];
        let mut schedule = Schedule::new(3);
        let mut waiting = std::collections::HashMap::new();
        let mut out: Vec<Name> = Vec::new();
        let mut now = START;
        for (step, number, which, good, wait) in steps {
            match step {
                0 => {
                    let one = pending(number, names[which], now.after(Duration::from_secs(wait)));
                    waiting.insert(one.id, one.due);
                    schedule.add(&one, now);
                }
                1 => if let Some((id, name)) = schedule.next(false, now) {
                    let due = waiting.remove(&id);
                    prop_assert!(due.is_some_and(|due| due <= now));
                    out.push(name);
                },
                2 => if !out.is_empty() {
                    let name = out.swap_remove(number as usize % out.len());
                    let outcome = if good { GOOD } else { BAD };
                    schedule.leave(&name, Some(outcome), now, 0.5);
                },
                _ => now = now.after(Duration::from_secs(wait)),
            }
            for name in names {
                prop_assert!(out.iter().filter(|out| &***out == name).count() <= 3);
            }
            prop_assert_eq!(schedule.len(), waiting.len());
        }
        // However it stood, all goes out in the end.
        while !waiting.is_empty() {
            for name in out.drain(..) {
                schedule.leave(&name, Some(GOOD), now, 0.5);
            }
            while let Some((id, name)) = schedule.next(false, now) {
                waiting.remove(&id);
                out.push(name);
            }
            now = now.after(Duration::from_secs(60));
        }
        prop_assert_eq!(schedule.len(), 0);
    }
}

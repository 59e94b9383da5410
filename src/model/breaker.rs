//! A receiver's circuit breaker: when deliveries to it wait, who probes it, and how it comes back without a stampede.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    delivery::{DeliveryError, DeliveryOutcome},
    time::Timestamp,
};

/// Failures in a row that open a breaker.
pub const FAILURES: u32 = 10;
/// Between probes of a receiver whose breaker is open, ±20 %.
pub const PROBE_EVERY: Duration = Duration::from_secs(30);

/// The breaker of one receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker(Inner);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inner {
    Closed { failures: u32 },
    Open { until: Timestamp },
    Probing,
    Recovering { allowed: usize },
}

/// A breaker's state, by the field's usual names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Deliveries go out.
    Closed,
    /// They wait for the next probe.
    Open,
    /// One delivery is out, as the probe.
    HalfOpen,
    /// The probe was answered: more go out with every success.
    Recovering,
}

impl BreakerState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Closed, Self::Open, Self::HalfOpen, Self::Recovering];

    /// The state's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Recovering => "recovering",
        }
    }
}

/// What one more attempt may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Go out now.
    Now,
    /// Not before this time.
    At(Timestamp),
    /// Not before an attempt that is out has ended.
    AfterOthers,
}

impl Default for Breaker {
    fn default() -> Self {
        Self(Inner::Closed { failures: 0 })
    }
}

impl Breaker {
    /// Whether an attempt may go out while `out` others are, of at most `most`.
    pub fn leave(&self, out: usize, most: usize, now: Timestamp) -> Leave {
        let allowed = match self.0 {
            Inner::Open { until } if now < until => return Leave::At(until),
            Inner::Closed { .. } => most,
            Inner::Recovering { allowed } => allowed.min(most),
            Inner::Open { .. } | Inner::Probing => 1,
        };
        if out < allowed {
            Leave::Now
        } else {
            Leave::AfterOthers
        }
    }

    /// An attempt goes out: on an open breaker it is the probe.
    pub fn goes_out(&mut self) {
        if let Inner::Open { .. } = self.0 {
            self.0 = Inner::Probing;
        }
    }

    /// An attempt has ended. `most` attempts are allowed at a time once all is well; `chance` in 0..1 keeps the probes
    /// of many receivers apart.
    pub fn note(&mut self, outcome: DeliveryOutcome, most: usize, now: Timestamp, chance: f64) {
        let alive = is_alive(outcome);
        self.0 = match (self.0, alive) {
            (Inner::Closed { .. }, true) => Inner::Closed { failures: 0 },
            (Inner::Closed { failures }, false) if failures + 1 < FAILURES => Inner::Closed {
                failures: failures + 1,
            },
            (Inner::Probing, true) => Inner::Recovering { allowed: 2 }.or_closed(most),
            (Inner::Recovering { allowed }, true) => Inner::Recovering {
                allowed: allowed.saturating_mul(2),
            }
            .or_closed(most),
            // Attempts that were out when it opened end later, and say nothing new.
            (Inner::Open { until }, false) => Inner::Open { until },
            (Inner::Open { until }, true) => Inner::Open { until },
            (Inner::Closed { .. } | Inner::Probing | Inner::Recovering { .. }, false) => {
                Inner::Open {
                    until: now.after(PROBE_EVERY.mul_f64(0.8 + 0.4 * chance)),
                }
            }
        };
    }

    /// The attempt that went out was given back: nothing is known of the receiver.
    pub fn given_back(&mut self, now: Timestamp) {
        if self.0 == Inner::Probing {
            self.0 = Inner::Open { until: now };
        }
    }

    /// Its state.
    pub fn state(&self) -> BreakerState {
        match self.0 {
            Inner::Closed { .. } => BreakerState::Closed,
            Inner::Open { .. } => BreakerState::Open,
            Inner::Probing => BreakerState::HalfOpen,
            Inner::Recovering { .. } => BreakerState::Recovering,
        }
    }

    /// Failures in a row that it counts while it is closed.
    pub fn failures(&self) -> u32 {
        match self.0 {
            Inner::Closed { failures } => failures,
            Inner::Open { .. } | Inner::Probing | Inner::Recovering { .. } => FAILURES,
        }
    }

    /// When the next probe goes out, while it is open.
    pub fn probe_at(&self) -> Option<Timestamp> {
        match self.0 {
            Inner::Open { until } => Some(until),
            Inner::Closed { .. } | Inner::Probing | Inner::Recovering { .. } => None,
        }
    }

    /// Whether there is nothing to remember.
    pub fn is_fresh(&self) -> bool {
        *self == Self::default()
    }
}

impl Inner {
    fn or_closed(self, most: usize) -> Self {
        match self {
            Self::Recovering { allowed } if allowed >= most => Self::Closed { failures: 0 },
            other => other,
        }
    }
}

/// Whether an outcome shows a receiver that works. One that refuses what it is sent (4xx) does: else the endpoint of
/// one customer that is gone would hold up the others on the same host.
fn is_alive(outcome: DeliveryOutcome) -> bool {
    match outcome {
        DeliveryOutcome::Answered { status, .. } => {
            status < 500 && !matches!(status, 408 | 425 | 429)
        }
        // Our own fault says nothing of the receiver.
        DeliveryOutcome::Failed(DeliveryError::Internal) => true,
        DeliveryOutcome::Failed(
            DeliveryError::Unreachable
            | DeliveryError::Timeout
            | DeliveryError::Tls
            | DeliveryError::Broken,
        ) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const GOOD: DeliveryOutcome = DeliveryOutcome::Answered {
        status: 200,
        retry_after: None,
    };
    const BAD: DeliveryOutcome = DeliveryOutcome::Failed(DeliveryError::Unreachable);

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES {
            assert_eq!(breaker.state(), BreakerState::Closed);
            breaker.note(BAD, 16, START, 0.5);
        }
        breaker
    }

    #[test]
    fn ten_failures_in_a_row_open_it_and_one_probe_goes_out_when_its_time_has_come() {
        let mut breaker = opened();
        let until = START.after(PROBE_EVERY);
        assert_eq!(breaker.leave(0, 16, START), Leave::At(until));
        assert_eq!(breaker.leave(0, 16, until), Leave::Now);
        breaker.goes_out();
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(breaker.leave(1, 16, until), Leave::AfterOthers);
        breaker.note(BAD, 16, until, 0.5);
        assert_eq!(breaker.probe_at(), Some(until.after(PROBE_EVERY)));
    }

    #[test]
    fn it_comes_back_by_doubling_what_may_go_out() {
        let mut breaker = opened();
        breaker.goes_out();
        let mut allowed = Vec::new();
        while breaker.state() != BreakerState::Closed {
            breaker.note(GOOD, 16, START, 0.5);
            allowed.push(
                (0..)
                    .take_while(|out| breaker.leave(*out, 16, START) == Leave::Now)
                    .count(),
            );
        }
        assert_eq!(allowed, [2, 4, 8, 16]);
    }

    #[test]
    fn a_success_between_failures_begins_the_count_anew_and_a_refusal_counts_as_one() {
        let refused = DeliveryOutcome::Answered {
            status: 404,
            retry_after: None,
        };
        for good in [GOOD, refused] {
            let mut breaker = Breaker::default();
            for _ in 0..5 {
                for _ in 1..FAILURES {
                    breaker.note(BAD, 16, START, 0.5);
                }
                breaker.note(good, 16, START, 0.5);
            }
            assert!(breaker.is_fresh());
        }
    }

    proptest! {
        #[test]
        fn no_more_go_out_than_are_allowed_and_an_open_one_lets_one_out_at_a_time(
            steps in prop::collection::vec((any::<bool>(), any::<bool>(), 0..40_u64, 0.0..1.0_f64), 1..200),
            most in 1..20_usize,
        ) {
            let mut breaker = Breaker::default();
            let (mut now, mut out) = (START, 0_usize);
            for (go, good, wait, chance) in steps {
                now = now.after(Duration::from_secs(wait));
                let before = breaker.state();
                if go && breaker.leave(out, most, now) == Leave::Now {
                    breaker.goes_out();
                    out += 1;
                    prop_assert!(out <= most);
                    if before == BreakerState::Open {
                        prop_assert_eq!(breaker.state(), BreakerState::HalfOpen);
                    }
                } else if out > 0 {
                    out -= 1;
                    breaker.note(if good { GOOD } else { BAD }, most, now, chance);
                }
                if let Some(at) = breaker.probe_at() {
                    prop_assert!(at <= now.after(PROBE_EVERY.mul_f64(1.2)));
                }
            }
        }
    }
}

//! A delivery: the duty to tell one webhook about one run; its states and every legal move.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{attempt::DeliveryTry, policy::WebhookPolicy, time::Timestamp};

#[cfg(test)]
mod tests;

/// How long a delivery that was never tried in its round is not given up.
pub const UNTRIED: Duration = Duration::from_secs(24 * 3600);

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Attempts are to come.
    Pending,
    /// The receiver answered 2xx.
    Delivered,
    /// All attempts are used, or the receiver answered 410; kept for redelivery.
    Dead,
}

impl DeliveryState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Dead];

    /// The state's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

/// What is known of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Where it stands.
    pub state: DeliveryState,
    /// The receiver's host, without port, path, query or user info.
    pub host: String,
    /// When this round of attempts began: with its first attempt; before that, the run's end or the redelivery.
    pub since: Timestamp,
    /// Attempts made, in all rounds.
    pub attempts: u32,
    /// Attempts made before this round.
    pub attempts_before: u32,
    /// The status of the last attempt that was answered.
    pub last_status: Option<u16>,
    /// What went wrong in the last attempt that was not answered.
    pub last_error: Option<DeliveryError>,
    /// When the next attempt is due; none once it is final.
    pub next_attempt_at: Option<Timestamp>,
    /// When it became final.
    pub finished_at: Option<Timestamp>,
}

/// Why an attempt had no answer, as the public may know it. The operator's log says more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryError {
    /// No connection: refused, no such name, no route; or an address that the guard refuses.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// TLS failed.
    Tls,
    /// The connection ended, or what came was no HTTP.
    Broken,
    /// The body could not be read back from the store.
    Internal,
}

impl DeliveryError {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Unreachable,
        Self::Timeout,
        Self::Tls,
        Self::Broken,
        Self::Internal,
    ];

    /// The error's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Broken => "broken",
            Self::Internal => "internal",
        }
    }
}

/// How one attempt of a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The receiver answered.
    Answered {
        /// The HTTP status.
        status: u16,
        /// Its `Retry-After`, as a delay.
        retry_after: Option<Duration>,
    },
    /// It did not.
    Failed(DeliveryError),
}

/// A delivery as the record shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DeliveryRecord<'a> {
    state: DeliveryState,
    /// The receiver's host.
    host: &'a str,
    /// Attempts made, in all rounds.
    attempts: u32,
    /// The status of the last attempt, if it was answered.
    #[schema(required)]
    last_status: Option<u16>,
    /// What went wrong in the last attempt, if it was not.
    #[schema(required)]
    last_error: Option<DeliveryError>,
    /// When the next attempt is due.
    #[schema(required)]
    next_attempt_at: Option<Timestamp>,
    /// Each attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    attempts_log: Option<&'a [DeliveryTry]>,
}

impl<'a> DeliveryRecord<'a> {
    /// The same, with the log of all attempts.
    #[must_use]
    pub(super) fn with_attempts(mut self, attempts: &'a [DeliveryTry]) -> Self {
        self.attempts_log = Some(attempts);
        self
    }
}

impl Delivery {
    /// The delivery that the end of a run creates, due after the schedule's first delay.
    pub fn new(host: String, policy: &WebhookPolicy, now: Timestamp) -> Self {
        let first = policy.schedule.first().copied().unwrap_or_default();
        Self {
            state: DeliveryState::Pending,
            host,
            since: now,
            attempts: 0,
            attempts_before: 0,
            last_status: None,
            last_error: None,
            next_attempt_at: Some(now.after(first)),
            finished_at: None,
        }
    }

    /// Records one attempt and decides what is next: delivered (2xx), dead (410, the schedule's end, or twice its
    /// whole length), or pending until the next step. `chance` in 0..1 makes each step differ by ±20 %; with
    /// `Retry-After` the delay is max(step, min(`Retry-After`, 2 × step)).
    pub fn settle(
        &mut self,
        outcome: DeliveryOutcome,
        policy: &WebhookPolicy,
        now: Timestamp,
        chance: f64,
    ) {
        if self.attempts == self.attempts_before {
            // What it waited before, behind others, takes nothing from its schedule.
            self.since = now;
        }
        self.attempts += 1;
        let retry_after = match outcome {
            DeliveryOutcome::Answered {
                status,
                retry_after,
            } => {
                self.last_status = Some(status);
                self.last_error = None;
                if (200..300).contains(&status) {
                    return self.finish(DeliveryState::Delivered, now);
                }
                if status == 410 {
                    return self.finish(DeliveryState::Dead, now);
                }
                retry_after
            }
            DeliveryOutcome::Failed(error) => {
                self.last_status = None;
                self.last_error = Some(error);
                None
            }
        };
        let made = (self.attempts - self.attempts_before) as usize;
        let Some(step) = policy.schedule.get(made).copied() else {
            return self.finish(DeliveryState::Dead, now);
        };
        // The chance moves our own step alone: a receiver is not called before the time it asked for.
        let asked = retry_after.unwrap_or_default().min(step * 2);
        let delay = step.mul_f64(0.8 + 0.4 * chance).max(asked);
        let due = now.after(delay);
        if due > self.deadline(policy) {
            return self.finish(DeliveryState::Dead, now);
        }
        self.next_attempt_at = Some(due);
    }

    /// Begins a new round of attempts, whatever became of the one before: the first is due at once.
    pub fn begin_again(&mut self, now: Timestamp) {
        self.state = DeliveryState::Pending;
        self.since = now;
        self.attempts_before = self.attempts;
        self.next_attempt_at = Some(now);
        self.finished_at = None;
    }

    /// Ends a delivery whose deadline has come without another attempt; says whether it did.
    pub fn give_up(&mut self, policy: &WebhookPolicy, now: Timestamp) -> bool {
        let over = self.state == DeliveryState::Pending && now >= self.deadline(policy);
        if over {
            self.finish(DeliveryState::Dead, now);
        }
        over
    }

    /// The time at which the delivery is dead whatever happens: twice the schedule's whole length after its round began,
    /// but not before [`UNTRIED`] as long as nobody has tried it in this round. That it waited is our own doing then: a
    /// short schedule must not give up what stood in the queue of a slow receiver, or behind an open breaker.
    pub fn deadline(&self, policy: &WebhookPolicy) -> Timestamp {
        let length: Duration = policy.schedule.iter().sum();
        let least = if self.attempts == self.attempts_before {
            UNTRIED
        } else {
            // A schedule of no length at all still has all of its attempts.
            Duration::from_secs(60)
        };
        self.since.after((length * 2).max(least))
    }

    fn finish(&mut self, state: DeliveryState, now: Timestamp) {
        self.state = state;
        self.next_attempt_at = None;
        self.finished_at = Some(now);
    }

    /// What the world may see of it.
    pub fn record(&self) -> DeliveryRecord<'_> {
        DeliveryRecord {
            state: self.state,
            host: &self.host,
            attempts: self.attempts,
            last_status: self.last_status,
            last_error: self.last_error,
            next_attempt_at: self.next_attempt_at,
            attempts_log: None,
        }
    }
}

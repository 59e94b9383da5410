//! What becomes of a run after an attempt: the one place that decides whether an attempt may be repeated.
//!
//! RFC 9110 §9.2.2: a request that is not idempotent may be sent again only if it is known that the first one was
//! not applied. An attempt of which nothing was sent is such a case; every other goes by the route's `repeat`.

use std::time::Duration;

use super::{
    policy::Repeat,
    run::{End, Reason, Run},
    time::Timestamp,
};

/// How many interruptions a run survives: the next one ends it, for it may be what stops us.
const INTERRUPTIONS_SURVIVED: u32 = 2;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A whole response came: the upstream's, or the host proxy's own (its filters' or its 502 and 504).
    Answered {
        /// Its HTTP status.
        status: u16,
        /// Its `Retry-After`, as a delay.
        retry_after: Option<Duration>,
    },
    /// Nothing was sent: no connection came about.
    NotSent {
        /// Whether the upstream has a peer that this run has not tried since its last pause.
        other_peer: bool,
    },
    /// A connection that was reused failed before any byte of a response: perhaps sent.
    Stale,
    /// The connection ended midway, after something was or may have been sent.
    Broken,
    /// The response is over the limit.
    ResponseTooLarge,
    /// The grace period is over. Whether anything was sent in this attempt.
    GraceOver {
        /// Whether anything was sent in this attempt.
        sent: bool,
    },
    /// The proxy stopped midway (a crash, or a drain's end) after something was or may have been sent.
    Interrupted,
    /// Our own fault.
    Internal,
}

impl Outcome {
    /// The outcome's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered { .. } => "answered",
            Self::NotSent { .. } => "not_sent",
            Self::Stale => "stale",
            Self::Broken => "broken",
            Self::ResponseTooLarge => "response_too_large",
            Self::GraceOver { .. } => "grace_over",
            Self::Interrupted => "interrupted",
            Self::Internal => "internal",
        }
    }
}

/// What becomes of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It ends.
    End(End),
    /// It is queued again until `due`.
    Again {
        /// The earliest time of the next attempt.
        due: Timestamp,
    },
}

/// Decides what becomes of a run whose latest attempt ended with `outcome`, and records in its progress what the
/// attempt used up. `run.progress.attempts` already counts that attempt.
pub fn after_attempt(run: &mut Run, outcome: Outcome, now: Timestamp) -> Next {
    match outcome {
        Outcome::NotSent { other_peer } => after_nothing_sent(run, other_peer, now),
        Outcome::GraceOver { sent } => {
            run.progress.ever_sent |= sent;
            grace_over(run)
        }
        Outcome::Answered {
            status,
            retry_after,
        } => {
            count(run);
            if run.policy.success_statuses.contains(status) {
                Next::End(End::Succeeded)
            } else if run.policy.retry_statuses.contains(&status) {
                again_if_left(run, retry_after, Reason::UpstreamStatus, now)
            } else {
                failed(Reason::UpstreamStatus)
            }
        }
        Outcome::Stale if !run.progress.stale_forgiven => {
            sent(run);
            run.progress.stale_forgiven = true;
            again_if_allowed(run, now)
        }
        Outcome::Stale | Outcome::Broken => {
            count(run);
            again_if_left(run, None, Reason::Broken, now)
        }
        Outcome::Interrupted => {
            sent(run);
            run.progress.interruptions += 1;
            if run.progress.interruptions > INTERRUPTIONS_SURVIVED {
                failed(Reason::Interrupted)
            } else {
                again_if_allowed(run, now)
            }
        }
        Outcome::ResponseTooLarge => {
            count(run);
            failed(Reason::ResponseTooLarge)
        }
        Outcome::Internal => {
            sent(run);
            failed(Reason::Internal)
        }
    }
}

/// What becomes of a run whose caller has waited for the response of this attempt on the same connection: it ends with
/// what the caller is told, so that its webhook says the same. Only an interrupted one may go on: the proxy stops, and
/// has nothing to tell.
pub const fn as_told(next: Next, outcome: Outcome) -> Next {
    match (next, outcome) {
        (Next::End(_), _) | (Next::Again { .. }, Outcome::Interrupted) => next,
        (Next::Again { .. }, Outcome::Answered { .. }) => failed(Reason::UpstreamStatus),
        (Next::Again { .. }, Outcome::NotSent { .. }) => failed(Reason::Unreachable),
        (Next::Again { .. }, Outcome::Stale | Outcome::Broken) => failed(Reason::Broken),
        (Next::Again { .. }, Outcome::ResponseTooLarge) => failed(Reason::ResponseTooLarge),
        (Next::Again { .. }, Outcome::GraceOver { .. }) => failed(Reason::Timeout),
        (Next::Again { .. }, Outcome::Internal) => failed(Reason::Internal),
    }
}

/// Whether an attempt whose caller waits for the response tries once more by itself: after an error on a reused
/// connection, where the request may be repeated. Once for a run.
pub fn once_more_within(run: &mut Run, outcome: Option<Outcome>) -> bool {
    let again = outcome == Some(Outcome::Stale) && !run.progress.stale_forgiven && may_repeat(run);
    if again {
        sent(run);
        run.progress.stale_forgiven = true;
    }
    again
}

/// Nothing was sent: repeated within the grace period, whatever the method. The first time at once if there is another
/// peer, then after pauses.
fn after_nothing_sent(run: &mut Run, other_peer: bool, now: Timestamp) -> Next {
    let before = run.progress.unsent_in_row;
    run.progress.unsent_in_row = before.saturating_add(1);
    let pause = match (other_peer, before) {
        (true, 0) => Duration::ZERO,
        (true, before) => pause(before),
        (false, before) => pause(before + 1),
    };
    let end = grace_end(run);
    if now >= end {
        return grace_over(run);
    }
    // At the end of the grace period it is claimed once more, to be ended.
    let due = now.after(pause).min(end);
    Next::Again { due }
}

/// An attempt that used up none of `attempts`: `repeat` alone decides.
fn again_if_allowed(run: &Run, now: Timestamp) -> Next {
    if !may_repeat(run) {
        failed(Reason::Interrupted)
    } else if now >= grace_end(run) {
        grace_over(run)
    } else {
        Next::Again { due: now }
    }
}

/// An attempt that was counted: repeated if `repeat` and `attempts` allow it, and if there is time.
fn again_if_left(run: &Run, retry_after: Option<Duration>, reason: Reason, now: Timestamp) -> Next {
    let left = run.progress.counted < run.policy.attempts;
    let due = now.after(retry_after.unwrap_or_else(|| pause(run.progress.counted)));
    if may_repeat(run) && left && due < grace_end(run) {
        Next::Again { due }
    } else {
        failed(reason)
    }
}

fn grace_over(run: &Run) -> Next {
    failed(if run.progress.ever_sent {
        Reason::Timeout
    } else {
        Reason::Unreachable
    })
}

const fn failed(reason: Reason) -> Next {
    Next::End(End::Failed(reason))
}

/// A `Retry-After` as a delay (RFC 9110 §10.2.3): seconds, or a date; anything else is as if it were absent.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a very long time, not garbage.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(Timestamp::from(date).since(now))
}

/// Whether an attempt that may have reached the upstream may be repeated at all: the method and the route decide.
pub fn may_repeat(run: &Run) -> bool {
    repeats(run.policy.repeat, &run.facts.method, run.facts.has_key)
}

/// The same of a request that is no run yet: by its method, and whether it has an idempotency key.
pub fn repeats(repeat: Repeat, method: &str, has_key: bool) -> bool {
    let idempotent = matches!(
        method,
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
    );
    match repeat {
        Repeat::Idempotent => idempotent,
        Repeat::WithKey => idempotent || has_key,
        Repeat::Always => true,
        Repeat::Never => false,
    }
}

/// When the response grace period is over; it begins with the first attempt.
pub fn grace_end(run: &Run) -> Timestamp {
    run.started_at.map_or(Timestamp::NEVER, |started| {
        started.after(run.policy.response_grace_period)
    })
}

/// When a run that has not started yet expires.
pub fn queue_end(run: &Run) -> Timestamp {
    run.accepted_at.after(run.policy.max_queue_time)
}

/// Something was or may have been sent.
fn sent(run: &mut Run) {
    run.progress.ever_sent = true;
    run.progress.unsent_in_row = 0;
}

/// The same, and the attempt uses up one of `attempts`.
fn count(run: &mut Run) {
    sent(run);
    run.progress.counted = run.progress.counted.saturating_add(1);
}

/// The `nth` pause in a row: 1, 2, 4 … 30 s.
fn pause(nth: u32) -> Duration {
    Duration::from_secs((1_u64 << nth.saturating_sub(1).min(5)).min(30))
}

/// How a queued run ends for having waited too long, if it has: `expired` after `max_queue_time` without a start,
/// `timeout` or `unreachable` once its grace period is over.
pub fn after_waiting(run: &Run, now: Timestamp) -> Option<End> {
    let reason = match run.started_at {
        None if now >= queue_end(run) => Reason::Expired,
        Some(_) if now >= grace_end(run) && run.progress.ever_sent => Reason::Timeout,
        Some(_) if now >= grace_end(run) => Reason::Unreachable,
        None | Some(_) => return None,
    };
    Some(End::Failed(reason))
}

#[cfg(test)]
mod tests;

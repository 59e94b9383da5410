//! What becomes of a run after an attempt: the one place that decides whether an attempt may be repeated.
//!
//! RFC 9110 §9.2.2: a request that is not idempotent may be sent again only if it is known that the first one was
//! not applied. An attempt of which nothing was sent is such a case; every other goes by the route's `repeat`.

use std::time::Duration;

use super::{
    policy::Repeat,
    run::{End, Progress, Reason, Run},
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
    let end = grace_end(run);
    let may_repeat = may_repeat(run);
    let attempts_left = run.policy.attempts.saturating_sub(run.progress.counted + 1) > 0;
    let success = matches!(outcome, Outcome::Answered { status, .. } if run.policy.success_statuses.contains(status));
    let progress = &mut run.progress;
    match outcome {
        Outcome::NotSent { other_peer } => {
            progress.unsent_in_row += 1;
            let pause = if other_peer {
                Duration::ZERO
            } else {
                unsent_pause(progress.unsent_in_row)
            };
            let reason = if progress.ever_sent {
                Reason::Timeout
            } else {
                Reason::Unreachable
            };
            return again_within(end, now, now.after(pause), reason);
        }
        Outcome::GraceOver { sent } => {
            progress.ever_sent |= sent;
            let reason = if progress.ever_sent {
                Reason::Timeout
            } else {
                Reason::Unreachable
            };
            return Next::End(End::Failed(reason));
        }
        Outcome::Answered { .. }
        | Outcome::Stale
        | Outcome::Broken
        | Outcome::ResponseTooLarge
        | Outcome::Interrupted
        | Outcome::Internal => sent(progress),
    }
    match outcome {
        Outcome::Answered {
            status,
            retry_after,
        } => {
            progress.counted += 1;
            if success {
                return Next::End(End::Succeeded);
            }
            let failed = Next::End(End::Failed(Reason::UpstreamStatus));
            if !(may_repeat && attempts_left && run.policy.retry_statuses.contains(&status)) {
                return failed;
            }
            let pause = retry_after.unwrap_or_else(|| unsent_pause(progress.counted));
            let due = now.after(pause);
            if due < end {
                Next::Again { due }
            } else {
                failed
            }
        }
        Outcome::Stale if !progress.stale_forgiven => {
            progress.stale_forgiven = true;
            if may_repeat {
                again_within(end, now, now, Reason::Broken)
            } else {
                Next::End(End::Failed(Reason::Broken))
            }
        }
        Outcome::Stale | Outcome::Broken => {
            progress.counted += 1;
            if may_repeat && attempts_left {
                again_within(
                    end,
                    now,
                    now.after(unsent_pause(progress.counted)),
                    Reason::Broken,
                )
            } else {
                Next::End(End::Failed(Reason::Broken))
            }
        }
        Outcome::Interrupted => {
            progress.interruptions += 1;
            if may_repeat && progress.interruptions <= INTERRUPTIONS_SURVIVED {
                again_within(end, now, now, Reason::Interrupted)
            } else {
                Next::End(End::Failed(Reason::Interrupted))
            }
        }
        Outcome::ResponseTooLarge => Next::End(End::Failed(Reason::ResponseTooLarge)),
        Outcome::Internal | Outcome::NotSent { .. } | Outcome::GraceOver { .. } => {
            Next::End(End::Failed(Reason::Internal))
        }
    }
}

/// A `Retry-After` as a delay (RFC 9110 §10.2.3): seconds, or a date.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(Timestamp::from(date).since(now))
}

/// Whether an attempt that may have reached the upstream may be repeated at all: the method and the route decide.
pub fn may_repeat(run: &Run) -> bool {
    let idempotent = matches!(
        run.facts.method.as_str(),
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
    );
    match run.policy.repeat {
        Repeat::Idempotent => idempotent,
        Repeat::WithKey => idempotent || run.facts.has_key,
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

fn sent(progress: &mut Progress) {
    progress.ever_sent = true;
    progress.unsent_in_row = 0;
}

/// Pauses between attempts of which nothing was sent: 1, 2, 4 … 30 s.
fn unsent_pause(nth: u32) -> Duration {
    Duration::from_secs((1_u64 << nth.saturating_sub(1).min(5)).min(30))
}

/// Again at `due`; if the grace period is over before that, at its end (the executor then ends the run), and if it is
/// over now, never.
fn again_within(end: Timestamp, now: Timestamp, due: Timestamp, reason: Reason) -> Next {
    if now >= end {
        Next::End(End::Failed(reason))
    } else {
        Next::Again { due: due.min(end) }
    }
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

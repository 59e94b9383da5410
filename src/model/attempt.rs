//! Attempts as they are remembered: one entry for each try of a run's upstream call, and of its delivery.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    delivery::DeliveryError,
    retry::Outcome,
    run::{Run, RunState},
    time::Timestamp,
};

/// The most bytes of a receiver's answer that are remembered.
pub const EXCERPT: usize = 1024;

/// One try of a run's upstream call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunAttempt {
    /// Its number, from 1.
    pub attempt: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// How it ended, by [`Outcome::as_str`].
    pub outcome: String,
    /// The HTTP status, if a whole response came.
    #[schema(required)]
    pub status: Option<u16>,
}

impl RunAttempt {
    /// The entry of an attempt that has ended.
    pub fn new(attempt: u32, started_at: Timestamp, ended_at: Timestamp, outcome: Outcome) -> Self {
        let status = match outcome {
            Outcome::Answered { status, .. } => Some(status),
            _ => None,
        };
        Self {
            attempt,
            started_at,
            duration_ms: millis(ended_at.since(started_at)),
            outcome: outcome.as_str().to_owned(),
            status,
        }
    }

    /// The entry of a run's only attempt, which its record tells as well: it is not stored. None if the run has not
    /// ended after exactly one.
    pub fn only(run: &Run) -> Option<Self> {
        let (started_at, ended_at) = (run.started_at?, run.finished_at?);
        let response = run.response.as_ref()?;
        if run.progress.attempts != 1 {
            return None;
        }
        let status = response.from_upstream.then_some(response.status);
        let outcome = match (run.state, run.reason) {
            (RunState::Cancelled, _) => "cancelled",
            (_, Some(reason)) if status.is_none() => reason.as_str(),
            _ => "answered",
        };
        Some(Self {
            attempt: 1,
            started_at,
            duration_ms: millis(ended_at.since(started_at)),
            outcome: outcome.to_owned(),
            status,
        })
    }
}

/// One try of a delivery, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryTry {
    /// Its number, from 1.
    pub attempt: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The address that was dialled, if one was.
    #[schema(required, value_type = Option<String>)]
    pub address: Option<SocketAddr>,
    /// The HTTP status, if the receiver answered.
    #[schema(required)]
    pub status: Option<u16>,
    /// What went wrong, if it did not.
    #[schema(required)]
    pub error: Option<DeliveryError>,
    /// The same in words, for the operator: an address that the guard refused is named here.
    pub detail: String,
    /// The first [`EXCERPT`] bytes of the answer's body as text; bytes that are none are replaced.
    pub answer: String,
    /// When the next attempt was due, as decided then.
    #[schema(required)]
    pub next_attempt_at: Option<Timestamp>,
}

/// All attempts of a run and of its delivery, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attempts {
    /// Those of the upstream call.
    pub of_run: Vec<RunAttempt>,
    /// Those of the delivery.
    pub of_delivery: Vec<DeliveryTry>,
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! What a route promised a run when it was accepted. It is stored with the run: a reload changes no stored run.

use std::{ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Serialize};

use super::run::RunState;

/// The rules that one run lives by, from acceptance to the end of its delivery. Runs of one route share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Policy {
    /// The route's name.
    pub route: String,
    /// The upstream's time for the run, from the first attempt's start, repeats included.
    pub response_grace_period: Duration,
    /// The longest time a run may be queued before its first attempt.
    pub max_queue_time: Duration,
    /// Which attempts may be repeated though they may have reached the upstream.
    pub repeat: Repeat,
    /// How many attempts that may have reached the upstream there are at most.
    pub attempts: u32,
    /// Statuses after which a repeatable attempt is repeated.
    pub retry_statuses: Vec<u16>,
    /// Statuses that make a run `succeeded`.
    pub success_statuses: StatusSet,
    /// The largest response body that is kept, in bytes.
    pub response_body: u64,
    /// How the webhook is told.
    pub webhook: WebhookPolicy,
}

/// How a run's end is delivered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WebhookPolicy {
    /// The final states that are delivered.
    pub on: Vec<RunState>,
    /// The delay before each attempt, counted from the attempt before; the first from the run's end.
    pub schedule: Vec<Duration>,
}

/// Which attempts may be repeated (RFC 9110 §9.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeat {
    /// Those of idempotent methods: GET, HEAD, OPTIONS, TRACE, PUT, DELETE.
    Idempotent,
    /// Those, and requests with an `Idempotency-Key`.
    WithKey,
    /// All.
    Always,
    /// None.
    Never,
}

/// A set of HTTP statuses, as ranges.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StatusSet(pub Vec<RangeInclusive<u16>>);

impl StatusSet {
    /// Whether `status` is in the set.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

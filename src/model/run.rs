//! A run: its states, what is known of it, and the record that the world sees.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    attempt::{Attempts, RunAttempt},
    delivery::{Delivery, DeliveryRecord},
    id::RunId,
    policy::Policy,
    time::Timestamp,
};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waits for a slot, or for the next attempt.
    Queued,
    /// An attempt is under way.
    Running,
    /// The upstream answered with a success status.
    Succeeded,
    /// It ended otherwise, with a [`Reason`].
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl RunState {
    /// All states, in the order of a life.
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether the run has ended.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }

    /// The state's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why a run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The upstream answered, with no success status.
    UpstreamStatus,
    /// The grace period was over after something was sent.
    Timeout,
    /// The grace period was over and nothing was ever sent.
    Unreachable,
    /// The connection ended midway.
    Broken,
    /// The response was over the limit.
    ResponseTooLarge,
    /// The proxy stopped midway, or a reused connection failed before any answer, and the request may not be repeated.
    Interrupted,
    /// It was queued for longer than `max_queue_time`.
    Expired,
    /// Our own fault.
    Internal,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 8] = [
        Self::UpstreamStatus,
        Self::Timeout,
        Self::Unreachable,
        Self::Broken,
        Self::ResponseTooLarge,
        Self::Interrupted,
        Self::Expired,
        Self::Internal,
    ];

    /// The reason's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UpstreamStatus => "upstream_status",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::ResponseTooLarge => "response_too_large",
            Self::Interrupted => "interrupted",
            Self::Expired => "expired",
            Self::Internal => "internal",
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// The upstream answered with a success status.
    Succeeded,
    /// It failed.
    Failed(Reason),
    /// It was cancelled.
    Cancelled,
}

impl End {
    /// The final state.
    pub const fn state(self) -> RunState {
        match self {
            Self::Succeeded => RunState::Succeeded,
            Self::Failed(_) => RunState::Failed,
            Self::Cancelled => RunState::Cancelled,
        }
    }

    /// Why it failed, if it did.
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Failed(reason) => Some(reason),
            Self::Succeeded | Self::Cancelled => None,
        }
    }
}

/// Everything that is known of a run but for the bodies.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// Where it stands.
    pub state: RunState,
    /// Why it failed, if it did.
    pub reason: Option<Reason>,
    /// What the route promised it.
    pub policy: Arc<Policy>,
    /// What was asked for.
    pub facts: Facts,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When its first attempt started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When the next attempt may start; meaningful while queued.
    pub due_at: Timestamp,
    /// What its attempts have used up.
    pub progress: Progress,
    /// What the upstream (or, in its place, we) answered; known at the end.
    pub response: Option<ResponseFacts>,
    /// The duty to tell its webhook; known at the end.
    pub delivery: Option<Delivery>,
}

/// What was asked for, fixed at acceptance. Nothing in it is secret but `webhook_endpoint`'s path and query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The dialect that asked, by its name in the configuration.
    pub dialect: String,
    /// False for a synchronous call with a webhook.
    #[serde(rename = "async")]
    pub asynchronous: bool,
    /// The OpenWhisk action, otherwise the path.
    pub name: String,
    /// The request's method.
    pub method: String,
    /// The request's path, without its query.
    pub path: String,
    /// Whether the request has an idempotency key (it counts for [`super::policy::Repeat::WithKey`]).
    pub has_key: bool,
    /// The receiver's URL.
    pub webhook_endpoint: Option<String>,
    /// How often the request had passed through this store's proxies before (its loop marks).
    pub depth: u32,
    /// The caller's W3C trace context.
    pub traceparent: Option<String>,
    /// Who may look at the run.
    pub access: Access,
    /// What only some dialects know.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
}

/// Facts that only some dialects know. They are stored as JSON, where absent ones take no room.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extra {
    /// OpenFaaS: the caller's own `X-Call-Id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// OpenFaaS: the function's name, as it stood in the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
}

impl Extra {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Who may look at a run without its token (SPEC: "Who may look").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Whoever knows its id: the request had neither owner headers nor a cookie.
    Anybody,
    /// Whoever sends the same owner headers: their keyed hash (HMAC-SHA256).
    Owner([u8; 32]),
    /// Nobody: the request had a cookie and no owner header.
    TokenOnly,
}

/// What a run's attempts have used up. The input of [`super::retry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Attempts begun, those of which nothing was sent included: the number of the latest one.
    pub attempts: u32,
    /// Attempts that count against the policy's `attempts`.
    pub counted: u32,
    /// Attempts in a row of which nothing was sent.
    pub unsent_in_row: u32,
    /// Whether anything of any attempt may have reached the upstream.
    pub ever_sent: bool,
    /// Whether an error on a reused connection has been forgiven already.
    pub stale_forgiven: bool,
    /// How often the proxy stopped midway.
    pub interruptions: u32,
}

/// What is known of a stored response without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResponseFacts {
    /// Its HTTP status.
    pub status: u16,
    /// Its `Content-Type`, if it is text.
    #[schema(required)]
    pub content_type: Option<String>,
    /// Its body's length in bytes.
    pub bytes: u64,
    /// Whether the upstream answered it; false for our own problem document.
    #[serde(default, skip_serializing)]
    #[schema(ignore)]
    pub from_upstream: bool,
}

/// The record of a run as the API shows it. Keys are always present, null where unknown; those of the logs only where
/// one run is asked for.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Record<'a> {
    /// Its id, a UUID with hyphens.
    run_id: String,
    state: RunState,
    /// Whether it succeeded; null until the end.
    #[schema(required)]
    success: Option<bool>,
    /// Why it failed.
    #[schema(required)]
    reason: Option<Reason>,
    /// False for a synchronous call with a webhook.
    #[serde(rename = "async")]
    asynchronous: bool,
    /// The dialect that asked for it.
    dialect: &'a str,
    route: &'a str,
    /// The OpenWhisk action, otherwise the path.
    name: &'a str,
    method: &'a str,
    path: &'a str,
    accepted_at: Timestamp,
    /// When its first attempt started.
    #[schema(required)]
    started_at: Option<Timestamp>,
    #[schema(required)]
    finished_at: Option<Timestamp>,
    /// Milliseconds from acceptance to the first attempt.
    #[schema(required)]
    queued_ms: Option<u64>,
    /// Milliseconds from the first attempt to the end.
    #[schema(required)]
    duration_ms: Option<u64>,
    /// Attempts begun.
    attempts: u32,
    /// The response grace period, in seconds.
    grace_period_s: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ResponseFacts>, required)]
    response: Option<Option<&'a ResponseFacts>>,
    #[schema(required)]
    delivery: Option<DeliveryRecord<'a>>,
    /// Each attempt that has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    attempts_log: Option<&'a [RunAttempt]>,
}

impl<'a> Record<'a> {
    /// The same, with the logs of all attempts: for operators.
    #[must_use]
    pub fn with_attempts(mut self, attempts: &'a Attempts) -> Self {
        self.attempts_log = Some(&attempts.of_run);
        self.delivery = self
            .delivery
            .map(|delivery| delivery.with_attempts(&attempts.of_delivery));
        self
    }
}

impl Record<'_> {
    /// The record but for its key `response`, for who writes the whole response in its place.
    #[must_use]
    pub fn without_response(mut self) -> Self {
        self.response = None;
        self
    }
}

impl Run {
    /// What the world may see of the run.
    pub fn record(&self) -> Record<'_> {
        let millis = |from: Option<Timestamp>, to: Option<Timestamp>| {
            Some(to?.millis().saturating_sub(from?.millis()))
        };
        Record {
            run_id: self.id.to_string(),
            state: self.state,
            success: self
                .state
                .is_final()
                .then_some(self.state == RunState::Succeeded),
            reason: self.reason,
            asynchronous: self.facts.asynchronous,
            dialect: &self.facts.dialect,
            route: &self.policy.route,
            name: &self.facts.name,
            method: &self.facts.method,
            path: &self.facts.path,
            accepted_at: self.accepted_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            queued_ms: millis(Some(self.accepted_at), self.started_at.or(self.finished_at)),
            duration_ms: millis(self.started_at, self.finished_at),
            attempts: self.progress.attempts,
            grace_period_s: self.policy.response_grace_period.as_secs(),
            response: Some(self.response.as_ref()),
            delivery: self.delivery.as_ref().map(Delivery::record),
            attempts_log: None,
        }
    }
}

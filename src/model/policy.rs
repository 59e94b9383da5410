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
    /// What a delivery's body is. Policies that an earlier version stored have none of it.
    #[serde(default)]
    pub body: WebhookBody,
}

/// `webhook.body`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookBody {
    /// The response body as it is.
    #[default]
    Raw,
    /// The record, with the whole response in it.
    Envelope,
    /// The record, with a link to the response.
    Thin,
    /// Thin if the response body is longer than so many bytes, else raw.
    Auto {
        /// `webhook.thin_above`
        thin_above: u64,
    },
}

/// What one delivery's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The response body.
    Raw,
    /// The record, with the response.
    Envelope,
    /// The record, with a link.
    Thin,
}

impl WebhookBody {
    /// The form for a response body of so many bytes.
    pub const fn form(self, bytes: u64) -> Form {
        match self {
            Self::Raw => Form::Raw,
            Self::Envelope => Form::Envelope,
            Self::Thin => Form::Thin,
            Self::Auto { thin_above } if bytes > thin_above => Form::Thin,
            Self::Auto { .. } => Form::Raw,
        }
    }

    /// Whether some deliveries link to the response.
    pub const fn links(self) -> bool {
        match self {
            Self::Raw | Self::Envelope => false,
            Self::Thin | Self::Auto { .. } => true,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_of_an_earlier_version_reads_as_raw() {
        let old = r#"{"on":["failed"],"schedule":[{"secs":5,"nanos":0}]}"#;
        let policy: WebhookPolicy = serde_json::from_str(old).unwrap();
        assert_eq!(policy.body, WebhookBody::Raw);
        let auto = WebhookPolicy {
            body: WebhookBody::Auto { thin_above: 7 },
            ..policy
        };
        let text = serde_json::to_string(&auto).unwrap();
        assert_eq!(serde_json::from_str::<WebhookPolicy>(&text).unwrap(), auto);
    }

    #[test]
    fn auto_is_thin_above_its_size_only() {
        let auto = WebhookBody::Auto { thin_above: 7 };
        assert_eq!((auto.form(7), auto.form(8)), (Form::Raw, Form::Thin));
    }
}

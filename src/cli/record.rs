//! A run's record as a server showed it. What is missing or null is left empty: the server may be older or newer.

use serde::Deserialize;

use super::terminal::Colour;
use crate::model::time::Timestamp;

/// What is known of one run.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    pub(super) run_id: String,
    pub(super) state: String,
    /// None until it has ended.
    pub(super) success: Option<bool>,
    pub(super) reason: Option<String>,
    #[serde(rename = "async")]
    pub(super) asynchronous: bool,
    pub(super) dialect: String,
    pub(super) route: String,
    pub(super) name: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) accepted_at: Option<Timestamp>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) queued_ms: Option<u64>,
    pub(super) duration_ms: Option<u64>,
    pub(super) attempts: u64,
    pub(super) grace_period_s: u64,
    pub(super) response: Option<Response>,
    pub(super) delivery: Option<Delivery>,
    pub(super) attempts_log: Vec<Attempt>,
}

/// What is known of its response.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) content_type: Option<String>,
    pub(super) bytes: u64,
}

/// What is known of its delivery.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Delivery {
    pub(super) state: String,
    pub(super) host: String,
    pub(super) attempts: u64,
    pub(super) last_status: Option<u16>,
    pub(super) last_error: Option<String>,
    pub(super) next_attempt_at: Option<Timestamp>,
    pub(super) attempts_log: Vec<Attempt>,
}

/// One try, of the upstream call or of the delivery: each has some of these.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Attempt {
    pub(super) attempt: u64,
    pub(super) started_at: Option<Timestamp>,
    pub(super) duration_ms: u64,
    pub(super) outcome: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) address: Option<String>,
    pub(super) error: Option<String>,
    pub(super) detail: Option<String>,
}

impl Record {
    /// How it ended, in the words of the pages; its state while it has not.
    pub(super) fn ending(&self) -> &str {
        match self.success {
            Some(true) => "success",
            Some(false) => "failure",
            None => &self.state,
        }
    }

    /// State, reason and status: `failed (upstream_status 500)`.
    pub(super) fn fate(&self) -> String {
        let status = self.response.as_ref().map(|response| response.status);
        match (&self.reason, status) {
            (Some(reason), Some(status)) => format!("{} ({reason} {status})", self.state),
            (Some(reason), None) => format!("{} ({reason})", self.state),
            (None, _) => self.state.clone(),
        }
    }
}

/// The colour of a state of a run or a delivery.
pub(super) fn colour(state: &str) -> Option<Colour> {
    match state {
        "succeeded" | "delivered" => Some(Colour::Green),
        "failed" | "dead" => Some(Colour::Red),
        "cancelled" => Some(Colour::Yellow),
        "running" | "pending" => Some(Colour::Cyan),
        _ => None,
    }
}

/// A span of time in one or two words: `340 ms`, `2.0 s`, `3m 20s`.
pub(super) fn span(millis: u64) -> String {
    match millis {
        0..1000 => format!("{millis} ms"),
        1000..60_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        60_000..3_600_000 => format!("{}m {}s", millis / 60_000, millis / 1000 % 60),
        _ => format!("{}h {}m", millis / 3_600_000, millis / 60_000 % 60),
    }
}

/// How long ago, in one word: `12s`, `3m`, `2h`, `5d`.
pub(super) fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(then).as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_record_of_another_version_is_read() {
        let record: Record = serde_json::from_str(
            r#"{"run_id":"x","state":"failed","success":false,"reason":"timeout","new":[1],"response":{"status":504}}"#,
        )
        .unwrap();
        assert_eq!(record.fate(), "failed (timeout 504)");
        assert_eq!(record.ending(), "failure");
        assert_eq!(record.accepted_at, None);
    }

    #[test]
    fn spans_and_ages_are_short() {
        let spans = [
            0, 999, 1000, 59_999, 60_000, 3_599_999, 3_600_000, 90_000_000,
        ];
        let texts = [
            "0 ms", "999 ms", "1.0 s", "59.9 s", "1m 0s", "59m 59s", "1h 0m", "25h 0m",
        ];
        assert_eq!(spans.map(span), texts);
        let now = Timestamp::from_millis(1_790_000_000_000);
        let ages = [0, 59, 60, 3599, 3600, 172_799, 172_800];
        let ages = ages.map(|seconds| age(now.before(Duration::from_secs(seconds)), now));
        assert_eq!(ages, ["0s", "59s", "1m", "59m", "1h", "47h", "2d"]);
        assert_eq!(age(now.after(Duration::from_secs(5)), now), "0s");
    }
}

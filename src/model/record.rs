//! A run's record as it is read back by who was shown it (see [`super::run::Record`]). What is missing or null is left
//! empty: who showed it may be older or newer.

use serde::Deserialize;

use super::time::Timestamp;

/// What is known of one run.
#[expect(
    missing_docs,
    reason = "the record has the same keys, and says what they mean"
)]
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Record {
    pub run_id: String,
    pub state: String,
    /// None until it has ended.
    pub success: Option<bool>,
    pub reason: Option<String>,
    #[serde(rename = "async")]
    pub asynchronous: bool,
    pub dialect: String,
    pub route: String,
    pub name: String,
    pub method: String,
    pub path: String,
    pub accepted_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub queued_ms: Option<u64>,
    pub duration_ms: Option<u64>,
    pub attempts: u64,
    pub grace_period_s: u64,
    pub response: Option<Response>,
    pub delivery: Option<Delivery>,
    pub attempts_log: Vec<Attempt>,
}

/// What is known of its response.
#[expect(
    missing_docs,
    reason = "the record has the same keys, and says what they mean"
)]
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Response {
    pub status: u16,
    pub content_type: Option<String>,
    pub bytes: u64,
}

/// What is known of its delivery.
#[expect(
    missing_docs,
    reason = "the record has the same keys, and says what they mean"
)]
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Delivery {
    pub state: String,
    pub host: String,
    pub attempts: u64,
    pub last_status: Option<u16>,
    pub last_error: Option<String>,
    pub next_attempt_at: Option<Timestamp>,
    pub attempts_log: Vec<Attempt>,
}

/// One try, of the upstream call or of the delivery: each has some of these.
#[expect(
    missing_docs,
    reason = "the record has the same keys, and says what they mean"
)]
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Attempt {
    pub attempt: u64,
    pub started_at: Option<Timestamp>,
    pub duration_ms: u64,
    pub outcome: Option<String>,
    pub status: Option<u16>,
    pub address: Option<String>,
    pub error: Option<String>,
    pub detail: Option<String>,
    pub answer: Option<String>,
    pub next_attempt_at: Option<Timestamp>,
}

impl Record {
    /// How it ended, in the words of the pages; its state while it has not.
    pub fn ending(&self) -> &str {
        match self.success {
            Some(true) => "success",
            Some(false) => "failure",
            None => &self.state,
        }
    }

    /// State, reason and status: `failed (upstream_status 500)`.
    pub fn fate(&self) -> String {
        let status = self.response.as_ref().map(|response| response.status);
        match (&self.reason, status) {
            (Some(reason), Some(status)) => format!("{} ({reason} {status})", self.state),
            (Some(reason), None) => format!("{} ({reason})", self.state),
            (None, _) => self.state.clone(),
        }
    }
}

/// A span of time in one or two words: `340 ms`, `2.0 s`, `3m 20s`.
pub fn span(millis: u64) -> String {
    match millis {
        0..1000 => format!("{millis} ms"),
        1000..60_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        60_000..3_600_000 => format!("{}m {}s", millis / 60_000, millis / 1000 % 60),
        _ => format!("{}h {}m", millis / 3_600_000, millis / 60_000 % 60),
    }
}

/// How long ago, in one word: `12s`, `3m`, `2h`, `5d`.
pub fn age(then: Timestamp, now: Timestamp) -> String {
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

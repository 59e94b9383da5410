//! The record of an activation: what a run looks like to a client of OpenWhisk.

use serde::Serialize;

use crate::model::{
    attempt::RunAttempt,
    run::{Reason, Run, RunState},
    time::Timestamp,
};

/// How an activation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The application answered well.
    Success,
    /// It answered with an error.
    ApplicationError,
    /// It did not answer as it should: too late, not at all, too much; or the run was cancelled.
    DeveloperError,
    /// We could not carry the run out.
    OurError,
}

impl Ending {
    /// That of a finished run.
    pub const fn of(run: &Run) -> Self {
        match (run.state, run.reason) {
            (RunState::Succeeded, _) => Self::Success,
            (_, Some(Reason::UpstreamStatus)) => Self::ApplicationError,
            (_, Some(Reason::Interrupted | Reason::Expired | Reason::Internal)) => Self::OurError,
            (
                _,
                Some(
                    Reason::Timeout
                    | Reason::Unreachable
                    | Reason::Broken
                    | Reason::ResponseTooLarge,
                )
                | None,
            ) => Self::DeveloperError,
        }
    }

    /// Its name: `response.status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ApplicationError => "application error",
            Self::DeveloperError => "action developer error",
            Self::OurError => "whisk internal error",
        }
    }

    /// Its number: `statusCode`.
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::ApplicationError => 1,
            Self::DeveloperError => 2,
            Self::OurError => 3,
        }
    }

    /// The HTTP status of the answer to a blocking invocation.
    pub const fn status(self) -> u16 {
        match self {
            Self::Success => 200,
            Self::ApplicationError | Self::DeveloperError => 502,
            Self::OurError => 500,
        }
    }

    /// Whether all is well.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Success)
    }
}

/// A finished run of a namespace.
#[derive(Debug, Clone, Copy)]
pub struct Activation<'a> {
    /// The namespace's name.
    pub namespace: &'a str,
    /// The run.
    pub run: &'a Run,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    namespace: &'a str,
    name: &'a str,
    version: &'static str,
    publish: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    activation_id: String,
    start: u64,
    end: u64,
    duration: u64,
    status_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<[Annotation; 4]>,
}

#[derive(Serialize)]
struct Annotation {
    key: &'static str,
    value: serde_json::Value,
}

#[derive(Serialize)]
struct After<'a> {
    logs: &'a [String],
    annotations: [Annotation; 4],
}

impl Activation<'_> {
    /// When it began: its first attempt, or its acceptance if there was none.
    pub fn start(&self) -> Timestamp {
        self.run.started_at.unwrap_or(self.run.accepted_at)
    }

    fn end(&self) -> Timestamp {
        self.run.finished_at.unwrap_or_else(|| self.start())
    }

    fn record(&self, full: bool) -> Record<'_> {
        let (start, end) = (self.start(), self.end());
        Record {
            namespace: self.namespace,
            name: &self.run.facts.name,
            version: "0.0.1",
            publish: false,
            subject: full.then_some(self.namespace),
            activation_id: self.run.id.simple(),
            start: start.millis(),
            end: end.millis(),
            duration: end.millis().saturating_sub(start.millis()),
            status_code: Ending::of(self.run).code(),
            annotations: (!full).then(|| self.annotations()),
        }
    }

    fn annotations(&self) -> [Annotation; 4] {
        let waited = self.start().since(self.run.accepted_at).as_millis();
        let path = format!("{}/{}", self.namespace, self.run.facts.name);
        [
            ("path", path.into()),
            ("waitTime", u64::try_from(waited).unwrap_or_default().into()),
            ("timeout", (self.run.reason == Some(Reason::Timeout)).into()),
            // OpenWhisk's word for code that it knows nothing of; one client fails without a kind.
            ("kind", "blackbox".into()),
        ]
        .map(|(key, value)| Annotation { key, value })
    }

    /// The entry of a list: the record without response and logs.
    pub fn summary(&self) -> Vec<u8> {
        json(&self.record(false))
    }

    /// The full record up to its result.
    pub fn before_result(&self) -> Vec<u8> {
        let ending = Ending::of(self.run);
        let mut text = json(&self.record(true));
        text.pop();
        let response = format!(
            ",\"response\":{{\"status\":\"{}\",\"statusCode\":{},\"success\":{},\"result\":",
            ending.as_str(),
            ending.code(),
            ending.is_success()
        );
        text.extend_from_slice(response.as_bytes());
        text
    }

    /// The full record behind its result, which took `size` bytes.
    pub fn after_result(&self, size: u64, logs: &[String]) -> Vec<u8> {
        let after = After {
            logs,
            annotations: self.annotations(),
        };
        let mut text = format!(",\"size\":{size}}},").into_bytes();
        text.extend_from_slice(&json(&after)[1..]);
        text
    }

    /// What follows the result where it stands alone: `{"result":…` begins before it.
    pub fn after_lone_result(&self) -> Vec<u8> {
        let ending = Ending::of(self.run);
        let (success, status) = (ending.is_success(), ending.as_str());
        format!(",\"success\":{success},\"status\":\"{status}\"}}").into_bytes()
    }
}

/// The lines of an activation's logs: one for each attempt, at its end.
pub fn logs(attempts: &[RunAttempt]) -> Vec<String> {
    let lines = attempts.iter().map(|attempt| {
        let ended = attempt
            .started_at
            .millis()
            .saturating_add(attempt.duration_ms);
        let (stream, outcome) = match attempt.status {
            Some(status) if status < 400 => ("stdout", format!("answered {status}")),
            Some(status) => ("stderr", format!("answered {status}")),
            None => ("stderr", attempt.outcome.replace('_', " ")),
        };
        format!(
            "{} {stream}: attempt {}: {outcome} after {} ms",
            Timestamp::from_millis(ended),
            attempt.attempt,
            attempt.duration_ms
        )
    });
    lines.collect()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::model::{
        policy::{Policy, Repeat, StatusSet, WebhookPolicy},
        run::{Access, Facts, Progress, ResponseFacts},
    };

    /// A run of the action `sample/hello` in the namespace `ns` that has ended so.
    pub(in crate::model::dialect::openwhisk) fn ended(
        state: RunState,
        reason: Option<Reason>,
    ) -> Run {
        Run {
            id: "0199f00c-5e2a-7c3b-8d4e-5f60718293a4".parse().unwrap(),
            state,
            reason,
            policy: Arc::new(Policy {
                route: "openwhisk/ns".into(),
                response_grace_period: Duration::from_secs(900),
                max_queue_time: Duration::from_secs(86_400),
                repeat: Repeat::Idempotent,
                attempts: 1,
                retry_statuses: vec![],
                success_statuses: StatusSet(vec![200..=399]),
                response_body: 1 << 20,
                webhook: WebhookPolicy {
                    on: vec![],
                    schedule: vec![],
                    body: crate::model::policy::WebhookBody::Raw,
                },
            }),
            facts: Facts {
                dialect: "openwhisk".into(),
                asynchronous: true,
                name: "sample/hello".into(),
                method: "POST".into(),
                path: "/sample/hello".into(),
                has_key: false,
                webhook_endpoint: None,
                depth: 0,
                traceparent: None,
                access: Access::Anybody,
                extra: crate::model::run::Extra::default(),
            },
            accepted_at: Timestamp::from_millis(1_692_623_021_973),
            started_at: Some(Timestamp::from_millis(1_692_623_022_053)),
            finished_at: Some(Timestamp::from_millis(1_692_623_024_055)),
            due_at: Timestamp::from_millis(0),
            progress: Progress {
                attempts: 1,
                ..Progress::default()
            },
            response: Some(ResponseFacts {
                status: 200,
                content_type: None,
                bytes: 14,
                from_upstream: reason.is_none() || reason == Some(Reason::UpstreamStatus),
            }),
            delivery: None,
        }
    }

    #[test]
    fn the_full_record_has_these_members_in_this_order() {
        let run = ended(RunState::Succeeded, None);
        let namespace = "ns";
        let activation = Activation {
            namespace,
            run: &run,
        };
        let result = b"{\"body\":\"hello\"}".to_vec();
        let text = [
            activation.before_result(),
            result,
            activation.after_result(16, &["line".to_owned()]),
        ]
        .concat();
        let text = String::from_utf8(text).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn the_entry_of_a_list_is_the_same_without_response_and_logs() {
        let mut run = ended(RunState::Failed, Some(Reason::Timeout));
        run.started_at = None;
        let activation = Activation {
            namespace: "ns",
            run: &run,
        };
        insta::assert_snapshot!(String::from_utf8(activation.summary()).unwrap());
    }

    #[test]
    fn every_end_has_its_name_number_and_status() {
        let ends = Reason::ALL
            .map(|reason| (RunState::Failed, Some(reason)))
            .into_iter()
            .chain([(RunState::Succeeded, None), (RunState::Cancelled, None)]);
        let lines: Vec<_> = ends
            .map(|(state, reason)| {
                let run = ended(state, reason);
                let ending = Ending::of(&run);
                let lone = Activation {
                    namespace: "ns",
                    run: &run,
                }
                .after_lone_result();
                format!(
                    "{} {}: {} {} …{}",
                    state.as_str(),
                    reason.map_or("", Reason::as_str),
                    ending.code(),
                    ending.status(),
                    String::from_utf8(lone).unwrap()
                )
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn each_attempt_is_a_line_of_the_logs() {
        let at = |attempt, outcome: &str, status| RunAttempt {
            attempt,
            started_at: Timestamp::from_millis(1_692_623_022_053),
            duration_ms: 2002,
            outcome: outcome.to_owned(),
            status,
        };
        let lines = logs(&[
            at(1, "not_sent", None),
            at(2, "answered", Some(503)),
            at(3, "answered", Some(200)),
        ]);
        assert_eq!(
            lines,
            [
                "2023-08-21T13:03:44.055Z stderr: attempt 1: not sent after 2002 ms",
                "2023-08-21T13:03:44.055Z stderr: attempt 2: answered 503 after 2002 ms",
                "2023-08-21T13:03:44.055Z stdout: attempt 3: answered 200 after 2002 ms",
            ]
        );
        assert!(logs(&[]).is_empty());
    }
}

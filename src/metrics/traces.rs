//! Spans of runs, their attempts and deliveries, for whoever collects them. Each is told once, when it is over.

use std::{fmt, sync::Arc, time::Duration};

use crate::model::{
    attempt::DeliveryTry,
    retry::Outcome,
    run::{Reason, Run, RunState},
    time::Timestamp,
    trace::{Part, TraceContext, span_id},
};

#[cfg(feature = "otel")]
mod otlp;

/// Where spans go; by default nowhere. Clones lead to the same place.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<dyn Collector>>);

/// Spans cannot be sent where the environment says.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be sent: {0}; see to the OTEL_EXPORTER_OTLP_* variables, or unset them")]
pub struct TracesError(String);

/// One who takes spans; it never blocks for long.
trait Collector: Send + Sync {
    fn take(&self, span: Span);
    /// Sends what it has.
    fn flush(&self);
}

/// A span that is over.
#[derive(Debug)]
#[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "nobody takes it"))]
struct Span {
    context: TraceContext,
    id: [u8; 8],
    parent: Option<[u8; 8]>,
    /// Whether the parent is the caller's.
    parent_is_remote: bool,
    name: &'static str,
    kind: Kind,
    start: Timestamp,
    took: Duration,
    /// Why it failed, if it did.
    failed: Option<&'static str>,
    attributes: Vec<(&'static str, Value)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Done for a caller.
    Server,
    /// Asked of somebody.
    Client,
}

#[derive(Debug)]
#[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "nobody reads it"))]
enum Value {
    Text(String),
    Number(i64),
}

impl Traces {
    /// To the collector that the environment names (`OTEL_EXPORTER_OTLP_ENDPOINT` and its kin, as the OpenTelemetry
    /// specification has them); nowhere if it names none.
    ///
    /// # Errors
    /// When it names one that spans cannot be sent to.
    pub fn of_environment() -> Result<Self, TracesError> {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let endpoints = [
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        ];
        let is_off = std::env::var_os("OTEL_SDK_DISABLED").is_some_and(|value| value == "true");
        if is_off || !endpoints.into_iter().any(is_set) {
            return Ok(Self::default());
        }
        #[cfg(feature = "otel")]
        return Ok(Self(Some(Arc::new(otlp::Otlp::of_environment()?))));
        #[cfg(not(feature = "otel"))]
        Err(TracesError(
            "this program was built without the feature `otel`".to_owned(),
        ))
    }

    /// Whether anybody takes spans. Then requests and webhooks are sent as children of ours.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A run has ended.
    pub(crate) fn run(&self, run: &Run) {
        let Some(collector) = &self.0 else { return };
        let context = TraceContext::of(run);
        let ended = run.finished_at.unwrap_or(run.accepted_at);
        let mut attributes = about(run);
        attributes.extend([
            ("raincheck.dialect", text(&run.facts.dialect)),
            ("raincheck.state", text(run.state.as_str())),
            ("http.request.method", text(&run.facts.method)),
            ("url.path", text(&run.facts.path)),
            ("raincheck.attempts", number(run.progress.attempts)),
        ]);
        if let Some(response) = &run.response {
            let status = number(response.status);
            attributes.push(("http.response.status_code", status));
        }
        let failed = match run.state {
            RunState::Failed => Some(run.reason.map_or("failed", Reason::as_str)),
            RunState::Cancelled => Some("cancelled"),
            RunState::Queued | RunState::Running | RunState::Succeeded => None,
        };
        collector.take(Span {
            id: span_id(run.id, Part::Run),
            parent: context.caller,
            parent_is_remote: true,
            name: "run",
            kind: Kind::Server,
            start: run.accepted_at,
            took: ended.since(run.accepted_at),
            failed,
            attributes,
            context,
        });
    }

    /// An attempt of a run has ended.
    pub(crate) fn attempt(&self, run: &Run, outcome: Outcome, began: Timestamp, now: Timestamp) {
        let number_of = run.progress.attempts;
        let mut attributes = vec![("raincheck.attempt", number(number_of))];
        let mut failed = Some(outcome.as_str());
        if let Outcome::Answered { status, .. } = outcome {
            attributes.push(("http.response.status_code", number(status)));
            failed = (!run.policy.success_statuses.contains(status)).then_some("upstream_status");
        }
        let times = (began, now.since(began));
        self.part(run, Part::Attempt(number_of), times, (failed, attributes));
    }

    /// An attempt of a run's delivery has ended.
    pub(crate) fn delivery(&self, run: &Run, entry: &DeliveryTry) {
        let mut attributes = vec![("raincheck.attempt", number(entry.attempt))];
        if let Some(delivery) = &run.delivery {
            attributes.push(("server.address", text(&delivery.host)));
        }
        if let Some(status) = entry.status {
            attributes.push(("http.response.status_code", number(status)));
        }
        let refused = entry.status.is_some_and(|it| !(200..300).contains(&it));
        let failed = match entry.error {
            Some(error) => Some(error.as_str()),
            None if refused => Some("rejected"),
            None => None,
        };
        let times = (entry.started_at, Duration::from_millis(entry.duration_ms));
        let part = Part::Delivery(entry.attempt);
        self.part(run, part, times, (failed, attributes));
    }

    /// Has what was taken sent. Blocks for seconds if the collector is slow.
    pub(crate) fn flush(&self) {
        if let Some(collector) = &self.0 {
            collector.flush();
        }
    }

    fn part(
        &self,
        run: &Run,
        part: Part,
        (start, took): (Timestamp, Duration),
        (failed, mut attributes): (Option<&'static str>, Vec<(&'static str, Value)>),
    ) {
        let Some(collector) = &self.0 else { return };
        attributes.extend(about(run));
        collector.take(Span {
            context: TraceContext::of(run),
            id: span_id(run.id, part),
            parent: Some(span_id(run.id, Part::Run)),
            parent_is_remote: false,
            name: match part {
                Part::Run => "run",
                Part::Attempt(_) => "attempt",
                Part::Delivery(_) => "delivery",
            },
            kind: Kind::Client,
            start,
            took,
            failed,
            attributes,
        });
    }
}

fn about(run: &Run) -> Vec<(&'static str, Value)> {
    vec![
        ("raincheck.run_id", text(&run.id.to_string())),
        ("raincheck.route", text(&run.policy.route)),
    ]
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn number(number: impl Into<i64>) -> Value {
    Value::Number(number.into())
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces")
            .field("is_on", &self.is_on())
            .finish()
    }
}

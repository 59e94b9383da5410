//! Every combination of labels that can occur, at 0 before its first event: a rate over a counter that appears with
//! its first event would miss that event.

use super::Metrics;
use crate::model::{
    breaker::BreakerState,
    delivery::{DeliveryError, DeliveryState},
    problem::Code,
    replica::DayState,
    run::{Reason, RunState},
};

/// Outcomes of an attempt, [`crate::model::retry::Outcome::as_str`], and that of one that was cancelled.
const ATTEMPT_OUTCOMES: [&str; 9] = [
    "answered",
    "not_sent",
    "stale",
    "broken",
    "response_too_large",
    "grace_over",
    "interrupted",
    "internal",
    "cancelled",
];

/// Why a request for a run is refused on a known route.
const REFUSALS: [Code; 13] = [
    Code::BadRequest,
    Code::UpgradeNotARun,
    Code::ConflictingTriggers,
    Code::RepeatedParameter,
    Code::InvalidWebhookEndpoint,
    Code::ForbiddenWebhookEndpoint,
    Code::CrossSiteWebhook,
    Code::RequestTooLarge,
    Code::RequestTimeout,
    Code::LoopDetected,
    Code::TooManyRuns,
    Code::StoreUnavailable,
    Code::IdempotencyKeyReused,
];

const CODE_CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

impl Metrics {
    /// Shows what can be counted for a route, from 0 on. `dialects` are those that it speaks; none if it is
    /// pass-through only.
    pub fn prepare_route<'a>(&self, route: &str, dialects: Option<impl Iterator<Item = &'a str>>) {
        for class in CODE_CLASSES {
            self.requests.with_label_values(&[route, class]);
        }
        self.request_duration.with_label_values(&[route]);
        let Some(dialects) = dialects else { return };
        for dialect in dialects {
            self.runs_accepted.with_label_values(&[route, dialect]);
        }
        for code in REFUSALS {
            self.runs_rejected
                .with_label_values(&[route, code.as_str()]);
        }
        for state in [RunState::Succeeded, RunState::Cancelled] {
            self.runs_finished
                .with_label_values(&[route, state.as_str(), ""]);
        }
        for reason in Reason::ALL {
            let labels = [route, RunState::Failed.as_str(), reason.as_str()];
            self.runs_finished.with_label_values(&labels);
        }
        for outcome in ATTEMPT_OUTCOMES {
            self.run_attempts.with_label_values(&[route, outcome]);
        }
        self.runs_running.with_label_values(&[route]);
        self.run_queue.with_label_values(&[route]);
        self.run_duration.with_label_values(&[route]);
    }

    /// Shows what belongs to no route at 0.
    pub(super) fn prepare(&self) {
        let errors = DeliveryError::ALL.map(DeliveryError::as_str);
        for outcome in ["delivered", "rejected"].iter().chain(&errors) {
            self.delivery_attempts.with_label_values(&[outcome]);
        }
        for state in BreakerState::ALL {
            self.delivery_receivers.with_label_values(&[state.as_str()]);
        }
        for state in DayState::ALL {
            self.store_days.with_label_values(&[state.as_str()]);
        }
        for state in RunState::ALL {
            self.store_runs.with_label_values(&[state.as_str()]);
        }
        for state in DeliveryState::ALL {
            self.store_deliveries.with_label_values(&[state.as_str()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{metrics::Metrics, model::books::Books};

    #[test]
    fn counters_of_a_route_are_there_before_their_first_event() {
        let metrics = Metrics::new().unwrap();
        metrics.prepare_route("app", Some(["cerebrium"].into_iter()));
        metrics.prepare_route("plain", None::<std::iter::Empty<&str>>);
        metrics.keep_books(&Books::default());
        let text = String::from_utf8(metrics.text().unwrap()).unwrap();
        for line in [
            "raincheck_runs_accepted_total{dialect=\"cerebrium\",route=\"app\"} 0",
            "raincheck_runs_rejected_total{code=\"too-many-runs\",route=\"app\"} 0",
            "raincheck_runs_finished_total{reason=\"timeout\",route=\"app\",state=\"failed\"} 0",
            "raincheck_run_attempts_total{outcome=\"stale\",route=\"app\"} 0",
            "raincheck_requests_total{code_class=\"5xx\",route=\"plain\"} 0",
            "raincheck_run_queue_seconds_count{route=\"app\"} 0",
            "raincheck_store_runs{state=\"queued\"} 0",
            "raincheck_store_deliveries{state=\"dead\"} 0",
        ] {
            assert!(
                text.contains(&format!("{line}\n")),
                "{line} is missing in\n{text}"
            );
        }
        assert!(!text.contains("raincheck_runs_running{route=\"plain\"}"));
    }
}

//! What is told of a run's end, whoever ended it: one log line, and the metrics.

use crate::{
    metrics::{Metrics, seconds},
    model::run::{Reason, Run},
};

/// Counts and logs a run that has just ended. To be called once for each: by who settled, cancelled or expired it.
pub fn finished(metrics: &Metrics, run: &Run) {
    let route = run.policy.route.as_str();
    let state = run.state.as_str();
    let reason = run.reason.map_or("", Reason::as_str);
    metrics
        .runs_finished
        .with_label_values(&[route, state, reason])
        .inc();
    let ended = run.finished_at.unwrap_or(run.accepted_at);
    let queued = run.started_at.unwrap_or(ended).since(run.accepted_at);
    let duration = run.started_at.map(|started| ended.since(started));
    let took = duration.map(|duration| (queued, duration));
    metrics.minutes.note(run.state, ended, took);
    metrics.traces.run(run);
    if let Some(duration) = duration {
        metrics
            .run_duration
            .with_label_values(&[route])
            .observe(seconds(duration));
    }
    tracing::info!(
        run_id = %run.id,
        route,
        state,
        reason,
        status = run.response.as_ref().map(|response| response.status),
        attempts = run.progress.attempts,
        queued_ms = u64::try_from(queued.as_millis()).ok(),
        duration_ms = duration.and_then(|duration| u64::try_from(duration.as_millis()).ok()),
        "run ended"
    );
}

/// Logs a delivery that is dead at its deadline, without another attempt.
pub fn gave_up(run: &Run) {
    if let Some(delivery) = &run.delivery {
        tracing::warn!(
            run_id = %run.id,
            host = delivery.host,
            attempts = delivery.attempts,
            "a delivery is dead: its time is over"
        );
    }
}

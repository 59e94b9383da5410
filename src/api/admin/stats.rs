//! The state of the whole, for a page or a script: the books, what is under way, and the last hour.

use std::{collections::BTreeMap, sync::Arc};

use axum::extract::State;
use http::{StatusCode, request::Parts};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, Shared};
use crate::{
    api::answer,
    metrics::{Durations, Minute},
    model::{breaker::BreakerState, time::Timestamp},
};

/// The state of the whole.
#[derive(Serialize, ToSchema)]
pub(super) struct Stats {
    /// The program's version.
    version: &'static str,
    /// When this process started.
    started_at: Timestamp,
    /// How long ago that was, in seconds.
    uptime_s: u64,
    /// Whether it takes work: not while it starts or drains.
    ready: bool,
    runs: Runs,
    deliveries: Deliveries,
    store: StoreState,
    /// The last hour, minute by minute, the present one last: runs that ended in this process.
    minutes: Vec<Minute>,
    /// How long the runs took that ended in the last hour in this process.
    last_hour: Durations,
}

#[derive(Serialize, ToSchema)]
struct Runs {
    /// Ever accepted.
    accepted: u64,
    /// Where they stand; removed ones are still counted.
    #[schema(value_type = BTreeMap<String, u64>)]
    states: BTreeMap<&'static str, u64>,
    /// Attempts that are under way in this process.
    under_way: usize,
}

#[derive(Serialize, ToSchema)]
struct Deliveries {
    /// Where they stand; removed ones are still counted.
    #[schema(value_type = BTreeMap<String, u64>)]
    states: BTreeMap<&'static str, u64>,
    /// Those that wait in this process.
    waiting: usize,
    /// Receivers by the state of their breakers, closed ones left out.
    #[schema(value_type = BTreeMap<String, usize>)]
    breakers: BTreeMap<&'static str, usize>,
}

#[derive(Serialize, ToSchema)]
struct StoreState {
    /// Whether runs can be stored.
    writable: bool,
    /// Why not.
    #[schema(required)]
    trouble: Option<String>,
    /// Changes that wait to be committed.
    queue: i64,
    /// Bytes on disk: `database`, `log`, `spool`.
    #[schema(value_type = BTreeMap<String, u64>)]
    bytes: BTreeMap<&'static str, u64>,
}

/// The books, what is under way, and the last hour.
#[utoipa::path(get, path = "/api/v1/stats", operation_id = "get_stats", tag = "state",
    responses((status = 200, description = "The state of the whole.", body = Stats)))]
pub(super) async fn stats(State(shared): State<Arc<Shared>>, request: Parts) -> Answer {
    shared.read(&request, &[])?;
    let books = shared.store.books().await.map_err(|error| {
        tracing::error!(%error, "the books cannot be read");
        answer::unavailable()
    })?;
    let (now, started) = (shared.clock.now(), shared.started_at);
    let mut breakers: BTreeMap<_, _> = BreakerState::ALL
        .into_iter()
        .filter(|state| *state != BreakerState::Closed)
        .map(|state| (state.as_str(), 0))
        .collect();
    for troubled in shared.lines.troubled() {
        *breakers.entry(troubled.state.as_str()).or_default() += 1;
    }
    let trouble = shared.store.ready().err();
    let stats = Stats {
        version: env!("CARGO_PKG_VERSION"),
        started_at: started,
        uptime_s: now.since(started).as_secs(),
        ready: shared.readiness.is_ready(),
        runs: Runs {
            accepted: books.accepted,
            states: books.runs,
            under_way: shared.live.len(),
        },
        deliveries: Deliveries {
            states: books.deliveries,
            waiting: shared.lines.len(),
            breakers,
        },
        store: StoreState {
            writable: trouble.is_none(),
            trouble: trouble.map(|why| why.to_string()),
            queue: shared.metrics.store_queue.get(),
            bytes: books.bytes,
        },
        minutes: shared.metrics.minutes.last_hour(now),
        last_hour: shared.metrics.minutes.durations(now),
    };
    Ok(answer::json(StatusCode::OK, &stats))
}

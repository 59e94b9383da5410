//! The first page: what is going on, and what went on in the last hour.

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::{
    ask,
    page::{self, Frame},
    words,
};
use crate::{api::Door, model::time::Timestamp};

/// `GET /api/v1/stats`, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Stats {
    started_at: Timestamp,
    ready: bool,
    runs: Runs,
    deliveries: Deliveries,
    store: Store,
    minutes: Vec<Minute>,
    last_hour: Durations,
}

#[derive(Debug, Deserialize)]
struct Runs {
    accepted: u64,
    states: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
struct Deliveries {
    states: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
struct Store {
    trouble: Option<String>,
    queue: u64,
    bytes: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Minute {
    at: Timestamp,
    succeeded: u64,
    failed: u64,
    cancelled: u64,
}

#[derive(Debug, Deserialize)]
struct Durations {
    queued_ms: Option<Percentiles>,
    duration_ms: Option<Percentiles>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Percentiles {
    p50: u64,
    p90: u64,
    p99: u64,
}

#[derive(Debug, Deserialize)]
struct Breakers {
    breakers: Vec<Breaker>,
}

#[derive(Debug, Deserialize)]
struct Breaker {
    receiver: String,
    state: String,
    failures: u32,
    probe_at: Option<Timestamp>,
    pending: usize,
}

/// One number of the first row, and where it leads.
struct Tile {
    name: &'static str,
    class: &'static str,
    value: String,
    link: &'static str,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    frame: Frame,
    part: Part,
}

/// What is refreshed.
#[derive(Template)]
#[template(path = "overview_part.html")]
struct Part {
    ready: bool,
    trouble: Option<String>,
    started_at: Timestamp,
    accepted: String,
    tiles: Vec<Tile>,
    /// For the chart's script.
    minutes: String,
    in_hour: String,
    /// Of a hundred runs that ended within the hour; none if none ended.
    success_rate: Option<String>,
    spans: [(&'static str, [String; 3]); 2],
    deliveries: Vec<Tile>,
    breakers: Vec<Breaker>,
    sizes: Vec<(String, String)>,
    queue: String,
}

/// `GET /`; what htmx asks for is the part that changes.
pub(super) async fn page(State(door): State<Door>, headers: HeaderMap) -> Response {
    let stats = ask::get::<Stats>(&door, "/api/v1/stats");
    let breakers = ask::get::<Breakers>(&door, "/api/v1/breakers");
    let part = match futures::future::try_join(stats, breakers).await {
        Ok((stats, breakers)) => Part::of(stats, breakers.breakers),
        Err(refused) => return refused.into_response(),
    };
    if headers.contains_key("hx-request") {
        return page::html(StatusCode::OK, &part);
    }
    let frame = Frame {
        here: "overview",
        has_sessions: door.has_sessions(),
    };
    page::html(StatusCode::OK, &Page { frame, part })
}

impl Part {
    fn of(stats: Stats, breakers: Vec<Breaker>) -> Self {
        let sum = |one: fn(&Minute) -> u64| stats.minutes.iter().map(one).sum::<u64>();
        let succeeded = sum(|minute| minute.succeeded);
        let ended = succeeded + sum(|minute| minute.failed + minute.cancelled);
        let rate = succeeded as f64 * 100.0 / ended as f64;
        let minutes = serde_json::to_string(&stats.minutes).unwrap_or_default();
        let sizes = stats.store.bytes.into_iter();
        Self {
            ready: stats.ready,
            trouble: stats.store.trouble,
            started_at: stats.started_at,
            accepted: words::number(stats.runs.accepted),
            tiles: tiles(&RUNS, &stats.runs.states),
            minutes,
            in_hour: words::number(ended),
            success_rate: (ended > 0).then(|| format!("{rate:.1} %")),
            spans: [
                ("queued", row(stats.last_hour.queued_ms)),
                ("in the application", row(stats.last_hour.duration_ms)),
            ],
            deliveries: tiles(&DELIVERIES, &stats.deliveries.states),
            breakers,
            sizes: sizes
                .map(|(kind, size)| (kind, words::bytes(size)))
                .collect(),
            queue: words::number(stats.store.queue),
        }
    }
}

/// State, class, link.
type Known = (&'static str, &'static str, &'static str);

const RUNS: [Known; 5] = [
    ("queued", "idle", "/runs?state=queued"),
    ("running", "busy", "/runs?state=running"),
    ("succeeded", "good", "/runs?state=succeeded"),
    ("failed", "bad", "/runs?state=failed"),
    ("cancelled", "off", "/runs?state=cancelled"),
];
const DELIVERIES: [Known; 3] = [
    ("pending", "busy", "/runs?delivery=pending"),
    ("delivered", "good", "/runs?delivery=delivered"),
    ("dead", "bad", "/runs?delivery=dead"),
];

fn tiles(known: &[Known], states: &BTreeMap<String, u64>) -> Vec<Tile> {
    let tile = |&(name, class, link): &Known| Tile {
        name,
        class,
        value: words::number(states.get(name).copied().unwrap_or_default()),
        link,
    };
    known.iter().map(tile).collect()
}

fn row(percentiles: Option<Percentiles>) -> [String; 3] {
    let Some(Percentiles { p50, p90, p99 }) = percentiles else {
        return [None; 3].map(words::took);
    };
    [p50, p90, p99].map(|millis| words::took(Some(millis)))
}

//! The changes of all runs as server-sent events (the WHATWG's HTML standard, §9.2), for pages that show them live.
//!
//! Whoever reads too slowly is told how many changes it missed, and is not waited for. A stream costs a bounded number
//! of look-ups a second, however much happens.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use futures::stream;
use http::{
    HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE},
    request::Parts,
};
use serde::Serialize;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    Answer, Shared, describe,
    query::{DELIVERY, DIALECT, HOST, NAME, Parameter, REASON, ROUTE, STATE, SUCCESS},
};
use crate::{
    model::{
        delivery::DeliveryState,
        filter::Filter,
        id::RunId,
        problem::{Code, Problem},
        run::{Run, RunState},
        time::Timestamp,
    },
    store::{AllChanges, Found},
};

/// What events can be asked for.
pub(super) static OF_EVENTS: [&Parameter; 8] = [
    &STATE, &SUCCESS, &REASON, &ROUTE, &NAME, &DIALECT, &DELIVERY, &HOST,
];
/// Streams at a time.
pub(super) const STREAMS: usize = 100;

/// Runs that are looked up in one piece, and how long it is between pieces.
const PIECE: usize = 100;
const PACE: Duration = Duration::from_secs(1);
/// Between comments that keep a silent connection open.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Runs of which a stream remembers what it told last.
const REMEMBERED: usize = 10_000;
/// Tells nginx not to hold events back.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The changes of runs from now on, as server-sent events: `run` with the record of one that meets all conditions and
/// whose state, attempts or delivery changed, `gone` with the `run_id` of one that meets them no longer (also if it was not
/// told, but accepted before: it may be in a list that was read before), `missed` with the number of changes (`missed`)
/// that came faster than they were read: list the runs again then.
#[utoipa::path(get, path = "/api/v1/events", operation_id = "watch_runs", tag = "runs", params(describe::OfEvents),
    responses((status = 200, description = "Events without end.", content_type = "text/event-stream", body = String)))]
pub(super) async fn events(State(shared): State<Arc<Shared>>, request: Parts) -> Answer {
    let given = shared.read(&request, &OF_EVENTS)?;
    let Ok(place) = Arc::clone(&shared.streams).try_acquire_owned() else {
        let says =
            format!("{STREAMS} event streams are open already. Close one, or poll the list.");
        return Err(Problem::new(Code::TooManyStreams, says).retry_after(60));
    };
    let listener = Listener {
        changes: shared.store.notices().changes.all(),
        filter: given.filter(),
        told: HashMap::new(),
        since: shared.clock.now(),
        shared,
        paced: Instant::now(),
        _place: place,
    };
    let begun = stream::once(async { Ok(Bytes::from_static(b": from now on\n\n")) });
    let events = stream::unfold(listener, async |mut listener| {
        let text = listener.next().await;
        Some((Ok::<_, Infallible>(text), listener))
    });
    let events = futures::StreamExt::chain(begun, events);
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(UNBUFFERED, HeaderValue::from_static("no"));
    Ok(response)
}

/// One who is told.
struct Listener {
    shared: Arc<Shared>,
    changes: AllChanges,
    /// None if no run can be what is asked for.
    filter: Option<Filter>,
    /// What was told last of a run; none of one that is gone.
    told: HashMap<RunId, Option<Look>>,
    /// Who asks may know of runs from before.
    since: Timestamp,
    /// Not before then is the next piece looked up.
    paced: Instant,
    _place: OwnedSemaphorePermit,
}

/// What is told of a run if it changes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Look {
    state: RunState,
    attempts: u32,
    delivery: Option<(DeliveryState, u32)>,
}

impl Look {
    fn at(run: &Run) -> Self {
        let delivery = run.delivery.as_ref();
        Self {
            state: run.state,
            attempts: run.progress.attempts,
            delivery: delivery.map(|delivery| (delivery.state, delivery.attempts)),
        }
    }
}

#[derive(Serialize)]
struct Missed {
    missed: u64,
}

#[derive(Serialize)]
struct Gone {
    run_id: String,
}

impl Listener {
    /// The next events, or a comment after a silence.
    async fn next(&mut self) -> Bytes {
        let silent_until = Instant::now() + HEARTBEAT;
        loop {
            let Ok(changed) = timeout_at(silent_until, self.changes.next(PIECE)).await else {
                return Bytes::from_static(b":\n\n");
            };
            let mut text = Vec::new();
            if changed.missed > 0 {
                let missed = changed.missed;
                write(&mut text, "missed", &Missed { missed });
            }
            sleep_until(self.paced).await;
            self.paced = Instant::now() + PACE;
            for id in changed.runs {
                self.tell(id, &mut text).await;
            }
            if !text.is_empty() {
                return text.into();
            }
        }
    }

    async fn tell(&mut self, id: RunId, text: &mut Vec<u8>) {
        // What cannot be looked up is told with its next change.
        let Ok(Found::Run(mut run)) = self.shared.store.find(id).await else {
            return;
        };
        if self.told.len() >= REMEMBERED {
            self.told = HashMap::new();
            self.since = self.shared.clock.now();
        }
        let wanted = self.filter.as_ref();
        if wanted.is_some_and(|filter| filter.takes(&run)) {
            let look = Some(Look::at(&run));
            if self.told.insert(id, look) != Some(look) {
                self.shared.reschedule(&mut run);
                write(text, "run", &run.record());
            }
            return;
        }
        let is_known = match self.told.get(&id) {
            Some(told) => told.is_some(),
            None => run.accepted_at < self.since,
        };
        if is_known {
            self.told.insert(id, None);
            let run_id = id.to_string();
            write(text, "gone", &Gone { run_id });
        }
    }
}

/// Adds an event. JSON has no line breaks of its own.
fn write(text: &mut Vec<u8>, event: &str, value: &impl Serialize) {
    if let Ok(json) = serde_json::to_vec(value) {
        text.extend_from_slice(format!("event: {event}\ndata: ").as_bytes());
        text.extend_from_slice(&json);
        text.extend_from_slice(b"\n\n");
    }
}

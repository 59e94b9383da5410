//! The state changes of a run as server-sent events (the WHATWG's HTML standard, §9.2): the present state first, the
//! final one last.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures::stream::{self, Stream};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    answer,
    public::Shared,
    waiting::{again, change},
};
use crate::{
    model::{problem::Code, run::Run},
    store::Waiter,
};

const EVENT_STREAM: &str = "text/event-stream";
/// Tells nginx not to hold events back.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Between comments that keep a silent connection open: what lies between closes idle ones after 30 s or more.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Between looks at a run while the store cannot be read.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether a request names this media type in `Accept`; `*/*` does not (RFC 9110 §12.5.1).
pub(super) fn are_asked_for(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let named = parts
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case(EVENT_STREAM));
            let refused = parts.any(|parameter| {
                let weight = parameter
                    .strip_prefix("q=")
                    .or_else(|| parameter.strip_prefix("Q="));
                weight.is_some_and(|weight| weight.parse() == Ok(0.0_f32))
            });
            named && !refused
        })
}

/// The events of a run, from how it stands now to its end.
pub(super) fn answer(shared: &Arc<Shared>, run: &Run) -> Response {
    let mut response = Response::new(Body::from_stream(events(Arc::clone(shared), run)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(UNBUFFERED, HeaderValue::from_static("no"));
    answer::about(run, response)
}

/// Somebody who is told.
struct Listening {
    shared: Arc<Shared>,
    waiter: Waiter,
    /// The record that was told last.
    told: Vec<u8>,
    ended: bool,
}

fn events(shared: Arc<Shared>, run: &Run) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
    let waiter = shared.store.notices().changes.of(run.id);
    let listening = Listening {
        shared,
        waiter,
        told: Vec::new(),
        ended: false,
    };
    let id = run.id;
    stream::unfold(listening, move |mut listening| async move {
        let text = listening.next(id).await?;
        Some((Ok(text), listening))
    })
}

impl Listening {
    /// The next event or comment; none at the end.
    async fn next(&mut self, id: crate::model::id::RunId) -> Option<Bytes> {
        let silent_until = Instant::now() + HEARTBEAT;
        while !self.ended {
            let run = match again(&self.shared, id).await {
                Ok(run) => run,
                // An end of the stream would say that the run has ended.
                Err(problem) if problem.code == Code::StoreUnavailable => {
                    tokio::select! {
                        () = sleep(PAUSE) => {}
                        () = self.shared.stopping.cancelled() => return None,
                    }
                    if Instant::now() >= silent_until {
                        return Some(Bytes::from_static(b":\n\n"));
                    }
                    continue;
                }
                Err(_) => return None,
            };
            self.ended = run.state.is_final();
            let record = serde_json::to_vec(&run.record()).ok()?;
            if record != self.told {
                self.told = record;
                return Some(event(&self.told));
            }
            tokio::select! {
                () = change(&mut self.waiter) => {}
                () = sleep_until(silent_until) => return Some(Bytes::from_static(b":\n\n")),
                () = self.shared.stopping.cancelled() => return None,
            }
        }
        None
    }
}

/// JSON has no line breaks of its own.
fn event(record: &[u8]) -> Bytes {
    [b"event: run\ndata: ", record, b"\n\n"].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_for_those_who_name_them() {
        for (accept, asked) in [
            (&["text/event-stream"][..], true),
            (&["application/json, Text/Event-Stream;q=0.5"], true),
            (
                &["application/json", "text/event-stream; charset=utf-8"],
                true,
            ),
            (&[], false),
            (&["*/*"], false),
            (&["text/*"], false),
            (&["text/event-stream;q=0"], false),
            (&["text/event-streams"], false),
        ] {
            let headers = accept
                .iter()
                .map(|line| (ACCEPT, HeaderValue::from_static(line)))
                .collect();
            assert_eq!(are_asked_for(&headers), asked, "{accept:?}");
        }
    }
}

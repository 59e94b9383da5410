//! The headers of a delivery (SPEC: Delivery): nothing else of the caller's.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT},
};

use super::{content::Content, openfaas};
use crate::{
    model::{
        exchange::ResponseHead,
        run::Reason,
        signature::{Signatures, webhook_id},
        time::Timestamp,
        trace::{Part, TraceContext, span_id},
    },
    store::DeliveryClaim,
};

/// What is known of an attempt that is about to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending<'a> {
    /// Our mark in `CDN-Loop`.
    pub(super) loop_id: &'a str,
    /// The time of its signatures.
    pub(super) now: Timestamp,
    /// Whether somebody takes spans of attempts.
    pub(super) is_traced: bool,
}

/// The headers of one attempt.
pub(super) fn headers(
    claim: &DeliveryClaim,
    content: &Content,
    signatures: &Signatures,
    sending: Sending<'_>,
) -> HeaderMap {
    let Sending {
        loop_id,
        now,
        is_traced,
    } = sending;
    let mut headers = of_the_content(claim, content);
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    let run = &claim.run;
    let id = run.id.to_string();
    set("raincheck-run-id", &id);
    set("raincheck-run-state", run.state.as_str());
    if let Some(reason) = run.reason {
        set("raincheck-run-reason", Reason::as_str(reason));
    }
    if let Some(response) = run.response.as_ref().filter(|r| r.from_upstream) {
        set("raincheck-upstream-status", &response.status.to_string());
    }
    let attempt = run.delivery.as_ref().map_or(1, |d| d.attempts + 1);
    set("raincheck-delivery-attempt", &attempt.to_string());
    set("x-request-id", &id);
    set("webhook-id", &webhook_id(run.id));
    let timestamp = now.seconds().to_string();
    set("webhook-timestamp", &timestamp);
    if !signatures.standard.is_empty() {
        set("webhook-signature", &signatures.standard.join(" "));
    }
    if let Some(signature) = &signatures.cerebrium {
        set("x-cerebrium-webhook-timestamp", &timestamp);
        set("x-cerebrium-webhook-signature", signature);
    }
    set("cdn-loop", &loop_marks(loop_id, run.facts.depth));
    if is_traced {
        let span = span_id(run.id, Part::Delivery(attempt));
        set("traceparent", &TraceContext::of(run).header(span));
    } else if let Some(traceparent) = &run.facts.traceparent {
        set("traceparent", traceparent);
    }
    if openfaas::is_callback(run) {
        openfaas::describe(run, &mut headers);
    }
    headers
}

/// What describes the body, and who sends it.
fn of_the_content(claim: &DeliveryClaim, content: &Content) -> HeaderMap {
    let run = &claim.run;
    let from_upstream = run.response.as_ref().is_some_and(|r| r.from_upstream);
    let mut headers = HeaderMap::with_capacity(20);
    match ResponseHead::parse(&claim.response.head) {
        _ if content.is_event => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(head) if from_upstream && openfaas::is_callback(run) => {
            headers.extend(openfaas::passed_on(head.headers));
        }
        Ok(head) => {
            for name in [CONTENT_TYPE, CONTENT_ENCODING] {
                for value in head.headers.get_all(&name) {
                    headers.append(name.clone(), value.clone());
                }
            }
        }
        Err(_) => {}
    }
    headers.insert(CONTENT_LENGTH, content.len().into());
    let agent = concat!("raincheck/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    headers
}

/// Our entries in `CDN-Loop` (RFC 8586): those that the run's request came with, and one for this pass.
fn loop_marks(loop_id: &str, depth: u32) -> String {
    let marks = usize::try_from(depth).unwrap_or_default().saturating_add(1);
    vec![loop_id; marks.min(1000)].join(", ")
}

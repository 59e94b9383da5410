//! The callback of OpenFaaS: what a delivery about a function's call has beside the headers of all deliveries.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CONNECTION, CONTENT_LENGTH, EXPECT, HOST, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING,
        UPGRADE,
    },
};

use crate::model::{dialect::openfaas, run::Run};

const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");
const DURATION: HeaderName = HeaderName::from_static("x-duration-seconds");
const STATUS: HeaderName = HeaderName::from_static("x-function-status");
const NAME: HeaderName = HeaderName::from_static("x-function-name");

/// The status of a function that did not answer.
const UNAVAILABLE: u16 = 503;

/// Of one connection or of one origin, or with a meaning of its own in a request: never passed on.
const WITHHELD: [HeaderName; 11] = [
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    SET_COOKIE,
    HeaderName::from_static("set-cookie2"),
    HeaderName::from_static("keep-alive"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What only we may say to a receiver.
const OURS: [&str; 4] = ["proxy-", "raincheck-", "webhook-", "x-cerebrium-webhook-"];

/// Whether a run's delivery has this form.
pub(super) fn is_callback(run: &Run) -> bool {
    run.facts.dialect == openfaas::NAME
}

/// The upstream's own response headers, as far as they may be passed on.
pub(super) fn passed_on(mut upstream: HeaderMap) -> HeaderMap {
    let gone: Vec<HeaderName> = upstream
        .keys()
        .filter(|name| {
            WITHHELD.contains(name) || OURS.iter().any(|ours| name.as_str().starts_with(ours))
        })
        .cloned()
        .collect();
    for name in &gone {
        upstream.remove(name);
    }
    upstream
}

/// Says which call it was, how long it took, and how it ended.
pub(super) fn describe(run: &Run, headers: &mut HeaderMap) {
    let extra = &run.facts.extra;
    let id = extra.call_id.clone().unwrap_or_else(|| run.id.to_string());
    let took = run.finished_at.zip(run.started_at);
    let took = took.map_or(0.0, |(end, start)| end.since(start).as_secs_f64());
    let answered = run.response.as_ref().filter(|answer| answer.from_upstream);
    let status = answered.map_or(UNAVAILABLE, |answer| answer.status);
    let lines = [
        (CALL_ID, Some(id)),
        (DURATION, Some(format!("{took:.6}"))),
        (STATUS, Some(status.to_string())),
        (NAME, extra.function.clone()),
    ];
    for (name, text) in lines {
        headers.remove(&name);
        let value = text.and_then(|text| HeaderValue::from_bytes(text.as_bytes()).ok());
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_the_connection_or_ours_is_not_passed_on() {
        let mut upstream = HeaderMap::new();
        for (name, value) in [
            ("host", "inner"),
            ("content-length", "9"),
            ("transfer-encoding", "chunked"),
            ("connection", "x"),
            ("set-cookie", "a=b"),
            ("set-cookie", "c=d"),
            ("proxy-authenticate", "Basic"),
            ("webhook-signature", "v1,forged"),
            ("x-cerebrium-webhook-signature", "v1,forged"),
            ("x-any", "1"),
            ("x-any", "2"),
            ("content-type", "text/x"),
            ("etag", "\"e\""),
        ] {
            upstream.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let mut passed: Vec<_> = passed_on(upstream)
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        passed.sort_unstable();
        let expected = [
            "content-type: text/x",
            "etag: \"e\"",
            "x-any: 1",
            "x-any: 2",
        ];
        assert_eq!(passed, expected);
    }
}

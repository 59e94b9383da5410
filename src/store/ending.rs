//! What the end of a run makes of it: the one function that ends runs, whoever asks (settle, cancel, expiry,
//! recovery). Back ends write what it returns, in one transaction.

use bytes::Bytes;
use http::StatusCode;

use crate::model::{
    delivery::Delivery,
    exchange::{Body, StoredResponse},
    problem::{self, Code, Problem},
    run::{End, Reason, ResponseFacts, Run},
    time::Timestamp,
};

/// Ends `run`: sets its state, its response's facts and its delivery. Returns the response to be stored: the one that
/// came if the run ends with it, otherwise our problem document (`public_prefix` is where its page is); and the one
/// that came if it is not stored.
///
/// The caller makes sure that the run had not ended before.
pub fn end_run(
    run: &mut Run,
    end: End,
    came: Option<StoredResponse>,
    at: Timestamp,
    public_prefix: &str,
) -> (StoredResponse, Option<StoredResponse>) {
    let ends_with_response = matches!(end, End::Succeeded | End::Failed(Reason::UpstreamStatus));
    let (response, discarded) = match came {
        Some(response) if ends_with_response => (response, None),
        other => (substitute(run, end, public_prefix), other),
    };
    run.state = end.state();
    run.reason = end.reason();
    run.finished_at = Some(at);
    run.response = Some(facts(&response));
    run.delivery = run
        .facts
        .webhook_endpoint
        .as_deref()
        .filter(|_| run.policy.webhook.on.contains(&end.state()))
        .map(|endpoint| Delivery::new(receiver_host(endpoint), &run.policy.webhook, at));
    (response, discarded)
}

/// The host of a receiver's URL, the one part of it that records and logs may show.
pub fn receiver_host(endpoint: &str) -> String {
    url::Url::parse(endpoint)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .unwrap_or_default()
}

/// Host and port of a receiver's URL: what deliveries to one receiver have in common. A dot at the end of a name makes no
/// other receiver.
pub fn receiver_address(endpoint: &str) -> String {
    let Ok(url) = url::Url::parse(endpoint) else {
        return String::new();
    };
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    match url.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Our answer in the place of one that did not come.
fn substitute(run: &Run, end: End, public_prefix: &str) -> StoredResponse {
    let problem = Problem::of_end(run.id, end).unwrap_or_else(|| {
        Problem::new(Code::Internal, "The response of the run was lost.").about(run.id)
    });
    let body = problem.document(public_prefix);
    let (code, status, _) = problem.code.parts();
    let phrase = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status} {phrase}\r\nContent-Type: {}\r\nContent-Length: {}\r\nRaincheck-Error: {code}\r\n\r\n",
        problem::CONTENT_TYPE,
        body.len()
    );
    StoredResponse {
        head: head.into(),
        body: Body::Inline(body.into()),
    }
}

/// What is known of a response without reading it. One with `Raincheck-Error` is our own: that header is taken from
/// what upstreams answer.
fn facts(response: &StoredResponse) -> ResponseFacts {
    ResponseFacts {
        status: status(&response.head),
        content_type: header(&response.head, "content-type")
            .and_then(|value| String::from_utf8(value.to_vec()).ok()),
        bytes: response.body.len(),
        from_upstream: header(&response.head, "raincheck-error").is_none(),
    }
}

/// The status in a status line (RFC 9112 §4); 0 if there is none.
fn status(head: &Bytes) -> u16 {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let code = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    std::str::from_utf8(code)
        .ok()
        .and_then(|code| code.parse().ok())
        .unwrap_or_default()
}

/// The first value of a header; `name` in lower case.
fn header<'a>(head: &'a Bytes, name: &str) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (found, value) = line.split_at(colon);
        found
            .eq_ignore_ascii_case(name.as_bytes())
            .then(|| value[1..].trim_ascii())
    })
}

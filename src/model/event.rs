//! What an envelope or a thin delivery says: the event's type, its time, the record, and the response or a link to it.
//!
//! The shape is the one that Standard Webhooks recommends: `type`, `timestamp`, `data`.

use std::collections::BTreeMap;

use http::{
    HeaderMap,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
};
use serde::Serialize;

use super::{
    exchange::{OF_THE_ORIGIN, ResponseHead},
    run::{Record, Run},
    time::Timestamp,
};

pub use coding::{Coding, Encoder, Measure};

mod coding;

/// What an envelope has after the response's body.
pub const ENVELOPE_END: &str = "\"}}}";

/// The whole body of a thin delivery: the record, and where the response is; null if it is shown nowhere.
///
/// # Errors
/// When the record cannot be written as JSON.
pub fn thin(run: &Run, response_url: Option<&str>) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Event::of(run, run.record(), Some(response_url)))
}

/// An envelope up to the response's body, which follows as JSON string content, coded as `coding` says, and then
/// [`ENVELOPE_END`].
///
/// # Errors
/// When the record cannot be written as JSON.
pub fn envelope_start(
    run: &Run,
    head: &ResponseHead,
    coding: Coding,
) -> serde_json::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(&Event::of(run, run.record().without_response(), None))?;
    // The record stays open, as the last object in the text, and the response becomes its last key.
    text.truncate(text.len() - 2);
    text.extend_from_slice(b",\"response\":");
    serde_json::to_writer(
        &mut text,
        &Response {
            status: head.status.as_u16(),
            headers: shown(&head.headers),
        },
    )?;
    text.truncate(text.len() - 1);
    let key: &[u8] = match coding {
        Coding::Text => b",\"body\":\"",
        Coding::Base64 => b",\"body_base64\":\"",
    };
    text.extend_from_slice(key);
    Ok(text)
}

#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: String,
    timestamp: Option<Timestamp>,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(flatten)]
    record: Record<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_url: Option<Option<&'a str>>,
}

#[derive(Serialize)]
struct Response<'a> {
    status: u16,
    headers: BTreeMap<&'a str, String>,
}

impl<'a> Event<'a> {
    fn of(run: &Run, record: Record<'a>, response_url: Option<Option<&'a str>>) -> Self {
        Self {
            kind: format!("run.{}", run.state.as_str()),
            timestamp: run.finished_at,
            data: Data {
                record,
                response_url,
            },
        }
    }
}

/// Header values by lower-case name; the values of a repeated header are joined (RFC 9110 §5.3). What frames the
/// message, and what acts on the application's origin (cookies among it), is left out.
fn shown(headers: &HeaderMap) -> BTreeMap<&str, String> {
    let framing = [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION];
    let mut shown = BTreeMap::<&str, String>::new();
    for (name, value) in headers {
        if framing.contains(name) || OF_THE_ORIGIN.contains(name) {
            continue;
        }
        let value = text(value.as_bytes());
        shown
            .entry(name.as_str())
            .and_modify(|all| {
                all.push_str(", ");
                all.push_str(&value);
            })
            .or_insert(value);
    }
    shown
}

/// A value as UTF-8 if it is that, else as ISO-8859-1, which HTTP once said it is.
fn text(value: &[u8]) -> String {
    match str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().map(|byte| char::from(*byte)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_headers_are_joined_and_those_of_the_origin_withheld() {
        let head = ResponseHead::parse(
            b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nSet-Cookie: a=b\r\nContent-Length: 3\r\nX-Latin: caf\xe9\r\nX-Utf: caf\xc3\xa9\r\n\r\n",
        )
        .unwrap();
        let shown: Vec<_> = shown(&head.headers).into_iter().collect();
        let expected = [("x-a", "1, 2"), ("x-latin", "café"), ("x-utf", "café")];
        assert_eq!(
            shown,
            expected.map(|(name, value)| (name, value.to_owned()))
        );
    }
}

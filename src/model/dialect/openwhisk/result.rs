//! The result of an activation: how a response becomes JSON. A JSON object that the application answered with is the
//! result as it is; anything else is wrapped, with its status and headers.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, header};
use serde_json::{Map, Value, json};

use super::activation::Ending;
use crate::model::{
    exchange::{ResponseHead, json::Json, utf8::Utf8},
    problem::Problem,
    run::{End, Reason, Run, RunState},
};

/// The member by which an application says what is wrong, and in which clients look for it.
const ERROR: &str = "error";

/// Headers that frame a message; the length of a body in JSON is another.
const FRAMING: [header::HeaderName; 3] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
];

/// What a body holds; asked by reading it once.
#[derive(Debug)]
pub struct Reading {
    json: Option<Json>,
    text: Utf8,
}

/// What a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// It is a JSON object.
    is_object: bool,
    /// It is one with a member `error`.
    has_error: bool,
    /// It is UTF-8.
    is_text: bool,
}

/// How the bytes of a body are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As they are: they are JSON.
    AsIs,
    /// As the inside of a JSON text.
    Text,
    /// The same, in base64.
    Base64,
}

/// A result around a body: what stands before and behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Before the body.
    pub before: Vec<u8>,
    /// How the body is written; none: there is none.
    pub form: Option<Form>,
    /// Behind it.
    pub after: &'static [u8],
}

impl Reading {
    /// Nothing has been read yet.
    pub const fn new() -> Self {
        Self {
            json: Some(Json::watching(ERROR)),
            text: Utf8::new(),
        }
    }

    /// Reads a piece. False: there is no use in reading on.
    pub fn push(&mut self, piece: &[u8]) -> bool {
        if self.json.as_mut().is_some_and(|json| !json.push(piece)) {
            self.json = None;
        }
        self.text.push(piece);
        self.text.is_valid()
    }

    /// What it was.
    pub fn end(self) -> Content {
        let value = self.json.and_then(Json::end);
        Content {
            is_object: value.is_some_and(|value| value.is_object),
            has_error: value.is_some_and(|value| value.has_watched),
            is_text: self.text.is_whole(),
        }
    }
}

impl Default for Reading {
    fn default() -> Self {
        Self::new()
    }
}

impl Frame {
    /// Around the body of the application's response.
    pub fn of_response(run: &Run, head: &ResponseHead, content: Content) -> Self {
        let success = Ending::of(run).is_success();
        let as_is = if success {
            content.is_object && head.status.is_success()
        } else {
            content.has_error
        };
        if as_is {
            return Self {
                before: Vec::new(),
                form: Some(Form::AsIs),
                after: b"",
            };
        }
        let mut members = Map::new();
        if !success {
            let error = format!("The application answered {}.", head.status);
            members.insert(ERROR.to_owned(), error.into());
        }
        members.insert("statusCode".to_owned(), head.status.as_u16().into());
        members.insert("headers".to_owned(), headers(&head.headers));
        Self {
            before: opened(&members),
            form: Some(if content.is_text {
                Form::Text
            } else {
                Form::Base64
            }),
            after: b"\"}",
        }
    }

    /// In place of a response that never came.
    pub fn without_response(run: &Run) -> Self {
        let end = match (run.state, run.reason) {
            (RunState::Cancelled, _) => End::Cancelled,
            (_, reason) => End::Failed(reason.unwrap_or(Reason::Internal)),
        };
        let error = Problem::of_end(run.id, end).map(|problem| problem.detail);
        Self {
            before: json!({ ERROR: error.unwrap_or_default() })
                .to_string()
                .into_bytes(),
            form: None,
            after: b"",
        }
    }
}

/// The members as an object that goes on with a text `body`.
fn opened(members: &Map<String, Value>) -> Vec<u8> {
    // Written one by one: a map of serde_json keeps no order.
    let mut text = Vec::with_capacity(256);
    for key in [ERROR, "statusCode", "headers"] {
        if let Some(value) = members.get(key) {
            text.push(if text.is_empty() { b'{' } else { b',' });
            text.extend_from_slice(format!("\"{key}\":{value}").as_bytes());
        }
    }
    text.extend_from_slice(b",\"body\":\"");
    text
}

/// Header names to values; several lines of a name to a list of them. Bytes that are no text are replaced.
fn headers(headers: &HeaderMap) -> Value {
    let named = headers.keys().filter(|name| !FRAMING.contains(name));
    let members = named.map(|name| {
        let mut lines: Vec<Value> = headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into())
            .collect();
        let value = match lines.len() {
            1 => lines.remove(0),
            _ => lines.into(),
        };
        (name.as_str().to_owned(), value)
    });
    members.collect::<Map<_, _>>().into()
}

/// Writes a body that comes piece by piece.
#[derive(Debug)]
pub struct Writing {
    form: Form,
    /// Bytes that have no whole group of base64 yet.
    left: Vec<u8>,
}

impl Writing {
    /// Nothing has been written yet.
    pub const fn new(form: Form) -> Self {
        Self {
            form,
            left: Vec::new(),
        }
    }

    /// A piece as it is written.
    pub fn piece(&mut self, piece: &[u8]) -> Vec<u8> {
        match self.form {
            Form::AsIs => piece.to_vec(),
            Form::Text => escaped(piece),
            Form::Base64 => {
                self.left.extend_from_slice(piece);
                let whole = self.left.len() / 3 * 3;
                let text = BASE64.encode(&self.left[..whole]).into_bytes();
                self.left.drain(..whole);
                text
            }
        }
    }

    /// What is left at the end.
    pub fn end(self) -> Vec<u8> {
        BASE64.encode(self.left).into_bytes()
    }
}

/// UTF-8, or a part of it, as the inside of a JSON text.
fn escaped(piece: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(piece.len() + piece.len() / 8);
    for &byte in piece {
        match byte {
            b'"' | b'\\' => text.extend_from_slice(&[b'\\', byte]),
            b'\n' => text.extend_from_slice(b"\\n"),
            b'\r' => text.extend_from_slice(b"\\r"),
            b'\t' => text.extend_from_slice(b"\\t"),
            0..0x20 => text.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => text.push(byte),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::activation::tests::ended, *};

    /// The result of a run that ended so with this response, its body in pieces.
    fn result(run: &Run, head: &str, pieces: &[&[u8]]) -> String {
        let head = ResponseHead::parse(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes()).unwrap();
        let mut reading = Reading::new();
        for piece in pieces {
            reading.push(piece);
        }
        let frame = Frame::of_response(run, &head, reading.end());
        let mut text = frame.before;
        if let Some(form) = frame.form {
            let mut writing = Writing::new(form);
            for piece in pieces {
                text.extend(writing.piece(piece));
            }
            text.extend(writing.end());
        }
        text.extend_from_slice(frame.after);
        let text = String::from_utf8(text).unwrap();
        serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        text
    }

    #[test]
    fn responses_become_results() {
        let well = ended(RunState::Succeeded, None);
        let failed = ended(RunState::Failed, Some(Reason::UpstreamStatus));
        let cases: [(&Run, &str, &[u8]); 11] = [
            (&well, "200 OK", b" {\"greeting\":\"Hello, \\u0041da\"}\n"),
            (&well, "201 Created", b"{\"error\":\"in words\"}"),
            (
                &well,
                "200 OK\r\nContent-Type: text/plain\r\nContent-Length: 7",
                b"a\"b\\c\n\x01",
            ),
            (&well, "200 OK\r\ncontent-type: application/json", b"[1,2]"),
            (
                &well,
                "200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2",
                "\u{1f600}".as_bytes(),
            ),
            (&well, "200 OK\r\nContent-Type: image/png", b"\x89PNG\xff"),
            (&well, "204 No Content", b""),
            (&well, "302 Found\r\nLocation: /x", b"{}"),
            (
                &failed,
                "422 Unprocessable Entity",
                b"{\"error\":\"bad prompt\"}",
            ),
            (
                &failed,
                "404 Not Found\r\nContent-Type: application/json",
                b"{\"detail\":\"Not Found\"}",
            ),
            (
                &failed,
                "500 Internal Server Error\r\nContent-Type: text/html",
                b"<h1>no</h1>",
            ),
        ];
        let lines = cases.map(|(run, head, body)| {
            format!("{}\n  {}", head.escape_debug(), result(run, head, &[body]))
        });
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn without_a_response_the_result_says_why() {
        let ends = [
            (RunState::Failed, Some(Reason::Timeout)),
            (RunState::Failed, Some(Reason::Internal)),
            (RunState::Cancelled, None),
        ];
        let lines = ends.map(|(state, reason)| {
            let frame = Frame::without_response(&ended(state, reason));
            assert_eq!((frame.form, frame.after), (None, &b""[..]));
            String::from_utf8(frame.before).unwrap()
        });
        insta::assert_snapshot!(lines.join("\n"));
    }

    proptest! {
        #[test]
        fn any_body_comes_back_out_of_its_result(body: Vec<u8>, cuts in prop::collection::vec(0_usize..60, 2)) {
            let mut cuts = cuts.iter().map(|cut| (*cut).min(body.len())).collect::<Vec<_>>();
            cuts.sort_unstable();
            let pieces = [&body[..cuts[0]], &body[cuts[0]..cuts[1]], &body[cuts[1]..]];
            let text = result(&ended(RunState::Succeeded, None), "302 Found", &pieces);
            let value: Value = serde_json::from_str(&text).unwrap();
            let written = value["body"].as_str().unwrap();
            match std::str::from_utf8(&body) {
                Ok(text) => prop_assert_eq!(written, text),
                Err(_) => prop_assert_eq!(BASE64.decode(written).unwrap(), body),
            }
        }

        #[test]
        fn any_object_is_its_own_result(text in "[ -~é]{0,20}") {
            let body = json!({ "text": text }).to_string();
            prop_assert_eq!(result(&ended(RunState::Succeeded, None), "200 OK", &[body.as_bytes()]), body);
        }
    }
}

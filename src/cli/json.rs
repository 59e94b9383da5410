//! JSON on stdout: as the server sent it, or a run and its response as one document.

use std::io::{self, IsTerminal};

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::Response;
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use super::{Exit, Failure, Screen, http as client, plain};

/// Prints JSON as it is; to a terminal, so that it cannot steer it.
pub(super) fn print(text: &str, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let text = text.trim_end();
    if io::stdout().is_terminal() {
        writeln!(screen.out, "{}", plain::json(text))?;
    } else {
        writeln!(screen.out, "{text}")?;
    }
    Ok(screen.out.flush()?)
}

/// A response, with the record of the run that it is of.
#[derive(Serialize)]
struct Whole<'a> {
    run: Option<&'a RawValue>,
    response: Shown,
}

#[derive(Serialize)]
struct Shown {
    status: u16,
    headers: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// Prints `{"run":…,"response":{"status","headers","body" or "body_base64"}}`; `run` is the text of a record.
pub(super) async fn print_response(
    run: Option<&str>,
    response: Response,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let broken = |error: serde_json::Error| Exit::Network.because(format!("no JSON: {error}"));
    let (status, headers) = (response.status().as_u16(), fields(&response));
    let body = response.bytes().await.map_err(|error| {
        let cause = client::cause(&error);
        Exit::Network.because(format!("the response was cut off: {cause}"))
    })?;
    let (body, body_base64) = match String::from_utf8(body.into()) {
        Ok(text) => (Some(text), None),
        Err(binary) => (None, Some(BASE64_STANDARD.encode(binary.as_bytes()))),
    };
    let whole = Whole {
        run: run.map(serde_json::from_str).transpose().map_err(broken)?,
        response: Shown {
            status,
            headers,
            body,
            body_base64,
        },
    };
    print(&serde_json::to_string(&whole).map_err(broken)?, screen)
}

/// Header lines of one name become one, as RFC 9110 §5.3 has it.
fn fields(response: &Response) -> Map<String, Value> {
    let mut fields = Map::new();
    for name in response.headers().keys() {
        let lines = response.headers().get_all(name).iter();
        let lines: Vec<_> = lines
            .map(|line| String::from_utf8_lossy(line.as_bytes()))
            .collect();
        fields.insert(name.to_string(), lines.join(", ").into());
    }
    fields
}

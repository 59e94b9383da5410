//! `Prefer: respond-async` (RFC 7240 §4.1): the 202 points to a status monitor (RFC 9110 §15.3.3).

use http::{HeaderName, HeaderValue};

use super::{Dialect, Errors, Head, Line, Parameters, Place, Receipt, run_id_body};
use crate::model::{exchange::preferences, problem::Problem};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const RESPOND_ASYNC: &str = "respond-async";

pub(super) static DIALECT: Dialect = Dialect {
    name: "prefer",
    place: Place::Preference(RESPOND_ASYNC),
    asks,
    lines,
    body: run_id_body,
    errors: Errors::Document,
};

#[expect(
    clippy::unnecessary_wraps,
    reason = "dialects are a table, and others can be asked for wrongly"
)]
fn asks(head: &Head<'_>, _names: &Parameters<'_>) -> Result<bool, Problem> {
    let lines = head.headers.get_all(PREFER);
    Ok(preferences::has_plain(
        lines.iter().map(|line| line.as_bytes()),
        RESPOND_ASYNC,
    ))
}

fn lines(_receipt: &Receipt<'_>) -> Vec<Line> {
    vec![
        (
            "Preference-Applied",
            HeaderValue::from_static(RESPOND_ASYNC),
        ),
        ("Retry-After", HeaderValue::from_static("1")),
    ]
}

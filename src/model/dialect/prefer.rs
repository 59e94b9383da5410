//! `Prefer: respond-async` (RFC 7240 §4.1): the 202 points to a status monitor (RFC 9110 §15.3.3).

use http::HeaderName;

use super::{Dialect, Head, Parameters, Place, run_id_body};
use crate::model::{exchange::preferences, problem::Problem};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const RESPOND_ASYNC: &str = "respond-async";

pub(super) static DIALECT: Dialect = Dialect {
    name: "prefer",
    place: Place::Preference(RESPOND_ASYNC),
    asks,
    lines: &[("Preference-Applied", RESPOND_ASYNC), ("Retry-After", "1")],
    body: run_id_body,
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

//! `?async=true`: the run's id comes back in a body of 50 bytes, everything else in headers.

use super::{Control, Dialect, Errors, Head, Parameters, Place, has_value, no_lines, run_id_body};
use crate::model::problem::Problem;

pub(super) static DIALECT: Dialect = Dialect {
    name: "cerebrium",
    place: Place::Query(Control::Async),
    asks,
    lines: no_lines,
    body: run_id_body,
    errors: Errors::Document,
};

fn asks(head: &Head<'_>, names: &Parameters<'_>) -> Result<bool, Problem> {
    has_value(head, names.asynchronous, "true")
}

//! `?_blocking=false`: the run's id comes back as an activation's, 32 hex digits.

use bytes::Bytes;

use super::{Control, Dialect, Errors, Head, Parameters, Place, has_value, no_lines};
use crate::model::{id::RunId, problem::Problem};

pub(super) static DIALECT: Dialect = Dialect {
    name: "ubidots",
    place: Place::Query(Control::Blocking),
    asks,
    lines: no_lines,
    body,
    errors: Errors::Document,
};

/// The value is compared without case: the vendor's own page spells it both `False` and `false`.
fn asks(head: &Head<'_>, names: &Parameters<'_>) -> Result<bool, Problem> {
    has_value(head, names.blocking, "false")
}

fn body(run: RunId) -> Bytes {
    format!("{{\"activationId\":\"{}\"}}", run.simple()).into()
}

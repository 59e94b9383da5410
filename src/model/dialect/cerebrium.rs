//! `?async=true`: the run's id comes back in a body of 50 bytes, everything else in headers.

use super::{Dialect, Head, Parameters, Place, run_id_body};
use crate::model::{
    exchange::query::parameters,
    problem::{Code, Problem},
};

pub(super) static DIALECT: Dialect = Dialect {
    name: "cerebrium",
    place: Place::Query,
    asks,
    lines: &[],
    body: run_id_body,
};

/// The value is compared without case; any other one asks for nothing; both at once is a contradiction.
fn asks(head: &Head<'_>, names: &Parameters<'_>) -> Result<bool, Problem> {
    let Some(query) = head.query() else {
        return Ok(false);
    };
    let (mut asked, mut otherwise) = (false, false);
    for parameter in parameters(query).filter(|parameter| parameter.is(names.asynchronous)) {
        if parameter.has_value("true") {
            asked = true;
        } else {
            otherwise = true;
        }
    }
    if asked && otherwise {
        let detail = format!(
            "The query has `{0}` as true and as something else; give `{0}` once.",
            names.asynchronous
        );
        return Err(Problem::new(Code::RepeatedParameter, detail));
    }
    Ok(asked)
}

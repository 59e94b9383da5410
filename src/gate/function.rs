//! A call of a function (`openfaas`): where it goes at the upstream, and what its callback will say of it.

use http::HeaderMap;

use crate::{
    config::RunSettings,
    model::{
        dialect::{
            Dialect, Head,
            openfaas::{self, Call},
        },
        problem::Problem,
        run::Extra,
    },
};

/// What a request in this dialect has beside others.
#[derive(Debug, Default)]
pub(super) struct Function {
    /// Path and query for the upstream; none if they are the request's own.
    pub(super) target: Option<Vec<u8>>,
    /// What is kept with the run.
    pub(super) extra: Extra,
}

/// Whether runs in this dialect are calls of functions.
pub(super) fn is_spoken(dialect: Option<&Dialect>) -> bool {
    dialect.is_some_and(|dialect| dialect.name == openfaas::NAME)
}

/// What a run in `dialect` has beside others: nothing in most of them.
///
/// # Errors
/// When the path leads to no function.
pub(super) fn of(
    head: &Head<'_>,
    settings: &RunSettings,
    dialect: Option<&Dialect>,
) -> Result<Function, Problem> {
    if !is_spoken(dialect) {
        return Ok(Function::default());
    }
    let call = Call::of(head)?;
    let target = call.map(|call| settings.openfaas_path.target(&call, head.query()));
    Ok(Function {
        target: target.transpose()?,
        extra: extra(head.headers, call),
    })
}

fn extra(headers: &HeaderMap, call: Option<Call<'_>>) -> Extra {
    Extra {
        call_id: openfaas::call_id(headers).map(str::to_owned),
        function: call.map(|call| String::from_utf8_lossy(call.function).into_owned()),
    }
}

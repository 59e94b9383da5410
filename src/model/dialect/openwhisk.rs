//! The REST API of Apache OpenWhisk (DigitalOcean Functions has it too): actions are invoked, and the runs of a
//! namespace are its activations.

use bytes::Bytes;

use super::{Dialect, Errors, Head, Parameters, Place, no_lines};
use crate::model::{id::RunId, problem::Problem};

pub mod action_path;
pub mod activation;
pub mod credentials;
pub mod query;
pub mod refusal;
pub mod resource;
pub mod result;

/// Where the API is.
pub const PREFIX: &str = "/api/v1";

/// The dialect of every run that is made by an invocation. No route speaks it: the API has its own paths.
pub static DIALECT: Dialect = Dialect {
    name: "openwhisk",
    place: Place::Path(PREFIX),
    asks,
    lines: no_lines,
    body: activation_id_body,
    errors: Errors::Document,
};

#[expect(
    clippy::unnecessary_wraps,
    reason = "dialects are a table, and others can be asked for wrongly"
)]
const fn asks(_head: &Head<'_>, _names: &Parameters<'_>) -> Result<bool, Problem> {
    Ok(false)
}

/// `{"activationId":"…"}`, with 32 hex digits.
fn activation_id_body(run: RunId) -> Bytes {
    format!("{{\"activationId\":\"{}\"}}", run.simple()).into()
}

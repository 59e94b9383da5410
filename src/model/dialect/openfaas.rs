//! `/async-function/<name>[/<path>]`: an empty 202, the call's id and start in headers, errors as plain text.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Dialect, Errors, Head, Line, Parameters, Place, Receipt};
use crate::model::{
    id::RunId,
    problem::{Code, Problem},
};

mod upstream_path;

pub use upstream_path::{InvalidUpstreamPath, UpstreamPath};

/// Its name in the configuration and in records.
pub const NAME: &str = "openfaas";

/// The receiver that a caller names: a URL as it is, not percent-encoded once more.
pub const CALLBACK_URL: HeaderName = HeaderName::from_static("x-callback-url");

/// What functions' calls are below.
pub const PREFIX: &str = "/async-function";

const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");

/// The longest call id that is kept, in bytes.
const LONGEST_CALL_ID: usize = 256;

pub(super) static DIALECT: Dialect = Dialect {
    name: NAME,
    place: Place::Path(PREFIX),
    asks,
    lines,
    body,
    errors: Errors::Text,
};

/// One call of a function, as raw bytes of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    /// The function's name: one segment, not empty.
    pub function: &'a [u8],
    /// What follows it: empty, or from the next slash on.
    pub rest: &'a [u8],
}

impl<'a> Call<'a> {
    /// The call that a request makes; none if its path is not below [`PREFIX`].
    ///
    /// # Errors
    /// [`Code::NoRoute`] if no function is named.
    pub fn of(head: &Head<'a>) -> Result<Option<Self>, Problem> {
        let Some(below) = head.below(PREFIX) else {
            return Ok(None);
        };
        let named = below.strip_prefix(b"/").unwrap_or(below);
        let end = memchr::memchr(b'/', named).unwrap_or(named.len());
        let (function, rest) = named.split_at(end);
        if function.is_empty() {
            let detail = "The path names no function; ask for /async-function/NAME.";
            return Err(Problem::new(Code::NoRoute, detail));
        }
        Ok(Some(Self { function, rest }))
    }
}

/// The caller's own `X-Call-Id`; none if it is empty, over 256 bytes, or not visible ASCII: the run's id is the call's
/// then.
pub fn call_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(CALL_ID)?.to_str().ok()?;
    (1..=LONGEST_CALL_ID).contains(&id.len()).then_some(id)
}

fn asks(head: &Head<'_>, _names: &Parameters<'_>) -> Result<bool, Problem> {
    Ok(Call::of(head)?.is_some())
}

fn lines(receipt: &Receipt<'_>) -> Vec<Line> {
    let mut id = [0; 36];
    let id = receipt.call_id.unwrap_or(receipt.id.write(&mut id));
    let nanoseconds = receipt.accepted_at.millis().saturating_mul(1_000_000);
    let call = HeaderValue::from_str(id).ok().map(|id| ("X-Call-Id", id));
    let start = ("X-Start-Time", HeaderValue::from(nanoseconds));
    call.into_iter().chain([start]).collect()
}

fn body(_run: RunId) -> Bytes {
    Bytes::new()
}

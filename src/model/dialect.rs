//! Dialects: how a caller asks for a run, and the exact 202 that it gets. A new one is one file below this one and one
//! line in [`ALL`].

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};

use super::{
    exchange::query::parameters,
    id::RunId,
    problem::{Code, Problem},
    time::Timestamp,
};

mod cerebrium;
pub mod openfaas;
pub mod openwhisk;
pub mod prefer;
#[cfg(test)]
mod tests;
mod ubidots;

/// Every dialect that a route may speak.
pub static ALL: [&Dialect; 4] = [
    &cerebrium::DIALECT,
    &ubidots::DIALECT,
    &prefer::DIALECT,
    &openfaas::DIALECT,
];

/// One way to ask for a run.
pub struct Dialect {
    /// Its name in the configuration, in records and in metrics.
    pub name: &'static str,
    /// Where it is asked for.
    pub place: Place,
    /// Whether a request asks for a run. It is called for every request, so it does not allocate where nothing is
    /// asked for.
    asks: fn(&Head<'_>, &Parameters<'_>) -> Result<bool, Problem>,
    /// The lines of its 202 beside those that all have.
    lines: fn(&Receipt<'_>) -> Vec<Line>,
    /// The body of its 202: JSON, or empty.
    body: fn(RunId) -> Bytes,
    /// How what is wrong with a request is told.
    pub errors: Errors,
}

/// A header line.
pub type Line = (&'static str, HeaderValue);

/// Where a dialect is asked for. A request has one query and one path, so two that are asked for there contradict each
/// other; a preference beside them is one that is not honoured (RFC 7240 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// By this query parameter, which is then taken out.
    Query(Control),
    /// By this path and all below it.
    Path(&'static str),
    /// By this preference of the `Prefer` header, which is then taken out.
    Preference(&'static str),
}

/// A query parameter that asks for a run. Its name is the route's: see [`Parameters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "`Parameters` says what they are")]
pub enum Control {
    Async,
    Blocking,
}

/// How errors are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Errors {
    /// As a problem document (RFC 9457).
    #[default]
    Document,
    /// As a line of text.
    Text,
}

/// What a dialect sees of a request.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query, as sent.
    pub target: &'a [u8],
    /// The headers.
    pub headers: &'a HeaderMap,
}

impl<'a> Head<'a> {
    /// What precedes the query.
    pub fn path(&self) -> &'a [u8] {
        let end = memchr::memchr(b'?', self.target).unwrap_or(self.target.len());
        &self.target[..end]
    }

    /// What follows the `?`, if there is one.
    pub fn query(&self) -> Option<&'a [u8]> {
        memchr::memchr(b'?', self.target).map(|mark| &self.target[mark + 1..])
    }

    /// What follows `prefix` in the path: nothing, or from the next slash on. None if the path is elsewhere.
    pub fn below(&self, prefix: &str) -> Option<&'a [u8]> {
        let below = self.path().strip_prefix(prefix.as_bytes())?;
        matches!(below.first(), None | Some(b'/')).then_some(below)
    }
}

/// The names of the control parameters on a route.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'a> {
    /// `async`, unless the route says otherwise.
    pub asynchronous: &'a str,
    /// `_blocking`, unless the route says otherwise.
    pub blocking: &'a str,
    /// `webhookEndpoint`, unless the route says otherwise.
    pub webhook: &'a str,
}

impl<'a> Parameters<'a> {
    /// The name of the parameter that asks for a run.
    pub const fn of(&self, control: Control) -> &'a str {
        match control {
            Control::Async => self.asynchronous,
            Control::Blocking => self.blocking,
        }
    }
}

/// The dialect of this name.
pub fn named(name: &str) -> Option<&'static Dialect> {
    ALL.into_iter().find(|dialect| dialect.name == name)
}

/// The one of a route's dialects in which a request asks for a run; none if it asks for none.
///
/// # Errors
/// [`Code::RepeatedParameter`] or [`Code::ConflictingTriggers`].
pub fn trigger(
    head: &Head<'_>,
    parameters: &Parameters<'_>,
    dialects: impl IntoIterator<Item = &'static Dialect>,
) -> Result<Option<&'static Dialect>, Problem> {
    let mut asked: Option<&'static Dialect> = None;
    for dialect in dialects {
        if !(dialect.asks)(head, parameters)? {
            continue;
        }
        asked = match (asked, dialect.place) {
            (None, _) => Some(dialect),
            (Some(first), Place::Preference(_)) => Some(first),
            (Some(first), Place::Query(_) | Place::Path(_)) => match first.place {
                Place::Preference(_) => Some(dialect),
                Place::Query(_) | Place::Path(_) => return Err(conflicting(first, dialect)),
            },
        };
    }
    Ok(asked)
}

/// The one of a route's dialects whose own paths a request is below, whether it asks rightly or not.
pub fn of_path(
    head: &Head<'_>,
    dialects: impl IntoIterator<Item = &'static Dialect>,
) -> Option<&'static Dialect> {
    dialects.into_iter().find(|dialect| match dialect.place {
        Place::Path(prefix) => head.below(prefix).is_some(),
        Place::Query(_) | Place::Preference(_) => false,
    })
}

/// Whether the query parameter `name` has this value, in any case; any other value asks for nothing.
///
/// # Errors
/// [`Code::RepeatedParameter`] if it has another value too: that is a contradiction.
fn has_value(head: &Head<'_>, name: &str, value: &str) -> Result<bool, Problem> {
    let Some(query) = head.query() else {
        return Ok(false);
    };
    let (mut asked, mut otherwise) = (false, false);
    for parameter in parameters(query).filter(|parameter| parameter.is(name)) {
        if parameter.has_value(value) {
            asked = true;
        } else {
            otherwise = true;
        }
    }
    if asked && otherwise {
        let detail =
            format!("The query has `{name}` as {value} and as something else; give `{name}` once.");
        return Err(Problem::new(Code::RepeatedParameter, detail));
    }
    Ok(asked)
}

fn conflicting(one: &Dialect, other: &Dialect) -> Problem {
    let detail = format!(
        "The request asks for a run as `{}` and as `{}` at once; ask in one way.",
        one.name, other.name
    );
    Problem::new(Code::ConflictingTriggers, detail)
}

/// What a 202 says, whatever the dialect.
#[derive(Debug, Clone, Copy)]
pub struct Receipt<'a> {
    /// The run.
    pub id: RunId,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The caller's own name for it, in dialects that have one.
    pub call_id: Option<&'a str>,
    /// Where to look at it; none if the public prefix is off.
    pub location: Option<&'a str>,
    /// Whether the run was accepted before, under the same idempotency key.
    pub replayed: bool,
    /// Whether accepts do not wait for fsync.
    pub relaxed: bool,
}

/// An exact 202.
#[derive(Debug)]
pub struct Reply {
    /// Its header lines, but for those of the connection.
    pub lines: Vec<Line>,
    /// Its body.
    pub body: Bytes,
}

impl Dialect {
    /// The 202 for a run that was asked for in this dialect.
    pub fn reply(&self, receipt: Receipt<'_>) -> Reply {
        let fixed = HeaderValue::from_static;
        let mut id = [0; 36];
        let id = receipt.id.write(&mut id);
        let body = (self.body)(receipt.id);
        let mut lines = Vec::with_capacity(10);
        if !body.is_empty() {
            lines.push(("Content-Type", fixed("application/json")));
        }
        lines.extend(
            [
                Some(("X-Request-Id", id)),
                receipt.location.map(|at| ("Location", at)),
            ]
            .into_iter()
            .flatten()
            // Ids and checked prefixes are plain ASCII.
            .filter_map(|(name, text)| Some((name, HeaderValue::from_str(text).ok()?))),
        );
        lines.extend((self.lines)(&receipt));
        lines.push(("Cache-Control", fixed("no-store")));
        lines.push(("Referrer-Policy", fixed("no-referrer")));
        if receipt.replayed {
            lines.push(("Idempotent-Replayed", fixed("true")));
        }
        if receipt.relaxed {
            lines.push(("Raincheck-Durability", fixed("relaxed")));
        }
        Reply { lines, body }
    }
}

impl std::fmt::Debug for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// No lines of its own.
fn no_lines(_receipt: &Receipt<'_>) -> Vec<Line> {
    Vec::new()
}

/// `{"run_id":"…"}` and a newline: 50 bytes.
fn run_id_body(run: RunId) -> Bytes {
    let mut id = [0; 36];
    let id = run.write(&mut id);
    let mut body = Vec::with_capacity(50);
    body.extend_from_slice(b"{\"run_id\":\"");
    body.extend_from_slice(id.as_bytes());
    body.extend_from_slice(b"\"}\n");
    body.into()
}

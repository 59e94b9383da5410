//! Dialects: how a caller asks for a run, and the exact 202 that it gets. A new one is one file below this one and one
//! line in [`ALL`].

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};

use super::{
    id::RunId,
    problem::{Code, Problem},
};

mod cerebrium;
pub mod openwhisk;
pub mod prefer;
#[cfg(test)]
mod tests;

/// Every dialect of this version.
pub static ALL: [&Dialect; 2] = [&cerebrium::DIALECT, &prefer::DIALECT];

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
    lines: &'static [(&'static str, &'static str)],
    /// The body of its 202, which is JSON.
    body: fn(RunId) -> Bytes,
}

/// Where a dialect is asked for. A request has one query and one path, so two that are asked for there contradict each
/// other; a preference beside them is one that is not honoured (RFC 7240 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// By the query parameter [`Parameters::asynchronous`], which is then taken out.
    Query,
    /// By this preference of the `Prefer` header, which is then taken out.
    Preference(&'static str),
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
}

/// The names of the control parameters on a route.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'a> {
    /// `async`, unless the route says otherwise.
    pub asynchronous: &'a str,
    /// `webhookEndpoint`, unless the route says otherwise.
    pub webhook: &'a str,
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
            (Some(first), Place::Query) if first.place != Place::Query => Some(dialect),
            (Some(first), Place::Query) => return Err(conflicting(first, dialect)),
        };
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
    pub lines: Vec<(&'static str, HeaderValue)>,
    /// Its body.
    pub body: Bytes,
}

impl Dialect {
    /// The 202 for a run that was asked for in this dialect.
    pub fn reply(&self, receipt: Receipt<'_>) -> Reply {
        let fixed = HeaderValue::from_static;
        let mut id = [0; 36];
        let id = receipt.id.write(&mut id);
        let mut lines = Vec::with_capacity(10);
        lines.push(("Content-Type", fixed("application/json")));
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
        lines.extend(self.lines.iter().map(|&(name, value)| (name, fixed(value))));
        lines.push(("Cache-Control", fixed("no-store")));
        lines.push(("Referrer-Policy", fixed("no-referrer")));
        if receipt.replayed {
            lines.push(("Idempotent-Replayed", fixed("true")));
        }
        if receipt.relaxed {
            lines.push(("Raincheck-Durability", fixed("relaxed")));
        }
        Reply {
            lines,
            body: (self.body)(receipt.id),
        }
    }
}

impl std::fmt::Debug for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
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

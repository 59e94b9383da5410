//! `Prefer: respond-async` (RFC 7240 §4.1), with or without `wait=N` (§4.3): the 202 points to a status monitor
//! (RFC 9110 §15.3.3).

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Dialect, Head, Parameters, Place, Reply, run_id_body};
use crate::model::{exchange::preferences, problem::Problem};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const APPLIED: &str = "Preference-Applied";
const RESPOND_ASYNC: &str = "respond-async";
const WAIT: &str = "wait";

/// The dialect.
pub static DIALECT: Dialect = Dialect {
    name: "prefer",
    place: Place::Preference(RESPOND_ASYNC),
    asks,
    lines: &[(APPLIED, RESPOND_ASYNC), ("Retry-After", "1")],
    body: run_id_body,
};

#[expect(
    clippy::unnecessary_wraps,
    reason = "dialects are a table, and others can be asked for wrongly"
)]
fn asks(head: &Head<'_>, _names: &Parameters<'_>) -> Result<bool, Problem> {
    Ok(preferences::has_plain(lines(head.headers), RESPOND_ASYNC))
}

/// The seconds of a request's `wait=N`, if it has one.
pub fn wait(headers: &HeaderMap) -> Option<u64> {
    preferences::seconds(lines(headers), WAIT)
}

fn lines(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(PREFER).iter().map(|line| line.as_bytes())
}

/// What of a request's preferences is honoured: it is not forwarded, and the 202 says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Honoured {
    /// `respond-async`
    pub respond_async: bool,
    /// `wait=N`: the seconds that are waited, which may be fewer than were asked for.
    pub wait: Option<u64>,
}

impl Honoured {
    /// The names of the honoured preferences.
    pub const fn names(self) -> &'static [&'static str] {
        match (self.respond_async, self.wait) {
            (false, None) => &[],
            (true, None) => &[RESPOND_ASYNC],
            (false, Some(_)) => &[WAIT],
            (true, Some(_)) => &[RESPOND_ASYNC, WAIT],
        }
    }

    /// What `Preference-Applied` says (RFC 7240 §3); none if nothing is honoured.
    pub fn applied(self) -> Option<HeaderValue> {
        let text = match (self.respond_async, self.wait) {
            (false, None) => return None,
            (true, None) => return Some(HeaderValue::from_static(RESPOND_ASYNC)),
            (false, Some(seconds)) => format!("{WAIT}={seconds}"),
            (true, Some(seconds)) => format!("{RESPOND_ASYNC}, {WAIT}={seconds}"),
        };
        HeaderValue::try_from(text).ok()
    }

    /// Lets a 202 of this dialect say this, and nothing else, of what is honoured.
    pub fn tell(self, reply: &mut Reply) {
        let at = reply.lines.iter().position(|(name, _)| *name == APPLIED);
        match (at, self.applied()) {
            (Some(at), Some(applied)) => reply.lines[at].1 = applied,
            (Some(at), None) => drop(reply.lines.remove(at)),
            (None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::dialect::Receipt;

    fn said(honoured: Honoured) -> Option<String> {
        let mut reply = DIALECT.reply(Receipt {
            id: "0199f00c-5e2a-7c3b-8d4e-5f60718293a4".parse().unwrap(),
            location: None,
            replayed: false,
            relaxed: false,
        });
        honoured.tell(&mut reply);
        let mut said = reply.lines.iter().filter(|(name, _)| *name == APPLIED);
        let line = said.next()?;
        assert!(said.next().is_none());
        Some(line.1.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_202_says_exactly_what_is_honoured() {
        for (respond_async, wait, text) in [
            (true, None, Some("respond-async")),
            (true, Some(10), Some("respond-async, wait=10")),
            (false, Some(0), Some("wait=0")),
            (false, None, None),
        ] {
            let honoured = Honoured {
                respond_async,
                wait,
            };
            assert_eq!(said(honoured).as_deref(), text);
            assert_eq!(
                honoured.names().len(),
                usize::from(respond_async) + usize::from(wait.is_some())
            );
        }
    }
}

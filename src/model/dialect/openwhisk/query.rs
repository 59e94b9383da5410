//! The parameters of an invocation and of a list of activations.

use std::time::Duration;

use percent_encoding::percent_decode;

use super::refusal::Refusal;
use crate::model::{exchange::query::parameters, time::Timestamp};

/// How many activations a list has if nothing is said, and at most.
const LIMIT: (u64, u64) = (30, 200);
/// The longest wait that can be asked for, in milliseconds.
const LONGEST_WAIT: u64 = 60_000;

/// How an action is invoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invocation {
    /// Whether the caller waits for its end.
    pub blocking: bool,
    /// Whether the caller wants the result alone.
    pub result: bool,
    /// The longest that the caller waits.
    pub timeout: Option<Duration>,
}

impl Invocation {
    /// Reads a query (what follows the `?`).
    ///
    /// # Errors
    /// Says which parameter is wrong, and what it may be.
    pub fn of(query: &[u8]) -> Result<Self, Refusal> {
        let timeout = value(query, "timeout")?
            .map(|text| number("timeout", &text, 1, LONGEST_WAIT, "milliseconds"));
        Ok(Self {
            blocking: truth(query, "blocking")?,
            result: truth(query, "result")?,
            timeout: timeout.transpose()?.map(Duration::from_millis),
        })
    }
}

/// Which activations are listed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// How many at most.
    pub limit: usize,
    /// How many are left out first.
    pub skip: usize,
    /// Those of this action.
    pub name: Option<String>,
    /// Those that started then or later.
    pub since: Option<Timestamp>,
    /// Those that started then or earlier; none of them if that is before all time.
    pub upto: Option<Upto>,
    /// Only their number.
    pub count: bool,
    /// Whole records.
    pub docs: bool,
}

/// The end of a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upto {
    /// This time.
    At(Timestamp),
    /// Before 1970: nothing is as old.
    Never,
}

impl List {
    /// Reads a query (what follows the `?`).
    ///
    /// # Errors
    /// Says which parameter is wrong, and what it may be.
    pub fn of(query: &[u8]) -> Result<Self, Refusal> {
        let whole = |key: &str, most: u64| -> Result<Option<u64>, Refusal> {
            let text = value(query, key)?;
            text.map(|text| number(key, &text, 0, most, "activations"))
                .transpose()
        };
        let limit = match whole("limit", LIMIT.1)? {
            None => LIMIT.0,
            Some(0) => LIMIT.1,
            Some(limit) => limit,
        };
        let skip = whole("skip", i32::MAX.unsigned_abs().into())?.unwrap_or_default();
        let at_least_0 = |millis: i64| u64::try_from(millis).ok().map(Timestamp::from_millis);
        Ok(Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            skip: usize::try_from(skip).unwrap_or(usize::MAX),
            name: value(query, "name")?.filter(|name| !name.is_empty()),
            since: time(query, "since")?.and_then(at_least_0),
            upto: time(query, "upto")?
                .map(|millis| at_least_0(millis).map_or(Upto::Never, Upto::At)),
            count: truth(query, "count")?,
            docs: truth(query, "docs")?,
        })
    }
}

/// The value of a parameter, decoded.
fn value(query: &[u8], key: &str) -> Result<Option<String>, Refusal> {
    let mut given = parameters(query).filter(|parameter| parameter.is(key));
    let Some(first) = given.next() else {
        return Ok(None);
    };
    if given.next().is_some() {
        let error = format!("The query parameter '{key}' is given several times; give it once.");
        return Err(Refusal::bad(error));
    }
    // In a form's encoding a plus is a space (no name, number or word here has a plus of its own).
    let plain: Vec<u8> = first
        .value
        .unwrap_or_default()
        .iter()
        .map(|&byte| if byte == b'+' { b' ' } else { byte })
        .collect();
    match percent_decode(&plain).decode_utf8() {
        Ok(text) => Ok(Some(text.into_owned())),
        Err(_) => Err(malformed(key, "is not UTF-8")),
    }
}

fn truth(query: &[u8], key: &str) -> Result<bool, Refusal> {
    let Some(text) = value(query, key)? else {
        return Ok(false);
    };
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(malformed(key, "is neither true nor false")),
    }
}

fn number(key: &str, text: &str, least: u64, most: u64, what: &str) -> Result<u64, Refusal> {
    if !is_whole(text) {
        return Err(malformed(key, "is no whole number"));
    }
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(Refusal::bad(format!(
            "The value '{text}' is not in the range of {least} to {most} for {what}."
        ))),
    }
}

/// Milliseconds since 1970; those that no clock shows count as the last or the first that one does.
fn time(query: &[u8], key: &str) -> Result<Option<i64>, Refusal> {
    let Some(text) = value(query, key)? else {
        return Ok(None);
    };
    if !is_whole(&text) {
        return Err(malformed(key, "is no number of milliseconds since 1970"));
    }
    let furthest = if text.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    };
    Ok(Some(text.parse().unwrap_or(furthest)))
}

fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn malformed(key: &str, how: &str) -> Refusal {
    Refusal::bad(format!(
        "The query parameter '{key}' was malformed: it {how}."
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said<T: std::fmt::Debug>(read: Result<T, Refusal>) -> String {
        match read {
            Ok(read) => format!("{read:?}"),
            Err(refusal) => format!("{} {}", refusal.status, refusal.error),
        }
    }

    #[test]
    fn how_actions_are_invoked() {
        let queries = [
            "",
            "blocking=true&result=TRUE&timeout=1",
            "blocking=false&result=false&timeout=60000&other=x",
            "blocking",
            "blocking=yes",
            "blocking=true&blocking=true",
            "timeout=0",
            "timeout=60001",
            "timeout=-1",
            "timeout=1.5",
            "timeout=",
            "result=%ff",
        ];
        let all =
            queries.map(|query| format!("{query}\n  {}", said(Invocation::of(query.as_bytes()))));
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn which_activations_are_listed() {
        let queries = [
            "",
            "limit=0&skip=7&name=sample%2Fhello&count=true&docs=true",
            "limit=200&since=1692623022053&upto=1692623024056",
            "limit=201",
            "limit=-1",
            "limit=99999999999999999999999",
            "limit=x",
            "limit=",
            "limit=+5",
            "skip=-1",
            "skip=2147483648",
            "since=-5&upto=-1",
            "since=yesterday",
            "upto=99999999999999999999999",
            "name=",
            "name=a&name=b",
            "docs=1",
        ];
        let all = queries.map(|query| format!("{query}\n  {}", said(List::of(query.as_bytes()))));
        insta::assert_snapshot!(all.join("\n"));
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic(query: Vec<u8>) {
            let _ = (List::of(&query), Invocation::of(&query));
        }
    }
}

//! The kinds of values: from what TOML has to what is meant, or why not.

use std::{ops::RangeInclusive, time::Duration};

use bytesize::ByteSize;
use http::HeaderName;
use ipnet::IpNet;
use toml::{Spanned, de::DeValue};

/// A value where it stands.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// What a value means, or all that is wrong with it.
pub(super) type Converted<T> = Result<T, Vec<Wrong>>;

/// What is wrong with a value, and where in the text it stands.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) message: String,
}

/// The longest duration that is taken for one.
pub(super) const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

pub(super) fn wrong<T>(value: &Value<'_>, message: impl Into<String>) -> Converted<T> {
    Err(vec![Wrong {
        at: value.span().start,
        message: message.into(),
    }])
}

/// `is not a number; write 3`.
pub(super) fn mistyped(value: &Value<'_>, kind: &str, write: &str) -> String {
    format!("{} is not {kind}; write {write}", shown(value))
}

/// A value in a message: short, on one line.
pub(super) fn shown(value: &Value<'_>) -> String {
    match value.get_ref() {
        DeValue::String(text) if text.chars().count() > 60 => {
            format!("{:?}…", text.chars().take(60).collect::<String>())
        }
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(list) if list.is_empty() => "[]".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

pub(super) fn text<'v>(value: &'v Value<'_>) -> Converted<&'v str> {
    match value.get_ref().as_str() {
        Some(text) => Ok(text),
        None => wrong(value, mistyped(value, "a text", "it in quotes")),
    }
}

pub(super) fn boolean(value: &Value<'_>) -> Converted<bool> {
    match value.get_ref().as_bool() {
        Some(truth) => Ok(truth),
        None => wrong(value, mistyped(value, "a truth value", "true or false")),
    }
}

pub(super) fn number(allowed: RangeInclusive<u64>) -> impl Fn(&Value<'_>) -> Converted<u64> {
    move |value| {
        let write = format!("a number from {} to {}", allowed.start(), allowed.end());
        match integer(value).filter(|number| allowed.contains(number)) {
            Some(number) => Ok(number),
            None if value.get_ref().is_integer() => wrong(
                value,
                format!("{} is out of range; write {write}", shown(value)),
            ),
            None => wrong(value, mistyped(value, "a whole number", &write)),
        }
    }
}

/// A number that fits everywhere: its range is checked.
pub(super) fn count(allowed: RangeInclusive<u32>) -> impl Fn(&Value<'_>) -> Converted<usize> {
    let number = number(u64::from(*allowed.start())..=u64::from(*allowed.end()));
    move |value| Ok(usize::try_from(number(value)?).unwrap_or(usize::MAX))
}

/// An HTTP status.
pub(super) fn status(value: &Value<'_>) -> Converted<u16> {
    Ok(u16::try_from(number(100..=599)(value)?).unwrap_or(599))
}

/// A port that can be dialled.
pub(super) fn port(value: &Value<'_>) -> Converted<u16> {
    Ok(u16::try_from(number(1..=65535)(value)?).unwrap_or(u16::MAX))
}

pub(super) fn duration(
    allowed: RangeInclusive<Duration>,
) -> impl Fn(&Value<'_>) -> Converted<Duration> {
    move |value| {
        let read = match integer(value) {
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None => value
                .get_ref()
                .as_str()
                .and_then(|text| humantime::parse_duration(text).ok()),
        };
        let Some(duration) = read else {
            let write =
                "a number and a unit, \"90s\" or \"15m\" or \"12h\", or a number of seconds";
            return wrong(value, mistyped(value, "a duration", write));
        };
        if &duration < allowed.start() {
            let least = humantime::format_duration(*allowed.start());
            return wrong(
                value,
                format!("{} is too short; write at least \"{least}\"", shown(value)),
            );
        }
        if &duration > allowed.end() {
            // A year of humantime has 365.25 days.
            let most = if *allowed.end() == LONGEST {
                "3650d".to_owned()
            } else {
                humantime::format_duration(*allowed.end()).to_string()
            };
            return wrong(
                value,
                format!("{} is too long; write at most \"{most}\"", shown(value)),
            );
        }
        Ok(duration)
    }
}

/// Bytes.
pub(super) fn size(least: u64) -> impl Fn(&Value<'_>) -> Converted<u64> {
    move |value| {
        let read = match integer(value) {
            Some(bytes) => Some(bytes),
            None => value
                .get_ref()
                .as_str()
                .and_then(|text| text.trim().parse::<ByteSize>().ok())
                .map(|size| size.as_u64()),
        };
        match read.filter(|bytes| i64::try_from(*bytes).is_ok()) {
            Some(bytes) if bytes < least => {
                let least = ByteSize::b(least).display().iec();
                wrong(
                    value,
                    format!("{} is too small; write at least \"{least}\"", shown(value)),
                )
            }
            Some(bytes) => Ok(bytes),
            None => wrong(
                value,
                mistyped(
                    value,
                    "a size",
                    "a number and a unit, \"64 KiB\" or \"10 MiB\", or a number of bytes",
                ),
            ),
        }
    }
}

/// One of some words.
pub(super) fn one_of<T: Copy>(words: &[(&str, T)]) -> impl Fn(&Value<'_>) -> Converted<T> {
    move |value| {
        let written = value.get_ref().as_str();
        let found = words.iter().find(|(word, _)| written == Some(*word));
        match found {
            Some((_, meant)) => Ok(*meant),
            None => {
                let all: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
                wrong(
                    value,
                    format!("{} is unknown; write {}", shown(value), all.join(" or ")),
                )
            }
        }
    }
}

/// A list, each element by `convert`.
pub(super) fn list<T>(
    convert: impl Fn(&Value<'_>) -> Converted<T>,
) -> impl Fn(&Value<'_>) -> Converted<Vec<T>> {
    move |value| {
        let Some(elements) = value.get_ref().as_array() else {
            let write = format!("[{}]", shown(value));
            return wrong(value, mistyped(value, "a list", &write));
        };
        let (mut all, mut faults) = (Vec::new(), Vec::new());
        for element in elements {
            match convert(element) {
                Ok(converted) => all.push(converted),
                Err(wrong) => faults.extend(wrong),
            }
        }
        if faults.is_empty() {
            Ok(all)
        } else {
            Err(faults)
        }
    }
}

/// A list with at least one element; `write` is one.
pub(super) fn some<T>(
    write: &'static str,
    convert: impl Fn(&Value<'_>) -> Converted<T>,
) -> impl Fn(&Value<'_>) -> Converted<Vec<T>> {
    let list = list(convert);
    move |value| {
        let all = list(value)?;
        if all.is_empty() {
            return wrong(
                value,
                format!("the list is empty; write at least one, [{write}]"),
            );
        }
        Ok(all)
    }
}

/// A network, or one address.
pub(super) fn network(value: &Value<'_>) -> Converted<IpNet> {
    let written = text(value)?;
    let read = written.parse::<IpNet>().ok();
    let read = read.or_else(|| Some(IpNet::from(written.parse::<std::net::IpAddr>().ok()?)));
    match read {
        Some(network) => Ok(network.trunc()),
        None => wrong(
            value,
            mistyped(
                value,
                "a network",
                "\"10.0.0.0/8\" or \"fd00::/8\" or one address",
            ),
        ),
    }
}

/// A host name in lower case, without a dot at the end.
pub(super) fn host_name(value: &Value<'_>) -> Converted<String> {
    let name = text(value)?.trim_end_matches('.').to_ascii_lowercase();
    if is_host_name(&name) {
        Ok(name)
    } else {
        let write = "the name alone, \"app.example.com\", without scheme, port or path";
        wrong(value, mistyped(value, "a host name", write))
    }
}

pub(super) fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(label)
}

pub(super) fn header(value: &Value<'_>) -> Converted<HeaderName> {
    match HeaderName::from_bytes(text(value)?.as_bytes()) {
        Ok(name) => Ok(name),
        Err(_) => wrong(
            value,
            mistyped(value, "a header's name", "\"x-api-key\" or the like"),
        ),
    }
}

/// The name of a route, an upstream or a query parameter.
pub(super) fn name(value: &Value<'_>) -> Converted<String> {
    let name = text(value)?;
    if is_name(name) {
        Ok(name.to_owned())
    } else {
        wrong(value, mistyped(value, "a name", NAME_RULE))
    }
}

/// What [`is_name`] asks for.
pub(super) const NAME_RULE: &str = "1 to 64 of A-Z, a-z, 0-9, \"_\", \"-\" and \".\"";

pub(super) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

fn integer(value: &Value<'_>) -> Option<u64> {
    let number = value.get_ref().as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

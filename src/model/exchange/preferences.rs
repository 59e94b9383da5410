//! The `Prefer` header (RFC 7240): preferences found by name, and taken out once honoured.

/// Whether the header's lines have this preference, without a value of its own (RFC 7240 §2: an empty value is the
/// same as none).
pub fn has_plain<'a>(lines: impl IntoIterator<Item = &'a [u8]>, name: &str) -> bool {
    first(lines, name).is_some_and(|value| matches!(value, b"" | b"\"\""))
}

/// The seconds that this preference names (`delta-seconds` of RFC 7240 §4.3, bare or quoted). None if it is absent or
/// no such number; one that is too large to be one counts as the largest.
pub fn seconds<'a>(lines: impl IntoIterator<Item = &'a [u8]>, name: &str) -> Option<u64> {
    let value = first(lines, name)?;
    let quoted = value
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    let digits = std::str::from_utf8(quoted.unwrap_or(value)).ok()?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// A header line without these preferences; none if nothing else is in it. What stays keeps its bytes.
pub fn without(line: &[u8], names: &[&str]) -> Option<Vec<u8>> {
    let gone = |member: &[u8]| names.iter().any(|name| is_named(member, name));
    let mut kept = Vec::with_capacity(line.len());
    for member in members(line).filter(|member| !gone(member)) {
        let member = member.trim_ascii();
        if member.is_empty() {
            continue;
        }
        if !kept.is_empty() {
            kept.extend_from_slice(b", ");
        }
        kept.extend_from_slice(member);
    }
    (!kept.is_empty()).then_some(kept)
}

/// The value of the first preference of this name, as written; empty if it has none. Later ones of the same name do
/// not count (RFC 7240 §2).
fn first<'a>(lines: impl IntoIterator<Item = &'a [u8]>, name: &str) -> Option<&'a [u8]> {
    lines
        .into_iter()
        .flat_map(members)
        .find(|member| is_named(member, name))
        .map(|member| parts(member).1)
}

fn is_named(member: &[u8], name: &str) -> bool {
    parts(member).0.eq_ignore_ascii_case(name.as_bytes())
}

/// Name and value of a preference, without its parameters.
fn parts(member: &[u8]) -> (&[u8], &[u8]) {
    let preference = outside_quotes(member, b';').next().unwrap_or_default();
    match memchr::memchr(b'=', preference) {
        Some(at) => (
            preference[..at].trim_ascii(),
            preference[at + 1..].trim_ascii(),
        ),
        None => (preference.trim_ascii(), b""),
    }
}

/// The members of a comma list; a comma in a quoted string separates nothing.
fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    outside_quotes(line, b',')
}

/// What lies between separators that are in no quoted string.
fn outside_quotes(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |&byte| {
        if escaped {
            escaped = false;
            return false;
        }
        match byte {
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == separator => return !quoted,
            _ => {}
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asks(lines: &[&str]) -> bool {
        has_plain(lines.iter().map(|line| line.as_bytes()), "respond-async")
    }

    fn wait(lines: &[&str]) -> Option<u64> {
        seconds(lines.iter().map(|line| line.as_bytes()), "wait")
    }

    #[test]
    fn a_preference_is_found_in_any_case_line_and_place() {
        for lines in [
            &["respond-async"][..],
            &["Respond-ASYNC"],
            &["wait=10, respond-async"],
            &["respond-async;foo=bar, wait=10"],
            &["respond-async=\"\" ; x"],
            &["return=minimal", "respond-async"],
            &["foo=\"a, \\\"b\", respond-async"],
            &["foo=\"a; b\"; c=\", d\", respond-async"],
            &["respond-async, respond-async=no"],
        ] {
            assert!(asks(lines), "{lines:?}");
        }
    }

    #[test]
    fn other_preferences_ask_for_nothing() {
        for lines in [
            &[][..],
            &["", ","],
            &["respond-asynchronously"],
            &["x=respond-async"],
            &["foo=\"a, respond-async\""],
            &["foo=\"a\\\", respond-async\""],
            &["respond-async=no"],
            &["respond-async=no, respond-async"],
            &["return; respond-async"],
        ] {
            assert!(!asks(lines), "{lines:?}");
        }
    }

    #[test]
    fn a_wait_is_whole_seconds_and_its_first_instance_counts() {
        for (lines, seconds) in [
            (&["wait=10"][..], Some(10)),
            (&["respond-async, WAIT = 10 ; x=y"], Some(10)),
            (&["wait=\"7\""], Some(7)),
            (&["wait=0"], Some(0)),
            (&["wait=007"], Some(7)),
            (&["wait=5, wait=9"], Some(5)),
            (&["wait=5", "wait=9"], Some(5)),
            (&["wait=99999999999999999999999"], Some(u64::MAX)),
            (&["wait=soon, wait=9"], None),
            (&["wait"], None),
            (&["wait="], None),
            (&["wait=\"\""], None),
            (&["wait=-1"], None),
            (&["wait=+1"], None),
            (&["wait=1.5"], None),
            (&["wait=1 0"], None),
            (&["waits=1"], None),
            (&["foo=\"wait=1\"; wait=2"], None),
        ] {
            assert_eq!(wait(lines), seconds, "{lines:?}");
        }
    }

    /// The examples of RFC 7240 §§2, 3 and 4, as they are printed there.
    #[test]
    fn the_rfcs_examples_are_read_as_it_says() {
        for (lines, plain, seconds) in [
            (
                &["respond-async, wait=100", "handling=lenient"][..],
                true,
                Some(100),
            ),
            (
                &["respond-async, wait=100, handling=lenient"],
                true,
                Some(100),
            ),
            (
                &["handling=lenient, wait=100, respond-async"],
                true,
                Some(100),
            ),
            (&["respond-async, wait=10"], true, Some(10)),
            (&["wait=10, respond-async"], true, Some(10)),
            (&["priority=5"], false, None),
            (&["foo; some-parameter"], false, None),
            (&["foo=\"\"; some-parameter"], false, None),
            (&["foo=; some-parameter=\"\""], false, None),
            (&["return=representation"], false, None),
            (&["return=minimal"], false, None),
        ] {
            assert_eq!((asks(lines), wait(lines)), (plain, seconds), "{lines:?}");
        }
    }

    #[test]
    fn what_is_not_honoured_stays() {
        for (before, names, after) in [
            ("respond-async", &["respond-async"][..], None),
            ("respond-async, ", &["respond-async"], None),
            (
                "respond-async, wait=10",
                &["respond-async"],
                Some("wait=10"),
            ),
            ("respond-async, wait=10", &["respond-async", "wait"], None),
            ("wait=1,wait=2; x", &["wait"], None),
            ("return=minimal", &["wait"], Some("return=minimal")),
            (
                "a=\"x, y\";z,respond-async;q , b",
                &["respond-async"],
                Some("a=\"x, y\";z, b"),
            ),
        ] {
            let kept = without(before.as_bytes(), names);
            assert_eq!(kept, after.map(|text| text.as_bytes().to_vec()));
        }
    }

    proptest! {
        #[test]
        fn what_was_taken_out_is_not_found_again(line in "[ -~]{0,40}") {
            let names = ["wait", "respond-async"];
            if let Some(kept) = without(line.as_bytes(), &names) {
                prop_assert_eq!(seconds([&kept[..]], "wait"), None);
                prop_assert!(!has_plain([&kept[..]], "respond-async"));
                let again = without(&kept, &names);
                prop_assert_eq!(again.as_deref(), Some(&kept[..]));
            }
        }
    }
}

//! The `Prefer` header (RFC 7240): found by name, and taken out once honoured.

/// Whether one of the header's lines has this preference, without a value of its own (RFC 7240 §2: an empty value is
/// the same as none).
pub fn has_plain<'a>(lines: impl IntoIterator<Item = &'a [u8]>, name: &str) -> bool {
    lines
        .into_iter()
        .flat_map(members)
        .any(|member| is_plain(member, name))
}

/// A header line without this preference; none if nothing else is in it. What stays keeps its bytes.
pub fn without(line: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut kept = Vec::with_capacity(line.len());
    for member in members(line).filter(|member| !is_plain(member, name)) {
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

fn is_plain(member: &[u8], name: &str) -> bool {
    let end = memchr::memchr(b';', member).unwrap_or(member.len());
    let preference = &member[..end];
    let (found, value) = match memchr::memchr(b'=', preference) {
        Some(at) => (&preference[..at], preference[at + 1..].trim_ascii()),
        None => (preference, &b""[..]),
    };
    found.trim_ascii().eq_ignore_ascii_case(name.as_bytes()) && matches!(value, b"" | b"\"\"")
}

/// The members of a comma list; a comma in a quoted string separates nothing.
fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    line.split(move |&byte| {
        if escaped {
            escaped = false;
            return false;
        }
        match byte {
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' => return !quoted,
            _ => {}
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(lines: &[&str]) -> bool {
        has_plain(lines.iter().map(|line| line.as_bytes()), "respond-async")
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
            &["return; respond-async"],
        ] {
            assert!(!asks(lines), "{lines:?}");
        }
    }

    #[test]
    fn what_is_not_honoured_stays() {
        for (before, after) in [
            ("respond-async", None),
            ("respond-async, ", None),
            ("respond-async, wait=10", Some("wait=10")),
            ("a=\"x, y\";z,respond-async;q , b", Some("a=\"x, y\";z, b")),
        ] {
            let kept = without(before.as_bytes(), "respond-async");
            assert_eq!(kept, after.map(|text| text.as_bytes().to_vec()));
        }
    }
}

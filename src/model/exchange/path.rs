//! The path of a request target, as raw bytes.

/// The path of an origin-form target: what stands before the query.
pub fn of_target(target: &[u8]) -> &[u8] {
    let end = memchr::memchr(b'?', target).unwrap_or(target.len());
    &target[..end]
}

/// Whether a path has dot segments (RFC 3986 §3.3), plain or percent-encoded. Encoded slashes count as slashes here:
/// behind them, an upstream that decodes before it resolves would find a segment that we did not see.
pub fn has_dot_segments(path: &[u8]) -> bool {
    let mut rest = path;
    while let Some(dot) = memchr::memchr2(b'.', b'%', rest) {
        let before = &rest[..dot];
        let starts_segment = before.last().is_none_or(|&byte| byte == b'/');
        let at_start = if before.is_empty() {
            is_boundary_before(path, path.len() - rest.len())
        } else {
            starts_segment
        };
        if at_start && is_dot_segment(&rest[dot..]) {
            return true;
        }
        rest = &rest[dot + width(&rest[dot..])..];
    }
    false
}

/// Whether a segment begins at `index`: behind a slash, plain or encoded, or at the very start.
fn is_boundary_before(path: &[u8], index: usize) -> bool {
    let before = &path[..index];
    before.is_empty()
        || before.ends_with(b"/")
        || (before.len() >= 3 && before[before.len() - 3..].eq_ignore_ascii_case(b"%2f"))
}

/// Whether `text` begins with one or two dots that fill a segment.
fn is_dot_segment(text: &[u8]) -> bool {
    let Some(one) = after_dot(text) else {
        return false;
    };
    ends_segment(one) || after_dot(one).is_some_and(ends_segment)
}

fn after_dot(text: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = text.strip_prefix(b".") {
        return Some(rest);
    }
    text.get(..3)
        .filter(|code| code.eq_ignore_ascii_case(b"%2e"))
        .map(|_| &text[3..])
}

fn ends_segment(rest: &[u8]) -> bool {
    matches!(rest, [] | [b'/', ..] | [b'%', b'2', b'f' | b'F', ..])
}

/// How many bytes to go on by from a dot or percent sign.
fn width(text: &[u8]) -> usize {
    if text.first() == Some(&b'%') && text.len() >= 3 {
        3
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dot_segments_are_found_in_every_spelling() {
        for path in [
            "/..",
            "/.",
            "/../x",
            "/a/./b",
            "/a/../b",
            "/%2e",
            "/%2E%2e/x",
            "/a/.%2e/b",
            "/a/%2e./b",
            "/a%2f..%2fb",
            "/a%2F%2e",
            "..",
            "/a/..",
        ] {
            assert!(has_dot_segments(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn dots_within_a_segment_are_none() {
        for path in [
            "/",
            "/a.b",
            "/...",
            "/.well-known/x",
            "/a..",
            "/..a",
            "/a%2e",
            "/%2e%2e%2e",
            "/%2e%2ea",
            "/a/%",
            "/%2",
            "/x.y.z/%20.",
            "/v1.0/..x/y..",
        ] {
            assert!(!has_dot_segments(path.as_bytes()), "{path}");
        }
    }

    /// Decode the dots and slashes, split, compare: what the scan must agree with.
    fn naive(path: &str) -> bool {
        let mut plain = path.to_ascii_lowercase();
        plain = plain.replace("%2e", ".").replace("%2f", "/");
        plain
            .split('/')
            .any(|segment| segment == "." || segment == "..")
    }

    proptest! {
        #[test]
        fn the_scan_agrees_with_splitting(pieces in prop::collection::vec(
            prop::sample::select(vec!["/", ".", "%2e", "%2E", "%2f", "a", "%20", "b"]), 0..12)) {
            let path: String = pieces.concat();
            prop_assert_eq!(has_dot_segments(path.as_bytes()), naive(&path), "{}", path);
        }
    }

    #[test]
    fn the_query_is_no_part_of_the_path() {
        assert_eq!(of_target(b"/a/b?x=/../y"), b"/a/b");
        assert_eq!(of_target(b"/a"), b"/a");
    }
}

//! Which part of a stored body a `Range` header asks for (RFC 9110 §14).

use http::{
    HeaderMap, HeaderValue,
    header::{ETAG, IF_RANGE, LAST_MODIFIED, RANGE},
};

/// What is to be sent of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it: no range is asked for, or one that a server may ignore (several ranges, other units, nonsense).
    Whole,
    /// These bytes, both ends included.
    Bytes {
        /// The first byte's position.
        first: u64,
        /// The last byte's position.
        last: u64,
    },
    /// Nothing: the range begins behind the end.
    Unsatisfiable,
}

/// The part of a body of `length` bytes that `request` asks for, where `stored` are the response's own headers, which
/// hold the validators that `If-Range` is compared with.
pub(super) fn asked(request: &HeaderMap, stored: &HeaderMap, length: u64) -> Part {
    let mut ranges = request.get_all(RANGE).iter();
    match (ranges.next(), ranges.next()) {
        (Some(range), None) if still_the_same(request, stored) => {
            parse(range, length).unwrap_or(Part::Whole)
        }
        _ => Part::Whole,
    }
}

/// RFC 9110 §13.1.5: a range counts only if the client's validator is strong and equal.
fn still_the_same(request: &HeaderMap, stored: &HeaderMap) -> bool {
    request.get(IF_RANGE).is_none_or(|validator| {
        if validator.as_bytes().starts_with(b"\"") {
            stored.get(ETAG) == Some(validator)
        } else {
            stored.get(LAST_MODIFIED) == Some(validator)
        }
    })
}

/// One range of bytes; none if the header is not one.
fn parse(range: &HeaderValue, length: u64) -> Option<Part> {
    let (unit, spec) = range.to_str().ok()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = spec.trim().split_once('-')?;
    Some(match (number(first)?, number(last)?) {
        (None, None) => return None,
        (None, Some(0)) => Part::Unsatisfiable,
        (None, Some(_)) if length == 0 => Part::Whole,
        (None, Some(suffix)) => Part::Bytes {
            first: length.saturating_sub(suffix),
            last: length - 1,
        },
        (Some(first), Some(last)) if last < first => return None,
        (Some(first), _) if first >= length => Part::Unsatisfiable,
        (Some(first), last) => Part::Bytes {
            first,
            last: last.unwrap_or(u64::MAX).min(length - 1),
        },
    })
}

/// A number too large to be told from another is as good as the largest; an empty text is no number.
fn number(digits: &str) -> Option<Option<u64>> {
    if digits.is_empty() {
        return Some(None);
    }
    let all = digits.bytes().all(|digit| digit.is_ascii_digit());
    all.then(|| Some(digits.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(range: &str, length: u64) -> Part {
        let request = HeaderMap::from_iter([(RANGE, range.parse().unwrap())]);
        asked(&request, &HeaderMap::new(), length)
    }

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        let bytes = |first, last| Part::Bytes { first, last };
        for (range, part) in [
            ("bytes=0-0", bytes(0, 0)),
            ("bytes=0-499", bytes(0, 99)),
            ("Bytes=50-", bytes(50, 99)),
            ("bytes=-10", bytes(90, 99)),
            ("bytes=-1000", bytes(0, 99)),
            ("bytes=99-99999999999999999999999", bytes(99, 99)),
            ("bytes=100-", Part::Unsatisfiable),
            ("bytes=99999999999999999999999-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
        ] {
            assert_eq!(of(range, 100), part, "{range}");
        }
        assert_eq!(of("bytes=0-", 0), Part::Unsatisfiable);
        assert_eq!(of("bytes=-5", 0), Part::Whole);
    }

    #[test]
    fn what_is_no_single_range_of_bytes_is_ignored() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=+1-2",
            "bytes=a-b",
            "bytes=1 - 2",
            "bytes=--1",
        ] {
            assert_eq!(of(range, 100), Part::Whole, "{range}");
        }
        let mut twice = HeaderMap::from_iter([(RANGE, "bytes=0-1".parse().unwrap())]);
        twice.append(RANGE, "bytes=0-1".parse().unwrap());
        assert_eq!(asked(&twice, &HeaderMap::new(), 100), Part::Whole);
    }

    #[test]
    fn if_range_wants_the_same_strong_validator() {
        let stored = HeaderMap::from_iter([
            (ETAG, "\"a\"".parse().unwrap()),
            (
                LAST_MODIFIED,
                "Sat, 21 Nov 2026 12:00:00 GMT".parse().unwrap(),
            ),
        ]);
        let with = |validator: &str| {
            let request = HeaderMap::from_iter([
                (RANGE, "bytes=1-2".parse().unwrap()),
                (IF_RANGE, validator.parse().unwrap()),
            ]);
            asked(&request, &stored, 100)
        };
        let part = Part::Bytes { first: 1, last: 2 };
        assert_eq!(with("\"a\""), part);
        assert_eq!(with("Sat, 21 Nov 2026 12:00:00 GMT"), part);
        assert_eq!(with("\"b\""), Part::Whole);
        assert_eq!(with("W/\"a\""), Part::Whole);
        assert_eq!(with("Sat, 21 Nov 2026 12:00:01 GMT"), Part::Whole);
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_body(first in 0..200u64, last in 0..200u64, length in 0..150u64) {
            if let Part::Bytes { first: from, last: to } = of(&format!("bytes={first}-{last}"), length) {
                prop_assert!(from <= to && to < length);
                prop_assert!(from == first && to == last.min(length - 1));
            }
        }
    }
}

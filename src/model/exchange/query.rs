//! Query parameters: found by name, and taken out without touching any other byte.

use percent_encoding::percent_decode;

/// One piece of a query between `&`s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// As it was sent.
    pub name: &'a [u8],
    /// What follows the first `=`, as it was sent; none without one.
    pub value: Option<&'a [u8]>,
}

impl<'a> Parameter<'a> {
    fn of(piece: &'a [u8]) -> Self {
        match memchr::memchr(b'=', piece) {
            Some(at) => Self {
                name: &piece[..at],
                value: Some(&piece[at + 1..]),
            },
            None => Self {
                name: piece,
                value: None,
            },
        }
    }

    /// Whether it has this name, percent-encoded or not.
    pub fn is(&self, name: &str) -> bool {
        self.name == name.as_bytes()
            || (self.name.len() > name.len()
                && memchr::memchr(b'%', self.name).is_some()
                && percent_decode(self.name).eq(name.bytes()))
    }

    /// Whether it has this value, in any case, percent-encoded or not.
    pub fn has_value(&self, value: &str) -> bool {
        let Some(given) = self.value else {
            return false;
        };
        given.eq_ignore_ascii_case(value.as_bytes())
            || (given.len() > value.len()
                && percent_decode(given)
                    .map(|byte| byte.to_ascii_lowercase())
                    .eq(value.bytes().map(|byte| byte.to_ascii_lowercase())))
    }
}

/// The parameters of a query (what follows the `?`), in order.
pub fn parameters(query: &[u8]) -> impl Iterator<Item = Parameter<'_>> {
    pieces(query).map(Parameter::of)
}

/// Writes `target` (path and query) without the parameters for which `gone` holds; every other byte stays, and the
/// `?` goes if nothing remains behind it.
pub fn write_target_without(
    target: &[u8],
    mut gone: impl FnMut(&Parameter<'_>) -> bool,
    out: &mut Vec<u8>,
) {
    let Some(mark) = memchr::memchr(b'?', target) else {
        return out.extend_from_slice(target);
    };
    let (path, query) = (&target[..mark], &target[mark + 1..]);
    if !parameters(query).any(|parameter| gone(&parameter)) {
        return out.extend_from_slice(target);
    }
    out.extend_from_slice(path);
    let start = out.len();
    for piece in pieces(query).filter(|piece| !gone(&Parameter::of(piece))) {
        out.push(if out.len() == start { b'?' } else { b'&' });
        out.extend_from_slice(piece);
    }
    if out.len() == start + 1 {
        out.truncate(start);
    }
}

fn pieces(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    query.split(|&byte| byte == b'&')
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;

    fn without(target: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_target_without(target, |p| p.is("async") || p.is("hook"), &mut out);
        out
    }

    #[test]
    fn control_parameters_go_and_nothing_else() {
        for (before, after) in [
            ("/a", "/a"),
            ("/a?", "/a?"),
            ("/a?async=true", "/a"),
            ("/a?async=true&", "/a"),
            ("/a?async", "/a"),
            ("/a?x=1&async=true", "/a?x=1"),
            ("/a?async=true&x=1", "/a?x=1"),
            ("/a?x=1&async=true&y=%20&&hook=h&z", "/a?x=1&y=%20&&z"),
            ("/a?%61sync=true&x", "/a?x"),
            (
                "/a?asynchronous=true&ASYNC=true",
                "/a?asynchronous=true&ASYNC=true",
            ),
            ("/a?x=async=true", "/a?x=async=true"),
            ("/a?x=?&async=true?", "/a?x=?"),
            ("/async=true?b=async", "/async=true?b=async"),
        ] {
            assert_eq!(without(before.as_bytes()).escape_ascii().to_string(), after);
        }
    }

    #[test]
    fn a_value_is_compared_without_case() {
        let yes = [
            &b"a=true"[..],
            b"a=TRUE",
            b"a=tRuE",
            b"a=%74rue",
            b"a=%54RUE",
        ];
        for query in yes {
            assert!(parameters(query).all(|p| p.has_value("true")));
        }
        for query in [
            &b"a=false"[..],
            b"a",
            b"a=",
            b"a=1",
            b"a=truee",
            b"a=%2574rue",
        ] {
            assert!(!parameters(query).any(|p| p.has_value("true")));
        }
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            select(vec![
                &b"async=true"[..],
                b"async",
                b"hook=h",
                b"%61sync=x",
                b"async=true="
            ])
            .prop_map(<[u8]>::to_vec),
            proptest::collection::vec(
                any::<u8>().prop_filter("no delimiter", |b| !b"&#".contains(b)),
                0..12
            ),
        ]
    }

    proptest! {
        #[test]
        fn once_taken_out_a_parameter_is_gone(query: Vec<u8>, names in proptest::collection::vec("[a-b_%=&]{1,3}", 1..4)) {
            let target = [b"/p?".as_slice(), &query].concat();
            let gone = |p: &Parameter<'_>| names.iter().any(|name| p.is(name));
            let (mut once, mut twice) = (Vec::new(), Vec::new());
            write_target_without(&target, gone, &mut once);
            let rest = once.iter().position(|&byte| byte == b'?').map(|mark| &once[mark + 1..]);
            prop_assert!(rest.is_none_or(|rest| !parameters(rest).any(|p| gone(&p))));
            write_target_without(&once, gone, &mut twice);
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn what_stays_keeps_its_bytes_and_its_order(pieces in proptest::collection::vec(piece(), 1..8)) {
            let target = [b"/p?".as_slice(), &pieces.join(&b'&')].concat();
            let kept: Vec<_> = pieces
                .iter()
                .filter(|piece| {
                    let parameter = Parameter::of(piece);
                    !(parameter.is("async") || parameter.is("hook"))
                })
                .cloned()
                .collect();
            let expected = if kept.len() == pieces.len() {
                target.clone()
            } else {
                let rest = kept.join(&b'&');
                let mark: &[u8] = if rest.is_empty() { b"" } else { b"?" };
                [b"/p", mark, &rest].concat()
            };
            prop_assert_eq!(without(&target), expected);
        }
    }
}

//! Whether bytes that come piece by piece are one JSON value (RFC 8259), without keeping them.

use super::utf8::Utf8;

/// How many containers may be within each other; deeper ones are refused (RFC 8259 §9 leaves it to us).
const DEPTH: usize = 512;

/// A check under way. It reads each byte once and keeps none but the brackets that are open.
#[derive(Debug, Clone)]
pub struct Json {
    open: Vec<Container>,
    next: Next,
    utf8: Utf8,
    /// How much of the present key of the outermost object reads like the [`Json::watched`] name; none: another name.
    matched: Option<usize>,
    watched: &'static [u8],
    found: bool,
    is_object: bool,
}

/// The bytes were one JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    /// Whether it is an object.
    pub is_object: bool,
    /// Whether it is an object with a member of the watched name, which is written without escapes.
    pub has_watched: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Array,
    Object,
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    /// Within a text; whether it is a key.
    Text(bool),
    Escape(bool),
    /// So many digits of `\u` are left.
    Hex(u8, bool),
    /// The rest of `true`, `false` or `null`.
    Word(&'static [u8]),
    Number(Number),
    /// Nothing but white space.
    Nothing,
    Wrong,
}

/// What of a number has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl Json {
    /// A check that notes whether the outermost object has a member of this name.
    pub const fn watching(name: &'static str) -> Self {
        Self {
            open: Vec::new(),
            next: Next::Value,
            utf8: Utf8::new(),
            matched: None,
            watched: name.as_bytes(),
            found: false,
            is_object: false,
        }
    }

    /// Reads a piece. False: it is no JSON, whatever comes.
    pub fn push(&mut self, piece: &[u8]) -> bool {
        self.utf8.push(piece);
        if !self.utf8.is_valid() {
            self.next = Next::Wrong;
        }
        for &byte in piece {
            if self.next == Next::Wrong {
                return false;
            }
            self.next = self.step(byte);
        }
        self.next != Next::Wrong
    }

    /// The value, once all has come; none if it is none.
    pub fn end(self) -> Option<Value> {
        let whole = match self.next {
            Next::Nothing => true,
            Next::Number(number) => self.open.is_empty() && number.may_end(),
            _ => false,
        };
        (whole && self.utf8.is_whole()).then_some(Value {
            is_object: self.is_object,
            has_watched: self.found,
        })
    }

    fn step(&mut self, byte: u8) -> Next {
        match self.next {
            Next::Text(key) => self.text(byte, key),
            Next::Escape(key) => match byte {
                b'u' => Next::Hex(4, key),
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Next::Text(key),
                _ => Next::Wrong,
            },
            Next::Hex(left, key) if byte.is_ascii_hexdigit() => match left {
                1 => Next::Text(key),
                left => Next::Hex(left - 1, key),
            },
            Next::Word([first, rest @ ..]) if byte == *first => match rest {
                [] => self.after_value(),
                rest => Next::Word(rest),
            },
            Next::Number(number) => match number.step(byte) {
                Some(number) => Next::Number(number),
                None if number.may_end() => {
                    self.next = self.after_value();
                    self.step(byte)
                }
                None => Next::Wrong,
            },
            Next::Hex(..) | Next::Word(_) | Next::Wrong => Next::Wrong,
            same if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => same,
            Next::Value => self.value(byte),
            Next::ValueOrEnd if byte == b']' => self.close(),
            Next::ValueOrEnd => self.value(byte),
            Next::KeyOrEnd if byte == b'}' => self.close(),
            Next::Key | Next::KeyOrEnd if byte == b'"' => {
                self.matched = (self.open.len() == 1).then_some(0);
                Next::Text(true)
            }
            Next::Colon if byte == b':' => Next::Value,
            Next::CommaOrEnd => self.comma_or_end(byte),
            Next::Key | Next::KeyOrEnd | Next::Colon | Next::Nothing => Next::Wrong,
        }
    }

    fn value(&mut self, byte: u8) -> Next {
        match byte {
            b'{' => self.open(Container::Object, Next::KeyOrEnd),
            b'[' => self.open(Container::Array, Next::ValueOrEnd),
            b'"' => Next::Text(false),
            b't' => Next::Word(b"rue"),
            b'f' => Next::Word(b"alse"),
            b'n' => Next::Word(b"ull"),
            b'-' => Next::Number(Number::Minus),
            b'0' => Next::Number(Number::Zero),
            b'1'..=b'9' => Next::Number(Number::Whole),
            _ => Next::Wrong,
        }
    }

    fn text(&mut self, byte: u8, key: bool) -> Next {
        match byte {
            b'"' if key => {
                self.found |= self.matched == Some(self.watched.len());
                Next::Colon
            }
            b'"' => self.after_value(),
            b'\\' => {
                self.matched = None;
                Next::Escape(key)
            }
            0..0x20 => Next::Wrong,
            _ => {
                let matched = self.matched.filter(|_| key);
                self.matched =
                    matched.and_then(|at| (self.watched.get(at) == Some(&byte)).then_some(at + 1));
                Next::Text(key)
            }
        }
    }

    fn open(&mut self, container: Container, next: Next) -> Next {
        if self.open.len() == DEPTH {
            return Next::Wrong;
        }
        self.is_object |= self.open.is_empty() && container == Container::Object;
        self.open.push(container);
        next
    }

    fn close(&mut self) -> Next {
        self.open.pop();
        self.after_value()
    }

    const fn after_value(&self) -> Next {
        if self.open.is_empty() {
            Next::Nothing
        } else {
            Next::CommaOrEnd
        }
    }

    fn comma_or_end(&mut self, byte: u8) -> Next {
        match (byte, self.open.last()) {
            (b',', Some(Container::Object)) => Next::Key,
            (b',', Some(Container::Array)) => Next::Value,
            (b'}', Some(Container::Object)) | (b']', Some(Container::Array)) => self.close(),
            _ => Next::Wrong,
        }
    }
}

impl Number {
    /// What has come with one byte more; none if that is no part of the number.
    const fn step(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus, b'1'..=b'9') | (Self::Whole, b'0'..=b'9') => Self::Whole,
            (Self::Zero | Self::Whole, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Whole | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Exponent, b'+' | b'-') => Self::ExponentSign,
            (Self::Exponent | Self::ExponentSign | Self::ExponentDigits, b'0'..=b'9') => {
                Self::ExponentDigits
            }
            _ => return None,
        })
    }

    const fn may_end(self) -> bool {
        matches!(
            self,
            Self::Zero | Self::Whole | Self::Fraction | Self::ExponentDigits
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pieces: &[&[u8]]) -> Option<Value> {
        let mut json = Json::watching("error");
        for piece in pieces {
            json.push(piece);
        }
        json.end()
    }

    fn is_json(text: &[u8]) -> bool {
        check(&[text]).is_some()
    }

    #[test]
    fn an_object_is_told_from_other_values_and_its_own_member_from_inner_ones() {
        let value = |text: &str| check(&[text.as_bytes()]).map(|v| (v.is_object, v.has_watched));
        for (text, expected) in [
            ("{}", Some((true, false))),
            (" {\"error\" : null} \n", Some((true, true))),
            (
                "{\"a\":{\"error\":1},\"errors\":2,\"erro\":3}",
                Some((true, false)),
            ),
            (
                "{\"a\":\"error\",\"b\":[{\"error\":1}]}",
                Some((true, false)),
            ),
            ("{\"a\":1,\"error\":{}}", Some((true, true))),
            ("{\"\\u0065rror\":1}", Some((true, false))),
            ("[{\"error\":1}]", Some((false, false))),
            ("\"error\"", Some((false, false))),
            ("1", Some((false, false))),
            ("{\"error\":}", None),
            ("{} {}", None),
            ("", None),
            ("\u{feff}{}", None),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn containers_may_be_so_deep_and_no_deeper() {
        let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        assert!(is_json(nested(DEPTH).as_bytes()));
        assert!(!is_json(nested(DEPTH + 1).as_bytes()));
    }

    #[test]
    fn bytes_that_are_no_utf8_are_no_json() {
        assert!(is_json("{\"é\":\"\u{10ffff}\"}".as_bytes()));
        assert!(!is_json(b"{\"\xe9\":1}"));
        assert!(!is_json(b"\"\xed\xa0\x80\""));
        assert!(!is_json(b"\"\xc3"));
    }

    /// Texts that are nearly JSON, and often are.
    fn nearly() -> impl Strategy<Value = String> {
        let pieces = vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"\"",
            "\"a\"",
            "\"error\"",
            "\"\\n\"",
            "\"\\u00e9\"",
            "\"\\x\"",
            "\"\\u12\"",
            "0",
            "-1",
            "01",
            "1.5",
            "1.",
            "1e5",
            "1E+",
            "true",
            "nul",
            "null",
            "false",
            " ",
            "\n",
            "\"é\"",
            "\"\t\"",
            "{\"a\":1}",
            "[1,2]",
        ];
        prop::collection::vec(prop::sample::select(pieces), 0..8).prop_map(|p| p.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn it_agrees_with_serde_json(text in nearly()) {
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(is_json(text.as_bytes()), theirs, "{}", text);
        }

        #[test]
        fn what_serde_json_writes_is_taken_however_it_is_cut(
            keys in prop::collection::vec(any::<String>(), 0..4), number: f64, cut in 0_usize..80,
        ) {
            let object: serde_json::Map<String, serde_json::Value> =
                keys.iter().map(|key| (key.clone(), serde_json::json!([number, key, null]))).collect();
            let text = serde_json::to_vec(&object).unwrap();
            let (one, other) = text.split_at(cut.min(text.len()));
            let expected = Value { is_object: true, has_watched: object.contains_key("error") };
            prop_assert_eq!(check(&[one, other]), Some(expected));
        }
    }
}

//! A response's body as the content of a JSON string, piece by piece: escaped text, or base64.

use base64::{Engine, prelude::BASE64_STANDARD};

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// UTF-8 text, with the escapes of JSON (RFC 8259 §7).
    Text,
    /// Base64 (RFC 4648 §4).
    Base64,
}

/// Finds out, in one pass over a body, whether it is text, and how long it becomes.
#[derive(Debug, Default)]
pub struct Measure {
    /// The beginning of a character that a piece ended in.
    tail: Vec<u8>,
    broken: bool,
    escaped: u64,
    bytes: u64,
}

impl Measure {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        if self.broken {
            return;
        }
        self.escaped += piece.iter().map(|byte| escape(*byte).len()).sum::<u64>();
        let joined;
        let bytes = if self.tail.is_empty() {
            piece
        } else {
            joined = [self.tail.as_slice(), piece].concat();
            &joined
        };
        match str::from_utf8(bytes) {
            Ok(_) => self.tail.clear(),
            Err(error) if error.error_len().is_none() => {
                self.tail = bytes[error.valid_up_to()..].to_vec();
            }
            Err(_) => self.broken = true,
        }
    }

    /// What the body is written as if it may be text, and how long that is in bytes.
    pub fn finish(self, may_be_text: bool) -> (Coding, u64) {
        if may_be_text && !self.broken && self.tail.is_empty() {
            (Coding::Text, self.escaped)
        } else {
            (Coding::Base64, self.bytes.div_ceil(3) * 4)
        }
    }
}

/// Writes a body.
#[derive(Debug)]
pub struct Encoder {
    coding: Coding,
    /// Bytes that are no whole group of base64 yet: at most two.
    carry: Vec<u8>,
}

impl Encoder {
    /// A writer of what [`Measure`] has found.
    pub const fn new(coding: Coding) -> Self {
        Self {
            coding,
            carry: Vec::new(),
        }
    }

    /// Writes the next piece to the end of `into`.
    pub fn update(&mut self, piece: &[u8], into: &mut Vec<u8>) {
        match self.coding {
            Coding::Text => write_escaped(piece, into),
            Coding::Base64 => {
                self.carry.extend_from_slice(piece);
                let whole = self.carry.len() / 3 * 3;
                let text = BASE64_STANDARD.encode(&self.carry[..whole]);
                into.extend_from_slice(text.as_bytes());
                self.carry.drain(..whole);
            }
        }
    }

    /// Writes what is left.
    pub fn finish(self, into: &mut Vec<u8>) {
        into.extend_from_slice(BASE64_STANDARD.encode(&self.carry).as_bytes());
    }
}

const HEX: [u8; 16] = *b"0123456789abcdef";

/// How one byte of UTF-8 stands in a JSON string.
enum Escape {
    Plain,
    Short(u8),
    Long,
}

impl Escape {
    const fn len(&self) -> u64 {
        match self {
            Self::Plain => 1,
            Self::Short(_) => 2,
            Self::Long => 6,
        }
    }
}

const fn escape(byte: u8) -> Escape {
    match byte {
        b'"' | b'\\' => Escape::Short(byte),
        0x08 => Escape::Short(b'b'),
        0x09 => Escape::Short(b't'),
        0x0a => Escape::Short(b'n'),
        0x0c => Escape::Short(b'f'),
        0x0d => Escape::Short(b'r'),
        0..=0x1f => Escape::Long,
        0x20..=0xff => Escape::Plain,
    }
}

fn write_escaped(piece: &[u8], into: &mut Vec<u8>) {
    let mut plain = 0;
    for (at, byte) in piece.iter().enumerate() {
        let escape = escape(*byte);
        if matches!(escape, Escape::Plain) {
            continue;
        }
        into.extend_from_slice(&piece[plain..at]);
        plain = at + 1;
        match escape {
            Escape::Plain => {}
            Escape::Short(letter) => into.extend_from_slice(&[b'\\', letter]),
            Escape::Long => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                into.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
    }
    into.extend_from_slice(&piece[plain..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(body: &[u8], cut: usize, may_be_text: bool) -> (Coding, String) {
        let mut measure = Measure::default();
        body.chunks(cut).for_each(|piece| measure.update(piece));
        let (coding, length) = measure.finish(may_be_text);
        let (mut encoder, mut text) = (Encoder::new(coding), Vec::new());
        body.chunks(cut)
            .for_each(|piece| encoder.update(piece, &mut text));
        encoder.finish(&mut text);
        assert_eq!(text.len() as u64, length);
        (coding, String::from_utf8(text).unwrap())
    }

    fn read(text: &str) -> String {
        serde_json::from_str(&format!("\"{text}\"")).unwrap()
    }

    #[test]
    fn a_character_may_be_cut_anywhere_and_half_a_one_is_no_text() {
        for cut in 1..6 {
            let (coding, text) = written("aé€🎈\u{2028}".as_bytes(), cut, true);
            assert_eq!(
                (coding, read(&text).as_str()),
                (Coding::Text, "aé€🎈\u{2028}")
            );
            for bytes in [
                &b"\xf0\x9f\x8e"[..],
                b"a\xff",
                b"\xc3",
                b"\xed\xa0\x80",
                b"\xc3(",
            ] {
                assert_eq!(written(bytes, cut, true).0, Coding::Base64, "{bytes:?}");
            }
        }
    }

    #[test]
    fn what_may_not_be_text_is_base64() {
        assert_eq!(
            written(b"ab", 1, false),
            (Coding::Base64, "YWI=".to_owned())
        );
        assert_eq!(written(b"", 1, false), (Coding::Base64, String::new()));
        assert_eq!(written(b"", 1, true), (Coding::Text, String::new()));
    }

    proptest! {
        #[test]
        fn any_text_in_any_pieces_reads_back(body: String, cut in 1_usize..9) {
            let (coding, text) = written(body.as_bytes(), cut, true);
            prop_assert_eq!(coding, Coding::Text);
            prop_assert_eq!(read(&text), body);
        }

        #[test]
        fn any_bytes_in_any_pieces_read_back(body: Vec<u8>, cut in 1_usize..9) {
            let (coding, text) = written(&body, cut, true);
            let back = match coding {
                Coding::Text => read(&text).into_bytes(),
                Coding::Base64 => BASE64_STANDARD.decode(&text).unwrap(),
            };
            prop_assert_eq!(coding == Coding::Text, str::from_utf8(&body).is_ok());
            prop_assert_eq!(back, body);
        }
    }
}

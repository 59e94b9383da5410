//! Whether bytes that come piece by piece are UTF-8, without keeping them.

/// A check under way.
#[derive(Debug, Clone)]
pub struct Utf8 {
    /// The beginning of a character whose end has not come yet.
    begun: [u8; 4],
    len: usize,
    valid: bool,
}

impl Utf8 {
    /// Nothing has come yet.
    pub const fn new() -> Self {
        Self {
            begun: [0; 4],
            len: 0,
            valid: true,
        }
    }

    /// Reads a piece.
    pub fn push(&mut self, mut piece: &[u8]) {
        while self.valid
            && self.len > 0
            && let [byte, rest @ ..] = piece
        {
            self.begun[self.len] = *byte;
            self.len += 1;
            piece = rest;
            self.len = match std::str::from_utf8(&self.begun[..self.len]) {
                Ok(_) => 0,
                Err(error) if error.error_len().is_none() => self.len,
                Err(_) => return self.valid = false,
            };
        }
        if !self.valid {
            return;
        }
        if let Err(error) = std::str::from_utf8(piece) {
            let rest = &piece[error.valid_up_to()..];
            if error.error_len().is_some() {
                self.valid = false;
            } else {
                self.begun[..rest.len()].copy_from_slice(rest);
                self.len = rest.len();
            }
        }
    }

    /// Whether what has come may be the beginning of a text.
    pub const fn is_valid(&self) -> bool {
        self.valid
    }

    /// Whether what has come is a text.
    pub const fn is_whole(&self) -> bool {
        self.valid && self.len == 0
    }
}

impl Default for Utf8 {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pieces: &[&[u8]]) -> bool {
        let mut utf8 = Utf8::new();
        for piece in pieces {
            utf8.push(piece);
        }
        utf8.is_whole()
    }

    proptest! {
        #[test]
        fn a_text_is_one_however_it_is_cut(text: String, cuts in prop::collection::vec(0_usize..40, 3)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let pieces = [&bytes[..cuts[0]], &bytes[cuts[0]..cuts[1]], &bytes[cuts[1]..cuts[2]], &bytes[cuts[2]..]];
            prop_assert!(check(&pieces));
        }

        #[test]
        fn it_agrees_with_the_standard_library(bytes: Vec<u8>, cut in 0_usize..100) {
            let (one, other) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(check(&[one, other]), std::str::from_utf8(&bytes).is_ok());
        }
    }

    #[test]
    fn a_character_that_is_cut_off_is_no_text() {
        assert!(!check(&[b"a\xc3"]));
        assert!(check(&[b"a\xf0", b"\x9f", b"\x98", b"\x80"]));
        assert!(!check(&[b"\xf0", b"\x9f", b"a"]));
    }
}

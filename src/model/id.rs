//! Run ids: UUIDv7 (RFC 9562 §5.7), written with hyphens or as 32 hex digits, and their integer keys.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use super::time::Timestamp;

/// The name of one run. 48 bits of milliseconds, 15 bits of counter and slot (see [`RunId::key`]), 59 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(Uuid);

/// The text is no run id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a run id is a UUID: 32 hex digits, with or without hyphens")]
pub struct InvalidRunId;

impl RunId {
    /// Puts an id together from its time-ordered key (see [`RunId::key`]) and 59 random bits.
    pub fn from_parts(key: i64, random: u64) -> Self {
        let key = key.cast_unsigned();
        let (millis, rand_a, top3) = (key >> 15, (key >> 3) & 0xfff, key & 0b111);
        let high = (millis << 16) | 0x7000 | rand_a;
        let low = (0b10 << 62) | (top3 << 59) | (random & ((1 << 59) - 1));
        Self(Uuid::from_u64_pair(high, low))
    }

    /// The 63-bit key that orders runs by time and that the store indexes: milliseconds (48 bits), a counter
    /// (12 bits), the slot of the process that made it (3 bits).
    pub fn key(self) -> i64 {
        let (high, low) = self.0.as_u64_pair();
        let millis = high >> 16;
        (((millis & 0xffff_ffff_ffff) << 15) | ((high & 0xfff) << 3) | ((low >> 59) & 0b111))
            .cast_signed()
    }

    /// The least key of an id made at `time` or later.
    pub fn first_key_at(time: Timestamp) -> i64 {
        (time.millis().min(0xffff_ffff_ffff) << 15).cast_signed()
    }

    /// When the id was made.
    pub fn made_at(self) -> Timestamp {
        Timestamp::from_millis(self.key().cast_unsigned() >> 15)
    }

    /// The 16 bytes of the UUID.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Takes the 16 bytes of a UUID as they are.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Writes the spelling with hyphens into `room`.
    pub fn write(self, room: &mut [u8; 36]) -> &str {
        self.0.hyphenated().encode_lower(room)
    }

    /// The spelling without hyphens: 32 lowercase hex digits.
    pub fn simple(self) -> String {
        self.0.simple().to_string()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RunId {
    type Err = InvalidRunId;

    fn from_str(text: &str) -> Result<Self, InvalidRunId> {
        match text.len() {
            32 | 36 => Uuid::try_parse(text).map(Self).map_err(|_| InvalidRunId),
            _ => Err(InvalidRunId),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_keeps_its_key_and_reads_back_in_both_spellings(key in 0..i64::MAX, random: u64) {
            let id = RunId::from_parts(key, random);
            prop_assert_eq!(id.key(), key);
            prop_assert_eq!(id.to_string().parse::<RunId>(), Ok(id));
            prop_assert_eq!(id.simple().parse::<RunId>(), Ok(id));
            prop_assert_eq!(id.0.get_version_num(), 7);
        }

        #[test]
        fn keys_order_ids(a in 0..i64::MAX, b in 0..i64::MAX) {
            prop_assert_eq!(RunId::from_parts(a, 7).cmp(&RunId::from_parts(b, 7)), a.cmp(&b));
        }
    }

    #[test]
    fn other_spellings_of_a_uuid_are_refused() {
        for text in [
            "",
            "urn:uuid:0199f00c-5e2a-7c3b-8d4e-5f60718293a4",
            "{0199f00c-5e2a-7c3b-8d4e-5f60718293a4}",
            "0199f00c",
        ] {
            assert_eq!(text.parse::<RunId>(), Err(InvalidRunId));
        }
    }
}

//! Verifying a delivery, as a receiver does it.

use std::{fmt, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderMap;
use ring::hmac;

use super::PublicKey;
use crate::model::{secret::Secret, time::Timestamp};

/// How far a timestamp may be from the receiver's clock: what the official verifying libraries allow.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// What a receiver reads from a delivery's headers: Standard Webhooks' three, or Cerebrium's.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// `webhook-id`, or `X-Request-Id`
    pub id: &'a str,
    /// `webhook-timestamp`, or `X-Cerebrium-Webhook-Timestamp`
    pub timestamp: &'a str,
    /// `webhook-signature`, or `X-Cerebrium-Webhook-Signature`
    pub signature: &'a str,
}

impl<'a> Signed<'a> {
    /// The Standard Webhooks headers; none without a signature.
    pub fn standard(headers: &'a HeaderMap) -> Option<Self> {
        Self::of(
            headers,
            ["webhook-id", "webhook-timestamp", "webhook-signature"],
        )
    }

    /// Cerebrium's headers; none without a signature.
    pub fn cerebrium(headers: &'a HeaderMap) -> Option<Self> {
        let names = [
            "x-request-id",
            "x-cerebrium-webhook-timestamp",
            "x-cerebrium-webhook-signature",
        ];
        Self::of(headers, names)
    }

    fn of(headers: &'a HeaderMap, [id, timestamp, signature]: [&str; 3]) -> Option<Self> {
        let text = |name| headers.get(name)?.to_str().ok();
        Some(Self {
            id: text(id).unwrap_or_default(),
            timestamp: text(timestamp).unwrap_or_default(),
            signature: text(signature)?,
        })
    }

    /// Verifies as a receiver should: the timestamp within [`TOLERANCE`] of `now`, and any of the `v1` signatures made
    /// with `secret`, compared in constant time.
    ///
    /// # Errors
    /// [`Unverified`] says what is wrong.
    pub fn verify(&self, secret: &Secret, body: &[u8], now: Timestamp) -> Result<(), Unverified> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal());
        self.any("v1,", body, now, |message, text| {
            let tag = BASE64_STANDARD.decode(text);
            tag.is_ok_and(|tag| hmac::verify(&key, message, &tag).is_ok())
        })
    }

    /// The same for the `v1a` signatures and an ed25519 key.
    ///
    /// # Errors
    /// [`Unverified`] says what is wrong.
    pub fn verify_by(
        &self,
        key: &PublicKey,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), Unverified> {
        self.any("v1a,", body, now, |message, text| {
            let signature = BASE64_STANDARD.decode(text);
            signature.is_ok_and(|signature| key.verifies(message, &signature))
        })
    }

    /// The same for Cerebrium's signature and the secret that the caller sent as `X-Webhook-Secret`.
    ///
    /// # Errors
    /// [`Unverified`] says what is wrong.
    pub fn verify_hex(
        &self,
        secret: &Secret,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), Unverified> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal());
        self.any("v1,", body, now, |message, text| {
            unhex(text).is_some_and(|tag| hmac::verify(&key, message, &tag).is_ok())
        })
    }

    fn any(
        &self,
        version: &str,
        body: &[u8],
        now: Timestamp,
        genuine: impl Fn(&[u8], &str) -> bool,
    ) -> Result<(), Unverified> {
        let seconds: u64 = self.timestamp.parse().map_err(|_| Unverified::Timestamp)?;
        if seconds.abs_diff(now.seconds()) > TOLERANCE.as_secs() {
            return Err(Unverified::Timestamp);
        }
        let message = [format!("{}.{}.", self.id, self.timestamp).as_bytes(), body].concat();
        let mut of_version = self
            .signature
            .split(' ')
            .filter_map(|signature| signature.strip_prefix(version));
        if of_version.any(|text| genuine(&message, text)) {
            Ok(())
        } else {
            Err(Unverified::Signature)
        }
    }
}

/// Why a delivery is not to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// No number, or too far from the clock: perhaps a recorded delivery sent again.
    #[error("its timestamp is no time within five minutes of this clock")]
    Timestamp,
    /// Made with another secret or key, or of another message.
    #[error("no signature fits the body and what is known of the sender's keys")]
    Signature,
}

/// What a receiver knows of a sender's keys. Any one of them verifies.
#[derive(Debug, Clone, Default)]
pub struct Checks {
    /// Standard Webhooks secrets, for `v1`.
    pub secrets: Vec<Secret>,
    /// ed25519 keys, for `v1a`.
    pub public_keys: Vec<PublicKey>,
    /// What the caller of the run sent as `X-Webhook-Secret`.
    pub webhook_secret: Option<Secret>,
}

/// What became of a delivery's signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Genuine, by the kind that is named: `v1`, `v1a` or `cerebrium`.
    Verified(&'static str),
    /// Signed, and not by what is known.
    Wrong(Unverified),
    /// Signed, and nothing is known to verify it by.
    Unchecked,
    /// Not signed.
    Unsigned,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verified(kind) => write!(f, "verified ({kind})"),
            Self::Wrong(why) => write!(f, "WRONG: {why}"),
            Self::Unchecked => {
                f.write_str("not checked: there is one, but nothing to verify it by")
            }
            Self::Unsigned => f.write_str("none"),
        }
    }
}

impl Checks {
    /// Verifies a delivery by whatever is known. Of several reasons why not, a wrong time is told.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Verdict {
        let (standard, cerebrium) = (Signed::standard(headers), Signed::cerebrium(headers));
        if standard.is_none() && cerebrium.is_none() {
            return Verdict::Unsigned;
        }
        let by_secret = standard.iter().flat_map(|signed| {
            self.secrets
                .iter()
                .map(move |s| ("v1", signed.verify(s, body, now)))
        });
        let by_key = standard.iter().flat_map(|signed| {
            let keys = self.public_keys.iter();
            keys.map(move |key| ("v1a", signed.verify_by(key, body, now)))
        });
        let by_caller = cerebrium.iter().flat_map(|signed| {
            let secret = self.webhook_secret.iter();
            secret.map(move |secret| ("cerebrium", signed.verify_hex(secret, body, now)))
        });
        let mut verdict = Verdict::Unchecked;
        for (kind, checked) in by_secret.chain(by_key).chain(by_caller) {
            match checked {
                Ok(()) => return Verdict::Verified(kind),
                Err(why) if verdict != Verdict::Wrong(Unverified::Timestamp) => {
                    verdict = Verdict::Wrong(why);
                }
                Err(_) => {}
            }
        }
        verdict
    }

    /// Whether anything is known to verify by.
    pub const fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.public_keys.is_empty() && self.webhook_secret.is_none()
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) || !text.len().is_multiple_of(2) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect()
}

//! Signatures of deliveries: Standard Webhooks 1.0.0 (<https://www.standardwebhooks.com>) and Cerebrium's header.
//!
//! Both are HMAC-SHA256 over `{id}.{timestamp}.{body}`, made piece by piece, so that a long body is never in memory
//! whole.

use std::{fmt, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::hmac;

use super::{id::RunId, secret::Secret, time::Timestamp};

#[cfg(test)]
mod tests;

/// How far a timestamp may be from the receiver's clock: what the official verifying libraries allow.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// The `webhook-id` of a run's delivery: the same on every attempt.
pub fn webhook_id(run: RunId) -> String {
    format!("msg_{}", run.simple())
}

/// Signatures in the making. Feed the body in order, then [`Signing::finish`].
#[derive(Debug)]
pub struct Signing {
    standard: Vec<hmac::Context>,
    cerebrium: Option<hmac::Context>,
}

/// The finished values of the signature headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signatures {
    /// `webhook-signature`: one `v1,<base64>` for each secret, in their order; none without secrets.
    pub standard: Option<String>,
    /// `X-Cerebrium-Webhook-Signature`; none without the caller's secret.
    pub cerebrium: Option<String>,
}

impl Signing {
    /// Begins to sign one attempt of a run's delivery: with each of the route's secrets, and with the caller's
    /// `X-Webhook-Secret` if it sent one.
    pub fn new(run: RunId, at: Timestamp, secrets: &[Secret], caller: Option<&Secret>) -> Self {
        let id = webhook_id(run);
        Self {
            standard: secrets.iter().map(|s| begin(s, &id, at)).collect(),
            cerebrium: caller.map(|secret| begin(secret, &run, at)),
        }
    }

    /// Whether there is nothing to sign with; the body need not be read then.
    pub fn is_empty(&self) -> bool {
        self.standard.is_empty() && self.cerebrium.is_none()
    }

    /// Takes the next piece of the body.
    pub fn update(&mut self, piece: &[u8]) {
        for context in self.standard.iter_mut().chain(&mut self.cerebrium) {
            context.update(piece);
        }
    }

    /// The body is complete.
    pub fn finish(self) -> Signatures {
        let standard: Vec<String> = self
            .standard
            .into_iter()
            .map(|context| format!("v1,{}", BASE64_STANDARD.encode(context.sign())))
            .collect();
        Signatures {
            standard: (!standard.is_empty()).then(|| standard.join(" ")),
            cerebrium: self
                .cerebrium
                .map(|context| format!("v1,{}", hex(context.sign().as_ref()))),
        }
    }
}

/// What a receiver reads from a delivery's Standard Webhooks headers.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// `webhook-id`
    pub id: &'a str,
    /// `webhook-timestamp`
    pub timestamp: &'a str,
    /// `webhook-signature`
    pub signature: &'a str,
}

impl Signed<'_> {
    /// Verifies as a receiver should: the timestamp within [`TOLERANCE`] of `now`, and any of the signatures made with
    /// `secret`, compared in constant time.
    ///
    /// # Errors
    /// [`Unverified`] says what is wrong.
    pub fn verify(&self, secret: &Secret, body: &[u8], now: Timestamp) -> Result<(), Unverified> {
        let seconds: u64 = self.timestamp.parse().map_err(|_| Unverified::Timestamp)?;
        if seconds.abs_diff(now.seconds()) > TOLERANCE.as_secs() {
            return Err(Unverified::Timestamp);
        }
        let message = [format!("{}.{}.", self.id, self.timestamp).as_bytes(), body].concat();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal());
        let genuine = self
            .signature
            .split(' ')
            .filter_map(|signature| signature.strip_prefix("v1,"))
            .filter_map(|text| BASE64_STANDARD.decode(text).ok())
            .any(|tag| hmac::verify(&key, &message, &tag).is_ok());
        if genuine {
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
    #[error("`webhook-timestamp` is no time within five minutes of this clock")]
    Timestamp,
    /// Made with another secret, or of another message.
    #[error("no signature in `webhook-signature` fits the body and the secret")]
    Signature,
}

/// Reads a Standard Webhooks secret: `whsec_` and the base64 of 24 to 64 bytes.
///
/// # Errors
/// [`InvalidSecret`] says what it has to look like.
pub fn read_secret(text: &str) -> Result<Secret, InvalidSecret> {
    let encoded = text.strip_prefix("whsec_").ok_or(InvalidSecret)?;
    let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| InvalidSecret)?;
    if (24..=64).contains(&bytes.len()) {
        Ok(Secret::new(bytes))
    } else {
        Err(InvalidSecret)
    }
}

/// The text is no Standard Webhooks secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a signing secret is `whsec_` and the base64 of 24 to 64 random bytes: `echo whsec_$(openssl rand -base64 32)`"
)]
pub struct InvalidSecret;

fn begin(secret: &Secret, id: &impl fmt::Display, at: Timestamp) -> hmac::Context {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{id}.{}.", at.seconds()).as_bytes());
    context
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Signatures of deliveries: Standard Webhooks 1.0.0 (<https://www.standardwebhooks.com>) and Cerebrium's header.
//!
//! All are over `{id}.{timestamp}.{body}`. HMAC-SHA256 (`v1` and Cerebrium's) is made piece by piece, so that a long
//! body is never in memory whole; ed25519 (`v1a`) reads its message twice and needs it whole.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::hmac;

use super::{id::RunId, secret::Secret, time::Timestamp};

pub use keys::{InvalidKey, InvalidPublicKey, InvalidSecret, PublicKey, SigningKey, read_secret};
pub use verify::{Checks, Signed, TOLERANCE, Unverified, Verdict};

mod keys;
#[cfg(test)]
mod tests;
mod verify;

/// The `webhook-id` of a run's delivery: the same on every attempt.
pub fn webhook_id(run: RunId) -> String {
    format!("msg_{}", run.simple())
}

/// What a Standard Webhooks signature covers before the body: `{webhook-id}.{webhook-timestamp}.`
pub fn message_start(run: RunId, at: Timestamp) -> String {
    start(&webhook_id(run), at)
}

/// Signatures by shared secrets in the making. Feed the body in order, then [`Signing::finish`].
#[derive(Debug)]
pub struct Signing {
    standard: Vec<hmac::Context>,
    cerebrium: Option<hmac::Context>,
}

/// The finished values of the signature headers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signatures {
    /// `webhook-signature`: one `v1,<base64>` for each secret and one `v1a,<base64>` for each key, in their order.
    pub standard: Vec<String>,
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
        let tagged =
            |context: hmac::Context| format!("v1,{}", BASE64_STANDARD.encode(context.sign()));
        Signatures {
            standard: self.standard.into_iter().map(tagged).collect(),
            cerebrium: self
                .cerebrium
                .map(|context| format!("v1,{}", hex(context.sign().as_ref()))),
        }
    }
}

fn begin(secret: &Secret, id: &impl fmt::Display, at: Timestamp) -> hmac::Context {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal());
    let mut context = hmac::Context::with_key(&key);
    context.update(start(id, at).as_bytes());
    context
}

fn start(id: &impl fmt::Display, at: Timestamp) -> String {
    format!("{id}.{}.", at.seconds())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

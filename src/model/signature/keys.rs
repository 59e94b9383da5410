//! The keys of Standard Webhooks as text: `whsec_` secrets, `whsk_` signing keys, `whpk_` public keys.

use std::{fmt, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::model::secret::Secret;

/// Bytes of an ed25519 seed, and of a public key.
const HALF: usize = 32;

/// Reads a Standard Webhooks secret: `whsec_` and the base64 of 24 to 64 bytes.
///
/// # Errors
/// [`InvalidSecret`] says what it has to look like.
pub fn read_secret(text: &str) -> Result<Secret, InvalidSecret> {
    let bytes = decode(text, "whsec_").ok_or(InvalidSecret)?;
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

/// An ed25519 key that signs (`v1a`). Nothing prints its secret half.
#[derive(Clone)]
pub struct SigningKey(Arc<Ed25519KeyPair>);

impl SigningKey {
    /// Reads `whsk_` and the base64 of the seed (32 bytes, RFC 8032 §5.1.5), or of seed and public key (64 bytes).
    ///
    /// # Errors
    /// [`InvalidKey`] says what it has to look like.
    pub fn read(text: &str) -> Result<Self, InvalidKey> {
        let bytes = decode(text, "whsk_").ok_or(InvalidKey::Form)?;
        let pair = match bytes.len() {
            HALF => Ed25519KeyPair::from_seed_unchecked(&bytes).map_err(|_| InvalidKey::Form)?,
            64 => {
                let (seed, public) = bytes.split_at(HALF);
                Ed25519KeyPair::from_seed_and_public_key(seed, public)
                    .map_err(|_| InvalidKey::Halves)?
            }
            _ => return Err(InvalidKey::Form),
        };
        Ok(Self(Arc::new(pair)))
    }

    /// Signs a whole message; returns `v1a,<base64>`.
    pub fn sign(&self, message: &[u8]) -> String {
        format!("v1a,{}", BASE64_STANDARD.encode(self.0.sign(message)))
    }

    /// What receivers verify by.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; HALF];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(*** of {})", self.public())
    }
}

/// The text is no signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Not the prefix, not base64, or not as long.
    #[error(
        "an ed25519 key is `whsk_` and the base64 of its 32-byte seed, or of seed and public key: `echo whsk_$(openssl genpkey -algorithm ed25519 -outform DER | tail -c 32 | base64)`"
    )]
    Form,
    /// Seed and public key are not of one key.
    #[error(
        "the public key in the second 32 bytes is not that of the seed in the first; write `whsk_` and the base64 of the seed alone"
    )]
    Halves,
}

/// An ed25519 key that verifies; its text is `whpk_<base64>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; HALF]);

impl PublicKey {
    /// Reads `whpk_` and the base64 of 32 bytes.
    ///
    /// # Errors
    /// [`InvalidPublicKey`] says what it has to look like.
    pub fn read(text: &str) -> Result<Self, InvalidPublicKey> {
        let bytes = decode(text, "whpk_").ok_or(InvalidPublicKey)?;
        bytes.try_into().map(Self).map_err(|_| InvalidPublicKey)
    }

    /// Whether `signature` is one of `message` by this key.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0)
            .verify(message, signature)
            .is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "whpk_{}", BASE64_STANDARD.encode(self.0))
    }
}

/// The text is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a public key is `whpk_` and the base64 of 32 bytes, as the sender's <public_prefix>/webhook-keys shows it"
)]
pub struct InvalidPublicKey;

fn decode(text: &str, prefix: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text.strip_prefix(prefix)?).ok()
}

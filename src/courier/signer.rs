//! Signs what is sent, and says at what time it did: each attempt anew.

use tokio::sync::Semaphore;

use super::{content::Content, failure::Failure};
use crate::{
    model::{
        secret::Secret,
        signature::{Signatures, Signing, SigningKey, message_start},
        time::{SharedClock, Timestamp},
    },
    store::{DeliveryClaim, spool::Spool},
};

/// What does not differ between routes.
#[derive(Debug)]
pub(super) struct Signer {
    keys: Vec<SigningKey>,
    /// ed25519 needs its message whole: of long ones, one at a time is in memory.
    long: Semaphore,
}

impl Signer {
    /// Signs by `keys` too.
    pub(super) fn new(keys: &[SigningKey]) -> Self {
        Self {
            keys: keys.to_vec(),
            long: Semaphore::new(1),
        }
    }

    /// Signs by the route's secrets, the keys, and the caller's secret. The time is that of the signatures: a long
    /// body may have waited for its turn.
    ///
    /// # Errors
    /// When the stored body cannot be read.
    pub(super) async fn sign(
        &self,
        claim: &DeliveryClaim,
        content: &Content,
        secrets: &[Secret],
        (spool, clock): (&Spool, &SharedClock),
    ) -> Result<(Signatures, Timestamp), Failure> {
        let whole = !self.keys.is_empty();
        let _turn = if whole && content.is_long() {
            self.long.acquire().await.ok()
        } else {
            None
        };
        let now = clock.now();
        let mut signing = Signing::new(claim.run.id, now, secrets, claim.secret.as_ref());
        if whole {
            let start = message_start(claim.run.id, now).into_bytes();
            let before = start.len();
            let message = content.collect(spool, start).await;
            let message = message.map_err(Failure::internal)?;
            let keys = self.keys.clone();
            let sign = move || {
                signing.update(&message[before..]);
                let mut signatures = signing.finish();
                let by_keys = keys.iter().map(|key| key.sign(&message));
                signatures.standard.extend(by_keys);
                signatures
            };
            // Tens of megabytes take a good part of a second: not on a thread that others wait for.
            let signatures = if content.is_long() {
                let signed = tokio::task::spawn_blocking(sign).await;
                signed.map_err(Failure::internal)?
            } else {
                sign()
            };
            return Ok((signatures, now));
        }
        if !signing.is_empty() {
            let mut pieces = content.pieces(spool);
            while let Some(piece) = pieces.next().await.map_err(Failure::internal)? {
                signing.update(&piece);
            }
        }
        Ok((signing.finish(), now))
    }
}

//! Signatures as a receiver computes them, apart from the program's own code.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::hmac;

use super::server::Seen;

/// Standard Webhooks 1.0.0: `v1,` and the base64 HMAC-SHA256 of id, timestamp and body under a `whsec_` secret.
pub(crate) fn standard_signature(secret: &str, seen: &Seen) -> String {
    let key = secret.strip_prefix("whsec_").expect("whsec_");
    let key = STANDARD.decode(key).expect("base64");
    let id = seen.header("webhook-id").expect("webhook-id");
    let timestamp = seen.header("webhook-timestamp").expect("webhook-timestamp");
    let mut message = format!("{id}.{timestamp}.").into_bytes();
    message.extend(&seen.body);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &message);
    format!("v1,{}", STANDARD.encode(tag))
}

/// Cerebrium: `v1,` and the lowercase hex HMAC-SHA256 of run id, timestamp and body under the caller's secret.
pub(crate) fn cerebrium_signature(secret: &str, seen: &Seen) -> String {
    let id = seen.header("x-request-id").expect("X-Request-Id");
    let timestamp = seen
        .header("x-cerebrium-webhook-timestamp")
        .expect("X-Cerebrium-Webhook-Timestamp");
    let mut message = format!("{id}.{timestamp}.").into_bytes();
    message.extend(&seen.body);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let hex: String = hmac::sign(&key, &message)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("v1,{hex}")
}

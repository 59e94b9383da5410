//! The public halves of the keys that sign deliveries, for receivers to verify by.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue,
    header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS},
};
use serde::Serialize;

use super::public::Shared;

#[derive(Serialize)]
struct Keys {
    keys: Vec<Key>,
}

#[derive(Serialize)]
struct Key {
    #[serde(rename = "type")]
    kind: &'static str,
    public_key: String,
}

/// `GET /webhook-keys`: every key that signs now, in the order of the configuration. No more than five minutes old, as
/// a receiver that asks again when nothing verifies should find a new one.
pub(super) async fn keys(State(shared): State<Arc<Shared>>) -> Response {
    let keys = shared.webhook_keys.iter().map(|key| Key {
        kind: "ed25519",
        public_key: key.to_string(),
    });
    let headers = [
        (CACHE_CONTROL, HeaderValue::from_static("max-age=300")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    let keys = Keys {
        keys: keys.collect(),
    };
    (headers, Json(keys)).into_response()
}

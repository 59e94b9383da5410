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
use serde_json::json;

use super::public::Shared;

/// `GET /webhook-keys`: every key that signs now, in the order of the configuration. No more than five minutes old, as
/// a receiver that asks again when nothing verifies should find a new one.
pub(super) async fn keys(State(shared): State<Arc<Shared>>) -> Response {
    let keys = shared.webhook_keys.iter();
    let keys: Vec<_> = keys
        .map(|key| json!({ "type": "ed25519", "public_key": key.to_string() }))
        .collect();
    let headers = [
        (CACHE_CONTROL, HeaderValue::from_static("max-age=300")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, Json(json!({ "keys": keys }))).into_response()
}

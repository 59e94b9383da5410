//! Who shares the store.

use std::sync::Arc;

use axum::extract::State;
use http::{StatusCode, request::Parts};

use super::{Answer, Shared};
use crate::{api::answer, model::replica::Sharing};

/// The replicas on the store and its partitions by day; both empty if the store is this process's own.
#[utoipa::path(get, path = "/api/v1/replicas", operation_id = "list_replicas", tag = "state",
    responses((status = 200, description = "The replicas and the days.", body = Sharing)))]
pub(super) async fn replicas(State(shared): State<Arc<Shared>>, request: Parts) -> Answer {
    shared.read(&request, &[])?;
    let sharing = shared.store.sharing().await.map_err(|error| {
        tracing::error!(%error, "the replicas cannot be read");
        answer::unavailable()
    })?;
    Ok(answer::json(StatusCode::OK, &sharing))
}

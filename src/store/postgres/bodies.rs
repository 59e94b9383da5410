//! Reading what was sent and what came, in or outside of a transaction. Long bodies are brought into files here.

use std::collections::HashMap;

use tokio_postgres::{Client, types::Type};

use super::{
    link::LinkError,
    pieces::{self, Of},
    row::{self, Param},
    shared::Shared,
};
use crate::model::{
    exchange::{StoredRequest, StoredResponse},
    id::RunId,
};

/// Unfinished runs' requests, their secrets included.
pub(super) async fn requests(
    db: &Client,
    shared: &Shared,
    ids: &[RunId],
) -> Result<HashMap<RunId, StoredRequest>, LinkError> {
    let ids: Vec<_> = ids.iter().map(|id| row::uuid(*id)).collect();
    let sql = "SELECT id, head, body, len, file, client, tls, secret
         FROM raincheck.request JOIN raincheck.live USING (id)
         WHERE id = ANY($1) AND state IN ('queued', 'running')";
    let params: [Param<'_>; 1] = [(&ids, Type::UUID_ARRAY)];
    let mut requests = HashMap::with_capacity(ids.len());
    for found in db.query_typed(sql, &params).await? {
        let id = row::id(found.get("id"));
        let body = pieces::body(db, shared, &found, (id, Of::Request)).await?;
        requests.insert(id, row::request(&found, body));
    }
    Ok(requests)
}

/// Finished runs' responses.
pub(super) async fn responses(
    db: &Client,
    shared: &Shared,
    ids: &[RunId],
) -> Result<HashMap<RunId, StoredResponse>, LinkError> {
    let ids: Vec<_> = ids.iter().map(|id| row::uuid(*id)).collect();
    let sql = "SELECT id, head, body, len, file FROM raincheck.response WHERE id = ANY($1)";
    let params: [Param<'_>; 1] = [(&ids, Type::UUID_ARRAY)];
    let mut responses = HashMap::with_capacity(ids.len());
    for found in db.query_typed(sql, &params).await? {
        let id = row::id(found.get("id"));
        let body = pieces::body(db, shared, &found, (id, Of::Response)).await?;
        let head: Vec<u8> = found.get("head");
        let head = head.into();
        responses.insert(id, StoredResponse { head, body });
    }
    Ok(responses)
}

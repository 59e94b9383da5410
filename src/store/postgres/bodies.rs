//! Reading what was sent and what came: outside of transactions, since long bodies take long. They are brought into files
//! here.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt, stream};
use tokio_postgres::Row;

use super::{
    link::LinkError,
    pieces::{self, Of},
    reader, row,
    shared::Shared,
};
use crate::model::{
    exchange::{Body, StoredRequest, StoredResponse},
    id::RunId,
};

/// Bodies that are brought at the same time, so that others may look meanwhile.
const AT_ONCE: usize = 2;

/// Unfinished runs' requests, their secrets included. One that is damaged is left out.
pub(super) async fn requests(
    shared: &Shared,
    ids: &[RunId],
) -> Result<HashMap<RunId, StoredRequest>, LinkError> {
    let sql = "SELECT id, head, body, len, file, client, tls, secret
         FROM raincheck.request JOIN raincheck.live USING (id)
         WHERE id = ANY($1) AND state IN ('queued', 'running')";
    all(shared, sql, (ids, Of::Request), row::request).await
}

/// Finished runs' responses. One that is damaged is left out.
pub(super) async fn responses(
    shared: &Shared,
    ids: &[RunId],
) -> Result<HashMap<RunId, StoredResponse>, LinkError> {
    let sql = "SELECT id, head, body, len, file FROM raincheck.response WHERE id = ANY($1)";
    all(shared, sql, (ids, Of::Response), |row, body| {
        StoredResponse {
            head: row.get::<_, Vec<u8>>("head").into(),
            body,
        }
    })
    .await
}

async fn all<T>(
    shared: &Shared,
    sql: &str,
    (ids, of): (&[RunId], Of),
    read: impl Fn(&Row, Body) -> T,
) -> Result<HashMap<RunId, T>, LinkError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let found = reader::of(shared, sql, ids).await?;
    let read = &read;
    let brought = stream::iter(found).map(|row| async move {
        let id = row::id(row.get("id"));
        match pieces::body(shared, &row, (id, of)).await {
            Ok(body) => Ok(Some((id, read(&row, body)))),
            Err(LinkError::Spool(error)) => {
                tracing::error!(run_id = %id, %error, "a body cannot be read");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    });
    let brought = brought.buffer_unordered(AT_ONCE);
    brought
        .try_filter_map(|it| async move { Ok(it) })
        .try_collect()
        .await
}

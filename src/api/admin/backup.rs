//! `POST /api/v1/backup`: a copy of the whole store, streamed as it is made.

use std::sync::Arc;

use axum::{body::Body, extract::State, response::Response};
use futures::stream;
use http::{
    HeaderValue,
    header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE},
    request::Parts,
};

use super::{Answer, Shared};
use crate::{
    api::answer,
    model::problem::{Code, Problem},
    store::BackupError,
};

/// A tar archive of the whole store as it is now, made while it is in use: unpacked into an empty folder, it can be
/// served. It holds requests of unfinished runs and their webhooks' secrets: keep it as one. One at a time. If it breaks
/// off, the connection is closed without the end mark of its transfer coding.
#[utoipa::path(post, path = "/api/v1/backup", operation_id = "backup", tag = "operations",
    responses((status = 200, description = "The archive.", content_type = "application/x-tar", body = Vec<u8>)))]
pub(super) async fn backup(State(shared): State<Arc<Shared>>, request: Parts) -> Answer {
    shared.read(&request, &[])?;
    let backup = shared.store.backup().await.map_err(refused)?;
    let name = format!("raincheck-{}.tar", shared.clock.now().seconds());
    tracing::info!(name, "a backup is made");
    let pieces = stream::unfold(backup, async |mut backup| {
        let piece = backup.next().await?;
        Some((piece, backup))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let disposition = format!("attachment; filename=\"{name}\"");
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

fn refused(error: BackupError) -> Problem {
    match error {
        BackupError::UnderWay => {
            Problem::new(Code::BackupUnavailable, sentence(&error)).retry_after(60)
        }
        BackupError::NoSpace { .. } | BackupError::Elsewhere => {
            Problem::new(Code::BackupUnavailable, sentence(&error))
        }
        BackupError::Failed(_) => {
            tracing::error!(%error, "no backup could be made");
            answer::unavailable()
        }
    }
}

fn sentence(error: &BackupError) -> String {
    let mut text = error.to_string();
    text[..1].make_ascii_uppercase();
    text.push('.');
    text
}

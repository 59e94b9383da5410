//! What another process on the store does to runs that are live here: one that it has cancelled is closed here too.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::live::LiveRuns;
use crate::store::Store;

/// Closes the upstream connections of runs that were cancelled elsewhere, until `stop` is cancelled.
pub async fn heed(store: Arc<dyn Store>, live: LiveRuns, stop: CancellationToken) {
    loop {
        let told = store.notices().others.notified();
        tokio::select! {
            () = told => {}
            () = stop.cancelled() => return,
        }
        close_cancelled(&*store, &live).await;
    }
}

async fn close_cancelled(store: &dyn Store, live: &LiveRuns) {
    let ids = live.ids();
    if ids.is_empty() {
        return;
    }
    match store.cancelled(ids).await {
        Ok(cancelled) => cancelled.into_iter().for_each(|id| live.cancel(id)),
        Err(error) => warn!(%error, "cancels of another process could not be looked for"),
    }
}

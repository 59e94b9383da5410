//! What another process on the store does to runs that are live here: one that it has cancelled is closed here too.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::live::LiveRuns;
use crate::{
    model::run::RunState,
    store::{Found, Store},
};

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
    for id in live.ids() {
        match store.find(id).await {
            Ok(Found::Run(run)) if run.state == RunState::Cancelled => live.cancel(id),
            Ok(Found::Run(_) | Found::Expired | Found::Unknown) => {}
            Err(error) => {
                warn!(%error, "cancels of another process could not be looked for");
                return;
            }
        }
    }
}

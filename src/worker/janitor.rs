//! What is done from time to time: retention, and the end of runs and deliveries that have waited too long.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::ended;
use crate::{
    metrics::Metrics,
    store::{Store, StoreError},
};

const TIDY_EVERY: Duration = Duration::from_secs(60);
const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// Removes what has outlived the retention, and expires queued runs, until `stop` is cancelled.
pub async fn keep(store: Arc<dyn Store>, metrics: Metrics, stop: CancellationToken) {
    let tidying = tidy(&*store);
    let expiring = expire(&*store, &metrics);
    tokio::select! {
        () = stop.cancelled() => {}
        () = tidying => {}
        () = expiring => {}
    }
}

async fn tidy(store: &dyn Store) {
    let mut due = every(TIDY_EVERY);
    loop {
        due.tick().await;
        loop {
            match store.tidy().await {
                Ok(tidied) => {
                    debug!(?tidied, "tidied");
                    if !tidied.more {
                        break;
                    }
                }
                Err(error) => {
                    complain(&error, "what has outlived the retention stays for now");
                    break;
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn expire(store: &dyn Store, metrics: &Metrics) {
    let mut due = every(EXPIRE_EVERY);
    loop {
        due.tick().await;
        match store.expire().await {
            Ok(runs) => runs.iter().for_each(|run| ended::finished(metrics, run)),
            Err(error) => complain(&error, "queued runs that are over their time stay for now"),
        }
        match store.expire_deliveries().await {
            Ok(runs) => runs.iter().for_each(ended::gave_up),
            Err(error) => complain(&error, "deliveries that are over their time stay for now"),
        }
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut due = interval(period);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    due
}

fn complain(error: &StoreError, consequence: &str) {
    match error {
        StoreError::Failed(_) => warn!(%error, "{consequence}"),
        StoreError::Closed => debug!(%error, "{consequence}"),
    }
}

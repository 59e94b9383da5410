//! The end of a running proxy: first it takes no more, then it finishes what it has, then it goes.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use super::Running;
use crate::worker::readiness::Phase;

/// How long listeners that are closed may take to let go.
const LISTENERS: Duration = Duration::from_secs(1);

impl Running {
    /// Stops: not ready at once; after `server.shutdown_delay` nothing new is taken; requests and runs under way get
    /// `server.drain_timeout`; queued work stays in the store. Returns as soon as nothing is left to wait for.
    pub async fn stop(self) {
        self.readiness.advance(Phase::Draining);
        info!(delay = ?self.shutdown_delay, "stopping");
        tokio::time::sleep(self.shutdown_delay).await;
        let end = Instant::now() + self.drain_timeout;
        self.close.send_replace(true);
        let (requests, ()) = tokio::join!(
            timeout_at(end, self.in_flight.idle()),
            self.core.drain(self.drain_timeout),
        );
        if requests.is_err() {
            warn!(
                requests = self.in_flight.count(),
                "requests are cut off; server.drain_timeout is over"
            );
        }
        self.rest.cancel();
        self.tasks.close();
        if timeout(LISTENERS, self.tasks.wait()).await.is_err() {
            warn!("connections without requests are cut off");
        }
        self.core.close().await;
        drop(self.runtimes);
        info!("stopped");
    }
}

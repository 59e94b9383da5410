//! The end of a running proxy: first it takes no more, then it finishes what it has, then it goes.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use super::Running;
use crate::worker::readiness::Phase;

/// How long outcomes are waited for that cannot be recorded (a full disk); the next start finds those runs as they
/// were.
const RECORDING: Duration = Duration::from_secs(5);

impl Running {
    /// Stops: not ready at once; after `server.shutdown_delay` nothing new is taken; requests and runs under way get
    /// `server.drain_timeout`; queued work stays in the store. Returns as soon as nothing is left to wait for.
    pub async fn stop(self) {
        self.readiness.advance(Phase::Draining);
        info!(delay = ?self.shutdown_delay, "stopping");
        tokio::time::sleep(self.shutdown_delay).await;
        let end = Instant::now() + self.drain_timeout;
        self.close.send_replace(true);
        let (requests, runs) = tokio::join!(
            timeout_at(end, self.in_flight.idle()),
            timeout_at(end + RECORDING, self.executor.drain(self.drain_timeout)),
        );
        if requests.is_err() {
            warn!(
                requests = self.in_flight.count(),
                "requests are cut off; server.drain_timeout is over"
            );
        }
        if runs.is_err() {
            warn!(
                "outcomes of runs could not be recorded; the next start repeats or ends these runs"
            );
        }
        let left = end.saturating_duration_since(Instant::now());
        if timeout(left + RECORDING, self.courier.drain(left))
            .await
            .is_err()
        {
            warn!("outcomes of deliveries could not be recorded; the next start repeats them");
        }
        self.rest.cancel();
        self.tasks.close();
        if timeout(RECORDING, async {
            self.tasks.wait().await;
            self.store.close().await;
        })
        .await
        .is_err()
        {
            warn!("the store could not be closed in time; the next start recovers it");
        }
        drop(self.runtimes);
        info!("stopped");
    }
}

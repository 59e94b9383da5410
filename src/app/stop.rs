//! The end of a running proxy: first it takes no more, then it finishes what it has, then it goes.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};

use super::Running;
use crate::worker::readiness::Phase;

/// How long listeners and connections that are closed may take to let go.
const LISTENERS: Duration = Duration::from_secs(1);
/// After a hand-over: how long connections that were just accepted may be without a trace (TLS).
const HANDSHAKES: Duration = Duration::from_secs(2);
/// After a hand-over: how long a connection may wait for a last request. (Pingora closes an idle one after 60 s.)
const IDLE: Duration = Duration::from_secs(65);
/// After a hand-over: longer than any run may take.
const ANY_RUN: Duration = Duration::from_secs(24 * 3600);

impl Running {
    /// Stops: not ready at once; after `server.shutdown_delay` nothing new is taken; requests and runs under way get
    /// `server.drain_timeout`; queued work stays in the store. Returns as soon as nothing is left to wait for.
    pub async fn stop(mut self) {
        self.readiness.advance(Phase::Draining);
        if !*self.close.borrow() {
            let delay = self.config.server.shutdown_delay;
            info!(?delay, "stopping");
            sleep(delay).await;
        }
        let drain_timeout = self.config.server.drain_timeout;
        let end = Instant::now() + drain_timeout;
        self.offered = Ok(Vec::new());
        self.close.send_replace(true);
        self.connections.close_idle.cancel();
        let (requests, ()) = tokio::join!(
            timeout_at(end, self.in_flight.idle()),
            self.core.drain(drain_timeout),
        );
        if requests.is_err() {
            warn!(
                requests = self.in_flight.count(),
                "requests are cut off; server.drain_timeout is over"
            );
        }
        self.end().await;
    }

    /// Finishes what is under way, however long it takes, once a newer process has taken over. May be dropped midway
    /// for [`Running::stop`]; otherwise [`Running::end`] comes next.
    pub async fn finish(&self) {
        self.readiness.advance(Phase::Draining);
        self.in_flight.be_the_last();
        self.core.stop_claiming();
        self.connections.open.close();
        info!(
            requests = self.in_flight.count(),
            runs = self.core.live_runs(),
            "finishes what is under way; a new process has taken over"
        );
        sleep(HANDSHAKES).await;
        if timeout(IDLE, self.connections.open.wait()).await.is_err() {
            self.connections.close_idle.cancel();
        }
        self.in_flight.idle().await;
        self.core.drain(ANY_RUN).await;
    }

    /// Closes everything. Nothing is waited for that is not over anyway.
    pub async fn end(self) {
        self.close.send_replace(true);
        self.close_admin.send_replace(true);
        self.connections.close_idle.cancel();
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

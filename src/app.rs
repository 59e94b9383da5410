//! The wiring: from a configuration to a running proxy, in the order in which it starts; `stop` has the way back.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    runtime::{Handle, Runtime},
    sync::watch,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{assembly::Assembly, faces::Sockets};
use crate::{
    config::Config,
    plugin::{Core, OpenError},
    proxy::traffic::InFlight,
    store::Store,
    worker::readiness::Readiness,
};

mod assembly;
mod certificates;
mod faces;
mod files;
mod listen;
pub mod logs;
pub mod signals;
mod start_error;
mod stop;
#[cfg(test)]
mod tests;

pub use start_error::StartError;

/// A proxy that runs. Dropped without [`Running::stop`] it ends at once, as by a crash.
pub struct Running {
    listeners: Vec<SocketAddr>,
    admin: SocketAddr,
    shutdown_delay: Duration,
    drain_timeout: Duration,
    core: Core,
    readiness: Arc<Readiness>,
    in_flight: Arc<InFlight>,
    /// True closes the application's listeners.
    close: watch::Sender<bool>,
    /// Ends what is done from time to time, and the admin listener.
    rest: CancellationToken,
    tasks: TaskTracker,
    runtimes: Runtimes,
}

/// Starts a proxy: everything that can fail does so before the first connection is accepted.
///
/// # Errors
/// Says what cannot be opened, and where.
pub async fn start(config: Config) -> Result<Running, StartError> {
    start_on(config, Core::open).await
}

/// [`start`] on a core of one's own: for benches, which compare stores behind the same gate.
///
/// # Errors
/// As [`start`].
#[doc(hidden)]
pub async fn start_on(
    mut config: Config,
    open: impl FnOnce(&Config, Handle) -> Result<Core, OpenError>,
) -> Result<Running, StartError> {
    files::raise_limit();
    // One TLS provider for both sides; a second start in a process finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let sockets = Sockets::bind(&config)?;
    let own = sockets.own().map(|address| (address.ip(), address.port()));
    config.webhook.own_addresses.extend(own);
    let runtimes = Runtimes::new(config.server.threads)?;
    let core = open(&config, runtimes.back().clone())?;
    let assembly = Assembly {
        config,
        core,
        runtimes,
    };
    assembly.run(sockets).await
}

impl Running {
    /// Where the application's callers are served, in the order of the configuration.
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// Where the admin listener is.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Where the runs are.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.core.store
    }
}

/// The threads. Dropped, they end what they do.
struct Runtimes {
    /// Serves the application's callers.
    front: Option<Runtime>,
    /// Runs, deliveries, the admin listener: what must go on while the front is busy.
    back: Option<Runtime>,
    handles: [Handle; 2],
}

impl Runtimes {
    fn new(threads: usize) -> Result<Self, StartError> {
        let (front, back) = (runtime("front", threads)?, runtime("back", threads)?);
        Ok(Self {
            handles: [front.handle().clone(), back.handle().clone()],
            front: Some(front),
            back: Some(back),
        })
    }

    fn front(&self) -> &Handle {
        &self.handles[0]
    }

    fn back(&self) -> &Handle {
        &self.handles[1]
    }
}

impl Drop for Runtimes {
    /// Waits for nothing: a runtime cannot wait inside another, and by now nothing is left that is waited for.
    fn drop(&mut self) {
        for runtime in [self.front.take(), self.back.take()].into_iter().flatten() {
            runtime.shutdown_background();
        }
    }
}

fn runtime(name: &str, threads: usize) -> Result<Runtime, StartError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.max(1))
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(StartError::Runtime)
}

//! The wiring: from a configuration to a running proxy, in the order in which it starts; `stop` has the way back.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
};

use tokio::{
    runtime::{Handle, Runtime},
    sync::watch,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use self::{
    assembly::Assembly,
    certificates::Shown,
    faces::Sockets,
    listen::{Connections, Inherited},
    upgrade::{Door, Offered, Predecessor},
    upstreams::Upstreams,
};
use crate::{
    api::{AdminApp, ReloadOrders},
    config::Config,
    plugin::{Core, OpenError},
    proxy::{Proxy, traffic::InFlight},
    store::{Store, opening, sqlite::Entry},
    worker::readiness::Readiness,
};

mod assembly;
mod certificates;
mod faces;
mod files;
mod listen;
pub mod logs;
mod reload;
pub mod signals;
mod start_error;
mod stop;
pub mod systemd;
#[cfg(test)]
mod tests;
mod upgrade;
mod upstreams;

pub use reload::ReloadError;
pub use start_error::StartError;
pub use upgrade::UpgradeError;

/// A proxy that runs. Dropped without [`Running::stop`] it ends at once, as by a crash.
pub struct Running {
    listeners: Vec<SocketAddr>,
    admin: SocketAddr,
    /// What holds now.
    config: Config,
    proxy: Proxy,
    upstreams: Upstreams,
    certificates: Vec<(String, Arc<Shown>)>,
    /// What the admin API asks for; none once somebody heeds it.
    orders: Option<ReloadOrders>,
    admin_app: AdminApp,
    core: Core,
    readiness: Arc<Readiness>,
    in_flight: Arc<InFlight>,
    connections: Connections,
    /// The listening sockets for a newer process.
    offered: io::Result<Vec<Offered>>,
    /// True closes the application's listeners.
    close: watch::Sender<bool>,
    /// True closes the admin listener.
    close_admin: watch::Sender<bool>,
    /// Ends what is done from time to time.
    rest: CancellationToken,
    tasks: TaskTracker,
    runtimes: Runtimes,
}

/// Starts a proxy: everything that can fail does so before the first connection is accepted.
///
/// # Errors
/// Says what cannot be opened, and where.
pub async fn start(config: Config) -> Result<Running, StartError> {
    // Who has the store has the addresses too: the store says which process it is.
    opening::must_be_free(&config.store)?;
    start_on(config, Core::open).await
}

/// Starts a proxy in the place of the one that runs on the same store: takes its listening sockets, and when all of them
/// are served here, the other one accepts nothing more and finishes what it has. Without one it is an ordinary start;
/// on the store others may still finish what they have.
///
/// # Errors
/// As [`start`]; nothing has changed for the running proxy then.
pub async fn upgrade(config: Config) -> Result<Running, StartError> {
    let beside = |config: &Config, runtime| Core::enter(config, runtime, Entry::Beside);
    match Predecessor::find(&config.store.path).await? {
        None => begin(config, Inherited::default(), beside).await,
        Some((predecessor, sockets)) => {
            let running = begin(config, Inherited(sockets), beside).await?;
            predecessor.relieve().await?;
            Ok(running)
        }
    }
}

/// [`start`] on a core of one's own: for benches, which compare stores behind the same gate.
///
/// # Errors
/// As [`start`].
#[doc(hidden)]
pub async fn start_on(
    config: Config,
    open: impl FnOnce(&Config, Handle) -> Result<Core, OpenError>,
) -> Result<Running, StartError> {
    begin(config, Inherited::default(), open).await
}

async fn begin(
    mut config: Config,
    inherited: Inherited,
    open: impl FnOnce(&Config, Handle) -> Result<Core, OpenError>,
) -> Result<Running, StartError> {
    files::raise_limit();
    // One TLS provider for both sides; a second start in a process finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let sockets = Sockets::open(&config, inherited)?;
    config.webhook.own_addresses.extend(sockets.own());
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

    /// Waits for a new process that takes over, from the moment that it is called. When that is done nothing more is
    /// accepted here, and [`Running::finish`] comes next.
    pub fn wait_for_successor(&mut self) -> Successor<impl Future<Output = ()> + use<>> {
        let offered = std::mem::replace(&mut self.offered, Ok(Vec::new()));
        let door = offered.and_then(|offered| Door::open(&self.config.store.path, offered));
        let (close, close_admin) = (self.close.clone(), self.close_admin.clone());
        let leave = move |pid: Option<u32>| {
            close.send_replace(true);
            close_admin.send_replace(true);
            if let Some(pid) = pid {
                systemd::notify(&format!("MAINPID={pid}"));
            }
        };
        let starting = door.as_ref().map(Door::busy).unwrap_or_default();
        let taken_over = async move {
            match door {
                Ok(door) => door.taken(leave).await,
                Err(error) => {
                    warn!(%error, "this process cannot hand over to a newer one");
                    std::future::pending().await
                }
            }
        };
        Successor {
            taken_over,
            starting,
        }
    }

    /// What the admin API asks for, to be heeded by one who has the configuration's file. Once.
    pub fn orders(&mut self) -> Option<ReloadOrders> {
        self.orders.take()
    }

    /// Where the runs are.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.core.store
    }
}

/// What is known of the process that comes next.
#[derive(Debug)]
pub struct Successor<F> {
    /// Resolves when it has taken over. Dropped before, nothing is handed over.
    pub taken_over: F,
    /// Whether it is starting at this moment.
    pub starting: Arc<AtomicBool>,
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

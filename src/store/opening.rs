//! Which back end a configuration asks for: the one place that knows.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::{
    Store, postgres,
    sqlite::{self, Entry, FolderLock, SqliteStore},
};
use crate::{
    config::{self, StoreKind},
    metrics::Metrics,
    model::time::SharedClock,
};

/// Why a store cannot be opened. The messages say what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The embedded one.
    #[error(transparent)]
    Sqlite(#[from] sqlite::OpenError),
    /// The one of several replicas.
    #[error(transparent)]
    Postgres(#[from] postgres::OpenError),
    /// No thread can be started.
    #[error("the store cannot be opened: a thread has failed")]
    Thread,
}

/// What a store is opened with.
pub struct Opening<'a> {
    /// `[store]`
    pub config: &'a config::Store,
    /// Where the pages are that explain problems; empty: nowhere.
    pub public_prefix: &'a str,
    /// Tells the time.
    pub clock: SharedClock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether other processes may be alive on the same folder.
    pub entry: Entry,
    /// Where the store works, if it has tasks.
    pub runtime: Handle,
}

/// Opens the store that is asked for; blocks while it is read, or reached.
///
/// # Errors
/// [`OpenError`].
pub fn open(opening: Opening<'_>) -> Result<Arc<dyn Store>, OpenError> {
    let Opening {
        config,
        public_prefix,
        clock,
        metrics,
        entry,
        runtime,
    } = opening;
    match &config.kind {
        StoreKind::Sqlite => {
            let settings = sqlite::Settings::new(config, public_prefix);
            Ok(SqliteStore::enter(settings, clock, metrics, entry)?)
        }
        StoreKind::Postgres { url } => {
            let settings = postgres::Settings {
                folder: Some(Arc::new(FolderLock::take(&config.path, entry)?)),
                url: url.clone(),
                path: config.path.clone(),
                retention: config.retention,
                public_prefix: public_prefix.to_owned(),
            };
            // Whoever asks may be within a runtime, which cannot wait for another.
            let open = || {
                let opened =
                    postgres::PostgresStore::open(settings, clock, metrics, runtime.clone());
                runtime.block_on(opened)
            };
            let opened = std::thread::scope(|scope| scope.spawn(open).join());
            Ok(opened.map_err(|_panicked| OpenError::Thread)??)
        }
    }
}

/// Asks, before anything else is tried, whether no other process has what only one may have.
///
/// # Errors
/// [`OpenError`] names the process.
pub fn must_be_free(config: &config::Store) -> Result<(), OpenError> {
    Ok(SqliteStore::must_be_free(&config.path)?)
}

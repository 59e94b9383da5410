//! The embedded store: one SQLite file, one thread that writes to it, many changes in one commit.

mod backup;
mod committer;
mod condition;
mod connection;
mod deliveries;
mod keeper;
mod list;
mod moving;
mod names;
mod open;
mod others;
mod queue;
mod reader;
mod recovery;
mod retention;
mod row;
mod runs;
mod schema;
mod shared;
mod slot;
mod store;
mod transaction;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use self::{
    committer::Committer,
    condition::Condition,
    keeper::{Chores, Keeper},
    names::Names,
    open::Opened,
    queue::Queue,
    reader::Readers,
    shared::{Shared, Unfinished},
};
pub use self::{
    open::{FolderLock, OpenError},
    slot::Entry,
};
use super::{Identity, Notices, ids::Ids, spool::Spool};
use crate::{
    config::Durability,
    metrics::Metrics,
    model::time::{SharedClock, Timestamp},
};

/// What the store needs of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder.
    pub path: PathBuf,
    /// Whether accepts and ends wait for fsync.
    pub durability: Durability,
    /// How long a finished run is kept.
    pub retention: Duration,
    /// The largest size in bytes; 0: until the disk's reserve.
    pub max_bytes: u64,
    /// Where the pages are that explain problems; empty: nowhere.
    pub public_prefix: String,
}

impl Settings {
    /// Takes `[store]`, and `server.public_prefix`.
    pub fn new(store: &crate::config::Store, public_prefix: &str) -> Self {
        Self {
            path: store.path.clone(),
            durability: store.durability,
            retention: store.retention,
            max_bytes: store.max_bytes,
            public_prefix: public_prefix.to_owned(),
        }
    }
}

/// The embedded store. Dropped without [`super::Store::close`], it commits what is queued and closes by itself.
pub struct SqliteStore {
    shared: Arc<Shared>,
    identity: Identity,
    committer: Mutex<Option<std::thread::JoinHandle<()>>>,
    /// When the spool was last swept.
    swept: Mutex<Option<Timestamp>>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore")
            .field("file", &self.shared.file)
            .finish()
    }
}

impl SqliteStore {
    /// Asks whether no other process is alive on the store in `folder`, before anything else is tried.
    ///
    /// # Errors
    /// [`OpenError::InUse`] names the process.
    pub fn must_be_free(folder: &Path) -> Result<(), OpenError> {
        open::must_be_free(folder)
    }

    /// Opens the store, or makes a new one, and recovers what dead processes held. Blocks while it reads.
    ///
    /// # Errors
    /// [`OpenError`] says why, and what to do.
    pub fn open(
        settings: Settings,
        clock: SharedClock,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, OpenError> {
        Self::enter(settings, clock, metrics, Entry::Alone)
    }

    /// [`SqliteStore::open`], if [`Entry::Beside`] though other processes are alive on the store.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn enter(
        settings: Settings,
        clock: SharedClock,
        metrics: Arc<Metrics>,
        entry: Entry,
    ) -> Result<Arc<Self>, OpenError> {
        let Opened {
            slot,
            file,
            spool,
            db,
            fence,
            identity,
            high,
        } = open::open(&settings.path, settings.durability, entry)?;
        let folder = settings.path.clone();
        let shared = Arc::new(Shared {
            ids: Ids::after(high, fence.slot),
            names: Names::default(),
            unfinished: Unfinished::default(),
            condition: Condition::new(metrics.store_writable.clone()),
            queue: Arc::new(Queue::new(metrics.store_queue.clone())),
            chores: Chores::default(),
            readers: Readers::of(file.clone()),
            notices: Notices::default(),
            spool: Spool::new(spool, fence, Arc::clone(&clock)),
            settings,
            file,
            clock,
            metrics,
            fence,
            #[cfg(test)]
            fault: Mutex::default(),
        });
        let failed = |source| OpenError::Io {
            path: folder.clone(),
            source,
        };
        backup::remove_leftover(&folder, fence.slot).map_err(failed)?;
        let mut committer = Committer::new(Arc::clone(&shared), db, slot);
        committer
            .first()
            .map_err(|error| open::explain(&shared.file, &error))?;
        let thread = Keeper::start(Arc::clone(&shared))
            .and_then(|keeper| {
                std::thread::Builder::new()
                    .name("store-committer".into())
                    .spawn(move || committer.run(keeper))
            })
            .map_err(failed)?;
        Ok(Arc::new(Self {
            shared,
            identity,
            committer: Mutex::new(Some(thread)),
            swept: Mutex::default(),
        }))
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

#[cfg(test)]
mod tests;

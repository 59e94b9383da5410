//! The thread that keeps house beside the committer: checkpoints, files to remove, the free space, other processes.

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, Result};

use super::{connection, others::Seen, shared::Shared};

/// Between looks at the log while there are commits.
const LOOK: Duration = Duration::from_millis(20);
/// Between looks at the free space, and at other processes.
const MEASURE: Duration = Duration::from_secs(1);
/// A checkpoint is made of this many pages of the log: 8 MB. (The committer's own comes at 8,000.)
const CHECKPOINT_PAGES: i64 = 2000;

/// What is to be done, and the connection to do it with.
#[derive(Debug, Default)]
pub(super) struct Chores {
    list: Mutex<List>,
    told: Condvar,
    db: Mutex<Option<Connection>>,
}

#[derive(Debug, Default)]
struct List {
    commits: bool,
    files: Vec<String>,
    /// Whether files stay though no row names them any more: a backup's snapshot may.
    held: bool,
    closing: bool,
}

/// While it is there, no spool file is removed.
#[derive(Debug)]
pub(super) struct Held(Arc<Shared>);

impl Held {
    /// From now on; none if it is so already.
    pub(super) fn begin(shared: &Arc<Shared>) -> Option<Self> {
        let mut list = shared.chores.list.lock();
        let before = std::mem::replace(&mut list.held, true);
        (!before).then(|| Self(Arc::clone(shared)))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.chores.list.lock().held = false;
        self.0.chores.told.notify_one();
    }
}

impl Chores {
    /// There was a commit.
    pub(super) fn committed(&self) {
        let mut list = self.list.lock();
        if !list.commits {
            list.commits = true;
            self.told.notify_one();
        }
    }

    /// Spool files that no row names any more.
    pub(super) fn remove(&self, files: Vec<String>) {
        if !files.is_empty() {
            self.list.lock().files.extend(files);
            self.told.notify_one();
        }
    }

    /// Does `work` while our connection is closed.
    pub(super) fn closed<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut db = self.db.lock();
        *db = None;
        work()
    }
}

/// The thread.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Measures the space once, then starts the thread.
    pub(super) fn start(shared: Arc<Shared>) -> std::io::Result<Self> {
        measure(&shared, 0);
        let its = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("store-keeper".into())
            .spawn(move || run(&its))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Ends the thread; what it has yet to remove is removed.
    pub(super) fn stop(&mut self) {
        self.shared.chores.list.lock().closing = true;
        self.shared.chores.told.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic was reported when it happened.
            let _ = thread.join();
        }
        *self.shared.chores.db.lock() = None;
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(shared: &Shared) {
    let mut measured = Instant::now();
    let mut seen = Seen::default();
    loop {
        let list = next(&shared.chores, MEASURE);
        for file in &list.files {
            if let Err(error) = shared.spool.remove(file) {
                tracing::warn!(%error, file, "a spool file could not be removed; the next start will");
            }
        }
        if list.closing {
            return;
        }
        let idle = !list.commits && list.files.is_empty();
        let due = measured.elapsed() >= MEASURE;
        let kept = with_db(shared, |db| {
            if due {
                measured = Instant::now();
                shared.look_at_others(db, &mut seen)?;
            }
            keep_log_short(db, idle)
        });
        match kept {
            Ok(free_bytes) if due => measure(shared, free_bytes),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "a checkpoint failed; it is tried again"),
        }
        if !idle {
            let mut list = shared.chores.list.lock();
            shared
                .chores
                .told
                .wait_while_for(&mut list, |list| !list.closing, LOOK);
        }
    }
}

/// Waits for chores, but no longer than `limit`.
fn next(chores: &Chores, limit: Duration) -> List {
    let mut list = chores.list.lock();
    chores.told.wait_while_for(
        &mut list,
        |list| !(list.commits || list.closing || !(list.held || list.files.is_empty())),
        limit,
    );
    List {
        commits: std::mem::take(&mut list.commits),
        files: if list.held {
            Vec::new()
        } else {
            std::mem::take(&mut list.files)
        },
        ..*list
    }
}

/// Does `work` with the keeper's connection. One that failed is not used again.
fn with_db<T>(shared: &Shared, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    let mut place = shared.chores.db.lock();
    let db = match place.take() {
        Some(db) => db,
        None => connection::checkpointer(&shared.file)?,
    };
    let done = work(&db)?;
    *place = Some(db);
    Ok(done)
}

/// Copies a long log into the database; all of it when there is nothing else to do, so that what was overwritten does
/// not live on in the log. Returns the bytes of free pages in the database.
fn keep_log_short(db: &Connection, idle: bool) -> Result<u64> {
    let log = connection::checkpoint(db, "NOOP")?;
    if idle && log.pages > 0 {
        connection::checkpoint(db, "TRUNCATE")?;
    } else if log.backlog >= CHECKPOINT_PAGES {
        connection::checkpoint(db, "PASSIVE")?;
    }
    let free: i64 = db
        .prepare_cached(
            "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size",
        )?
        .query_row([], |row| row.get(0))?;
    Ok(free.max(0).cast_unsigned())
}

fn measure(shared: &Shared, free_bytes: u64) {
    let sizes = shared.sizes();
    let used = (sizes.database + sizes.log + sizes.spool).saturating_sub(free_bytes);
    shared
        .condition
        .measure(&shared.settings.path, used, shared.settings.max_bytes);
}

//! What the threads of one store share.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::RwLock;

use super::{
    Settings, condition::Condition, keeper::Chores, names::Names, queue::Queue, reader::Readers,
    transaction::Effects,
};
use crate::{
    metrics::Metrics,
    model::time::{SharedClock, Timestamp},
    store::{Fence, Notices, ids::Ids, spool::Spool},
};

/// What the threads of one store share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    /// The database file.
    pub(super) file: PathBuf,
    pub(super) clock: SharedClock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) fence: Fence,
    pub(super) ids: Ids,
    pub(super) names: Names,
    pub(super) unfinished: Unfinished,
    pub(super) condition: Condition,
    pub(super) queue: Arc<Queue>,
    pub(super) chores: Chores,
    pub(super) readers: Readers,
    pub(super) notices: Notices,
    pub(super) spool: Spool,
    #[cfg(test)]
    pub(super) fault: parking_lot::Mutex<Option<super::committer::Fault>>,
}

impl Shared {
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The sizes of the files, in bytes.
    pub(super) fn sizes(&self) -> Sizes {
        let len = |path: &Path| std::fs::metadata(path).map_or(0, |known| known.len());
        let mut log = self.file.clone().into_os_string();
        log.push("-wal");
        Sizes {
            database: len(&self.file),
            log: len(Path::new(&log)),
            spool: self.spool.bytes(),
        }
    }

    /// Carries out what follows from a committed transaction.
    pub(super) fn follow_up(&self, effects: Effects) {
        self.names.publish(effects.new_names);
        if let Some(counts) = effects.unfinished_anew {
            self.unfinished.replace(counts);
        }
        for (policy, change) in effects.unfinished.into_values() {
            if let Some(policy) = policy {
                self.unfinished.add(&policy.route, change);
            }
        }
        if effects.queued {
            self.notices.runs.notify_waiters();
        }
        self.notices.deliveries.push(effects.pending);
        self.notices.changes.tell(&effects.runs);
        self.chores.remove(effects.orphans);
    }
}

/// Bytes on disk.
pub(super) struct Sizes {
    pub(super) database: u64,
    pub(super) log: u64,
    pub(super) spool: u64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("file", &self.file).finish()
    }
}

/// How many unfinished runs each route has.
#[derive(Debug, Default)]
pub(super) struct Unfinished(RwLock<HashMap<String, i64>>);

impl Unfinished {
    pub(super) fn of(&self, route: &str) -> u64 {
        let count = self.0.read().get(route).copied().unwrap_or_default();
        count.max(0).cast_unsigned()
    }

    pub(super) fn replace(&self, counts: HashMap<String, i64>) {
        *self.0.write() = counts;
    }

    pub(super) fn add(&self, route: &str, change: i64) {
        let mut counts = self.0.write();
        match counts.get_mut(route) {
            Some(count) => *count += change,
            None => {
                counts.insert(route.to_owned(), change);
            }
        }
    }
}

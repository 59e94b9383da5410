//! Whether runs can be stored at this moment, from memory.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicU8, Ordering},
};

use prometheus::IntGauge;

use crate::store::{BackupError, Unwritable};

/// The part of the file system that accepts leave free, so that ends can always be written: one in this many.
const RESERVE: u64 = 20;

const FINE: u8 = 0;
const FULL: u8 = 1;
const FAILING: u8 = 2;

/// Whether runs can be stored.
#[derive(Debug)]
pub(super) struct Condition {
    /// How the latest write went.
    trouble: AtomicU8,
    /// Whether the disk's reserve or the size limit is reached.
    at_limit: AtomicBool,
    writable: IntGauge,
}

impl Condition {
    /// All is well; `writable` is kept current.
    pub(super) fn new(writable: IntGauge) -> Self {
        writable.set(1);
        Self {
            trouble: AtomicU8::new(FINE),
            at_limit: AtomicBool::new(false),
            writable,
        }
    }

    /// What keeps everything from being written.
    pub(super) fn trouble(&self) -> Result<(), Unwritable> {
        match self.trouble.load(Ordering::Relaxed) {
            FULL => Err(Unwritable::Full),
            FAILING => Err(Unwritable::Failing),
            _ => Ok(()),
        }
    }

    /// What keeps new runs from being stored.
    pub(super) fn check(&self) -> Result<(), Unwritable> {
        self.trouble()?;
        if self.at_limit.load(Ordering::Relaxed) {
            return Err(Unwritable::Full);
        }
        Ok(())
    }

    /// Notes how a write went.
    pub(super) fn note(&self, outcome: Result<(), Unwritable>) {
        let trouble = match outcome {
            Ok(()) => FINE,
            Err(Unwritable::Full) => FULL,
            Err(Unwritable::Failing | Unwritable::Busy | Unwritable::Closed) => FAILING,
        };
        let before = self.trouble.swap(trouble, Ordering::Relaxed);
        if before != trouble {
            match trouble {
                FINE => tracing::info!("the store can be written again"),
                FULL => tracing::error!(
                    "the disk is full: no new runs until there is space; ends of runs wait"
                ),
                _ => tracing::error!("the store cannot be written: no new runs; ends of runs wait"),
            }
            self.show();
        }
    }

    /// Compares the space that is free, and that the store uses, with their limits; `max_bytes` 0 is none.
    pub(super) fn measure(&self, folder: &Path, used: u64, max_bytes: u64) {
        let below_reserve =
            rustix::fs::statvfs(folder).is_ok_and(|disk| disk.f_bavail < disk.f_blocks / RESERVE);
        let at_limit = below_reserve || (max_bytes > 0 && used >= max_bytes);
        if self.at_limit.swap(at_limit, Ordering::Relaxed) != at_limit {
            if at_limit {
                tracing::error!(
                    used,
                    max_bytes,
                    "no new runs: the disk's reserve of 5 % or store.max_bytes is reached; free some space"
                );
            } else {
                tracing::info!("there is space for new runs again");
            }
            self.show();
        }
    }

    /// Whether so much more can be written and the reserve is still there.
    pub(super) fn room_for(folder: &Path, needed: u64) -> Result<(), BackupError> {
        let disk =
            rustix::fs::statvfs(folder).map_err(|error| BackupError::Failed(error.to_string()))?;
        let reserve = disk.f_blocks / RESERVE;
        let free = disk.f_bavail.saturating_sub(reserve) * disk.f_frsize;
        if free < needed {
            return Err(BackupError::NoSpace { needed, free });
        }
        Ok(())
    }

    fn show(&self) {
        self.writable.set(i64::from(self.check().is_ok()));
    }
}

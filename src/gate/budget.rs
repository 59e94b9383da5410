//! One memory budget for all bodies that are being taken in.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// `limits.intake_memory`, shared by all intakes.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: AtomicU64,
    taken: AtomicU64,
}

/// A part of the budget; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    inner: Arc<Inner>,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self(Arc::new(Inner {
            limit: AtomicU64::new(limit),
            taken: AtomicU64::new(0),
        }))
    }

    /// Has this limit from now on; what is taken beyond it stays so until it is given back.
    pub(super) fn set_limit(&self, limit: u64) {
        self.0.limit.store(limit, Ordering::Relaxed);
    }

    /// Takes `bytes`, if so much is left.
    pub(super) fn take(&self, bytes: u64) -> Option<Share> {
        let limit = self.0.limit.load(Ordering::Relaxed);
        let fits = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= limit);
        self.0
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .ok()?;
        Some(Share {
            inner: Arc::clone(&self.0),
            bytes,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.inner.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is_and_what_is_given_back_can_be_taken_again() {
        let budget = Budget::new(100);
        let first = budget.take(60).unwrap();
        assert!(budget.take(41).is_none());
        let second = budget.take(40).unwrap();
        assert!(budget.take(1).is_none());
        drop(first);
        assert!(budget.take(60).is_some());
        drop(second);
        assert!(budget.take(100).is_some());
        assert!(budget.take(u64::MAX).is_none());
    }

    #[test]
    fn a_smaller_limit_holds_for_what_is_taken_next() {
        let budget = Budget::new(100);
        let first = budget.take(60).unwrap();
        budget.set_limit(50);
        assert!(budget.take(1).is_none());
        drop(first);
        assert!(budget.take(51).is_none());
        assert!(budget.take(50).is_some());
    }
}

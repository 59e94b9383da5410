//! Who waits for which run: told after commits that changed it. A hint only; the store is the truth.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use dashmap::DashMap;
use tokio::sync::watch;

use crate::model::id::RunId;

/// The waiters of one process, by run. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Changes(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiters: AtomicUsize,
    runs: DashMap<RunId, watch::Sender<()>>,
}

impl Changes {
    /// Registers somebody who waits for a run, before a look at the store: a change that the look has not shown is told.
    pub fn of(&self, run: RunId) -> Waiter {
        self.0.waiters.fetch_add(1, Ordering::SeqCst);
        let told = self
            .0
            .runs
            .entry(run)
            .or_insert_with(|| watch::Sender::new(()))
            .subscribe();
        Waiter {
            changes: self.clone(),
            run,
            told: Some(told),
        }
    }

    /// Tells those who wait for these runs. Costs next to nothing while nobody waits.
    pub fn tell(&self, runs: &[RunId]) {
        if self.0.waiters.load(Ordering::SeqCst) == 0 {
            return;
        }
        for run in runs {
            if let Some(waiters) = self.0.runs.get(run) {
                waiters.send_replace(());
            }
        }
    }
}

/// Somebody who waits; dropping it ends that.
#[derive(Debug)]
pub struct Waiter {
    changes: Changes,
    run: RunId,
    told: Option<watch::Receiver<()>>,
}

impl Waiter {
    /// Resolves when the run has changed since the last time, or since the waiter was registered.
    pub async fn changed(&mut self) {
        if let Some(told) = &mut self.told {
            // The sender lives as long as a waiter does.
            let _ = told.changed().await;
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        drop(self.told.take());
        let inner = &self.changes.0;
        inner
            .runs
            .remove_if(&self.run, |_, waiters| waiters.is_closed());
        inner.waiters.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn run(number: i64) -> RunId {
        RunId::from_parts(number * 8, 1)
    }

    #[test]
    fn all_who_wait_for_a_run_are_told_and_nobody_else() {
        let changes = Changes::default();
        let mut waiters = [changes.of(run(1)), changes.of(run(1)), changes.of(run(2))];
        changes.tell(&[run(1), run(3)]);
        let told = waiters
            .each_mut()
            .map(|waiter| waiter.changed().now_or_never().is_some());
        assert_eq!(told, [true, true, false]);
        assert!(waiters[0].changed().now_or_never().is_none(), "told once");
    }

    #[test]
    fn a_change_between_two_looks_is_not_missed() {
        let changes = Changes::default();
        let mut waiter = changes.of(run(1));
        changes.tell(&[run(1)]);
        changes.tell(&[run(1)]);
        assert!(waiter.changed().now_or_never().is_some());
    }

    #[test]
    fn nothing_stays_of_those_who_left() {
        let changes = Changes::default();
        let (first, second) = (changes.of(run(1)), changes.of(run(1)));
        drop(first);
        assert_eq!(changes.0.runs.len(), 1);
        drop(second);
        assert!(changes.0.runs.is_empty());
        assert_eq!(changes.0.waiters.load(Ordering::SeqCst), 0);
    }
}

//! Who waits for which run: told after commits that changed it. A hint only; the store is the truth.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use dashmap::DashMap;
use tokio::sync::{broadcast, watch};

use crate::model::id::RunId;

/// The most changes that are kept for those who are told of all, until they take them.
const KEPT: usize = 4096;

/// The waiters of one process, by run. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Changes(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiters: AtomicUsize,
    runs: DashMap<RunId, watch::Sender<()>>,
    /// Made for the first who is told of all.
    all: OnceLock<broadcast::Sender<RunId>>,
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

    /// Registers somebody who is told of the changes of all runs from now on.
    pub fn all(&self) -> AllChanges {
        let all = self.0.all.get_or_init(|| broadcast::Sender::new(KEPT));
        AllChanges(all.subscribe())
    }

    /// Lets all who wait for a run look again: another process has changed something.
    pub fn tell_waiters(&self) {
        for waiters in &self.0.runs {
            waiters.send_replace(());
        }
    }

    /// Tells those who wait for these runs. Costs next to nothing while nobody waits.
    pub fn tell(&self, runs: &[RunId]) {
        if let Some(all) = self.0.all.get()
            && all.receiver_count() > 0
        {
            for run in runs {
                // An error says that the last one left.
                let _ = all.send(*run);
            }
        }
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

/// Somebody who is told of all runs; whoever takes too slowly misses the oldest changes.
#[derive(Debug)]
pub struct AllChanges(broadcast::Receiver<RunId>);

/// Runs that changed, each once.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// In the order of their first change.
    pub runs: Vec<RunId>,
    /// How many changes were missed before.
    pub missed: u64,
}

impl AllChanges {
    /// Waits for a change; returns what has changed by then, at most `limit` runs.
    pub async fn next(&mut self, limit: usize) -> Changed {
        let mut changed = Changed::default();
        match self.0.recv().await {
            Ok(run) => changed.runs.push(run),
            Err(broadcast::error::RecvError::Lagged(missed)) => changed.missed = missed,
            // The sender lives as long as the store, and the store as long as whoever asks here.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
        while changed.runs.len() < limit {
            match self.0.try_recv() {
                Ok(run) if changed.runs.contains(&run) => {}
                Ok(run) => changed.runs.push(run),
                Err(broadcast::error::TryRecvError::Lagged(missed)) => changed.missed += missed,
                Err(_) => break,
            }
        }
        changed
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
    fn a_change_elsewhere_lets_all_look_again() {
        let changes = Changes::default();
        let mut waiters = [changes.of(run(1)), changes.of(run(2))];
        changes.tell_waiters();
        for waiter in &mut waiters {
            assert!(waiter.changed().now_or_never().is_some());
        }
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
    fn who_listens_to_all_is_told_of_each_run_once() {
        let changes = Changes::default();
        changes.tell(&[run(9)]);
        let mut all = changes.all();
        changes.tell(&[run(1), run(2)]);
        changes.tell(&[run(1), run(3)]);
        let mut take = |limit| all.next(limit).now_or_never();
        let told = |runs: &[i64]| Changed {
            runs: runs.iter().map(|number| run(*number)).collect(),
            missed: 0,
        };
        assert_eq!(take(2), Some(told(&[1, 2])));
        assert_eq!(take(2), Some(told(&[1, 3])));
        assert_eq!(take(2), None);
    }

    #[test]
    fn who_takes_too_slowly_misses_the_oldest_changes_and_is_told_how_many() {
        let changes = Changes::default();
        let mut all = changes.all();
        for number in 0..KEPT as i64 + 7 {
            changes.tell(&[run(number)]);
        }
        let told = all.next(3).now_or_never().unwrap();
        assert_eq!((told.missed, told.runs), (7, vec![run(7), run(8), run(9)]));
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

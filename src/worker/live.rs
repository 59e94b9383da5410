//! The live view of runs in this process: what can be cancelled. Not the truth; that is the store.

use std::{collections::HashSet, sync::Arc};

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::model::id::RunId;

/// Runs whose attempt is under way here. Clones are views of the same runs.
#[derive(Debug, Default, Clone)]
pub struct LiveRuns(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    runs: DashMap<RunId, CancellationToken>,
    early: Mutex<Early>,
}

/// Cancels that came between the commit of a claim and the run's entry.
#[derive(Debug, Default)]
struct Early {
    claims_under_way: usize,
    cancelled: HashSet<RunId>,
}

impl LiveRuns {
    /// Enters a run. Its attempt ends when it is cancelled; the entry goes when the guard is dropped.
    pub fn enter(&self, id: RunId) -> Entered {
        let token = CancellationToken::new();
        self.0.runs.insert(id, token.clone());
        if self.0.early.lock().cancelled.contains(&id) {
            token.cancel();
        }
        Entered {
            runs: self.clone(),
            id,
            token,
        }
    }

    /// To be held from before runs are claimed in the store until they are entered: no cancel is missed in between.
    pub fn claiming(&self) -> Claiming {
        self.0.early.lock().claims_under_way += 1;
        Claiming(self.clone())
    }

    /// Closes the upstream connection of a run, if it is live here. The store has recorded the cancel before.
    pub fn cancel(&self, id: RunId) {
        let mut early = self.0.early.lock();
        if let Some(token) = self.0.runs.get(&id) {
            token.cancel();
        } else if early.claims_under_way > 0 {
            early.cancelled.insert(id);
        }
    }

    /// The runs whose attempts are under way.
    pub fn ids(&self) -> Vec<RunId> {
        self.0.runs.iter().map(|entry| *entry.key()).collect()
    }

    /// How many attempts are under way.
    pub fn len(&self) -> usize {
        self.0.runs.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.0.runs.is_empty()
    }
}

/// A run that is live; dropping it ends that.
#[derive(Debug)]
pub struct Entered {
    runs: LiveRuns,
    id: RunId,
    token: CancellationToken,
}

impl Entered {
    /// Resolves when the run is cancelled.
    pub async fn cancelled(&self) {
        self.token.cancelled().await;
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.runs.0.runs.remove(&self.id);
    }
}

/// Runs are being claimed; see [`LiveRuns::claiming`].
#[derive(Debug)]
pub struct Claiming(LiveRuns);

impl Drop for Claiming {
    fn drop(&mut self) {
        let mut early = self.0.0.early.lock();
        early.claims_under_way -= 1;
        if early.claims_under_way == 0 {
            early.cancelled = HashSet::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_live_run_is_cancelled_and_another_is_not() {
        let live = LiveRuns::default();
        let (one, two) = (RunId::from_parts(8, 1), RunId::from_parts(16, 1));
        let (first, second) = (live.enter(one), live.enter(two));
        live.cancel(one);
        assert!(first.cancelled().now_or_never().is_some());
        assert!(second.cancelled().now_or_never().is_none());
        drop(first);
        assert_eq!(live.len(), 1);
    }

    #[test]
    fn a_cancel_between_claim_and_entry_is_not_missed() {
        let live = LiveRuns::default();
        let id = RunId::from_parts(8, 1);
        let claiming = live.claiming();
        live.cancel(id);
        assert!(live.enter(id).cancelled().now_or_never().is_some());
        drop(claiming);
        assert!(live.enter(id).cancelled().now_or_never().is_none());
    }
}

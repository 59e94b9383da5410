//! The live view of runs in this process: what can be cancelled. Not the truth; that is the store.

use dashmap::DashMap;
use tokio_util::sync::CancellationToken;

use crate::model::id::RunId;

/// Runs whose attempt is under way here.
#[derive(Debug, Default)]
pub struct LiveRuns(DashMap<RunId, CancellationToken>);

impl LiveRuns {
    /// Enters a run. Its attempt ends when the token is cancelled; the entry goes when the guard is dropped.
    pub fn enter(&self, id: RunId) -> Entered<'_> {
        let token = CancellationToken::new();
        self.0.insert(id, token.clone());
        Entered {
            runs: self,
            id,
            token,
        }
    }

    /// Closes the upstream connection of a run, if it is live here. The store has recorded the cancel before.
    pub fn cancel(&self, id: RunId) {
        if let Some(token) = self.0.get(&id) {
            token.cancel();
        }
    }

    /// How many attempts are under way.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A run that is live; dropping it ends that.
#[derive(Debug)]
pub struct Entered<'a> {
    runs: &'a LiveRuns,
    id: RunId,
    token: CancellationToken,
}

impl Entered<'_> {
    /// Resolves when the run is cancelled.
    pub async fn cancelled(&self) {
        self.token.cancelled().await;
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.runs.0.remove(&self.id);
    }
}

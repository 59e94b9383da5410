//! The books: what was ever accepted, and where it stands. An operator sees in them that nothing is lost.

use std::collections::BTreeMap;

use super::{delivery::DeliveryState, run::RunState};

/// The books, the same on every replica; what retention has removed is still counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Books {
    /// Every run ever accepted; the sum of `runs`.
    pub accepted: u64,
    /// Runs by state.
    pub runs: BTreeMap<&'static str, u64>,
    /// Deliveries by state.
    pub deliveries: BTreeMap<&'static str, u64>,
    /// Bytes on disk by kind: `database`, `log`, `spool`.
    pub bytes: BTreeMap<&'static str, u64>,
}

impl Books {
    /// How many runs are in `state`.
    pub fn runs(&self, state: RunState) -> u64 {
        self.runs.get(state.as_str()).copied().unwrap_or_default()
    }

    /// How many deliveries are in `state`.
    pub fn deliveries(&self, state: DeliveryState) -> u64 {
        self.deliveries
            .get(state.as_str())
            .copied()
            .unwrap_or_default()
    }
}

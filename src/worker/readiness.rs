//! Whether this process takes work: what `/readyz` says.

use std::sync::atomic::{AtomicU8, Ordering};

/// Where the process stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It does not listen yet.
    Starting,
    /// It takes work.
    Ready,
    /// It finishes what it has, or is about to.
    Draining,
}

/// The phase of this process, shared by who changes it and who tells it.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

impl Readiness {
    /// Moves on to `phase`. There is no way back: an earlier phase than the present one is ignored.
    pub fn advance(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::Relaxed);
    }

    /// The present phase.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// Whether it takes work.
    pub fn is_ready(&self) -> bool {
        self.phase() == Phase::Ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draining_process_is_never_ready_again() {
        let readiness = Readiness::default();
        assert_eq!(readiness.phase(), Phase::Starting);
        readiness.advance(Phase::Ready);
        assert!(readiness.is_ready());
        readiness.advance(Phase::Draining);
        readiness.advance(Phase::Ready);
        assert_eq!(readiness.phase(), Phase::Draining);
    }
}

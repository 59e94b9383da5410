//! What the store tells of deliveries that have become pending, until their schedule takes it.

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::PendingDelivery;

/// The most deliveries that are remembered for a schedule that does not take them.
const REMEMBERED: usize = 100_000;

/// Deliveries that have become pending and that nobody holds.
#[derive(Debug, Default)]
pub struct PendingNotices {
    list: Mutex<List>,
    /// Told when there is something to take.
    pub told: Notify,
}

#[derive(Debug, Default)]
struct List {
    deliveries: Vec<PendingDelivery>,
    missed: bool,
}

impl PendingNotices {
    /// Tells of deliveries.
    pub fn push(&self, deliveries: Vec<PendingDelivery>) {
        if deliveries.is_empty() {
            return;
        }
        let mut list = self.list.lock();
        if list.deliveries.len() + deliveries.len() > REMEMBERED {
            list.deliveries = Vec::new();
            list.missed = true;
        } else {
            list.deliveries.extend(deliveries);
        }
        drop(list);
        self.told.notify_waiters();
    }

    /// Notes that something was told and not heard: the next [`PendingNotices::take`] says that the store has to be asked.
    pub fn miss(&self) {
        self.list.lock().missed = true;
        self.told.notify_waiters();
    }

    /// What was told since the last call; none if there was too much: then the store has to be asked.
    pub fn take(&self) -> Option<Vec<PendingDelivery>> {
        let mut list = self.list.lock();
        let deliveries = std::mem::take(&mut list.deliveries);
        (!std::mem::take(&mut list.missed)).then_some(deliveries)
    }
}

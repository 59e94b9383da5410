//! The schedule as the courier's tasks share it: what waits, what is out, and who is told when something may go.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::schedule::{Name, ReceiverState, Schedule};
use crate::{
    metrics::Metrics,
    model::{
        breaker::BreakerState,
        delivery::DeliveryOutcome,
        id::RunId,
        time::{SharedClock, Timestamp},
    },
    store::{PendingDelivery, ending::receiver_address},
    worker::handoff::Admission,
};

/// What waits for receivers, and the state of each.
#[derive(Clone)]
pub struct Lines(Arc<Inner>);

struct Inner {
    schedule: Mutex<Schedule>,
    freed: Notify,
    clock: SharedClock,
    metrics: Metrics,
}

impl Lines {
    /// Nothing waits yet; so many go out to one receiver at a time.
    pub fn new(per_host: usize, clock: SharedClock, metrics: Metrics) -> Self {
        Self(Arc::new(Inner {
            schedule: Mutex::new(Schedule::new(per_host)),
            freed: Notify::new(),
            clock,
            metrics,
        }))
    }

    /// Receivers whose breakers are not closed, in the order of their names.
    pub fn troubled(&self) -> Vec<ReceiverState> {
        let mut troubled: Vec<_> = self.0.schedule.lock().troubled().collect();
        troubled.sort_by(|one, other| one.receiver.cmp(&other.receiver));
        troubled
    }

    /// Until when the breaker holds up what is for this receiver's URL, if it is open.
    pub fn held_until(&self, endpoint: &str) -> Option<Timestamp> {
        let schedule = self.0.schedule.lock();
        if schedule.count(BreakerState::Open) == 0 {
            return None;
        }
        schedule.held_until(&receiver_address(endpoint))
    }

    pub(super) fn set_per_host(&self, per_host: usize) {
        let now = self.0.clock.now();
        self.0.schedule.lock().set_per_host(per_host, now);
        self.0.freed.notify_one();
    }

    pub(super) fn add(&self, pending: &[PendingDelivery]) {
        let now = self.0.clock.now();
        let mut schedule = self.0.schedule.lock();
        for one in pending {
            schedule.add(one, now);
        }
    }

    /// The next delivery, which is out then; when places are `scarce`, only of a receiver that has none out.
    pub(super) fn next(&self, scarce: bool) -> Option<(RunId, Name)> {
        let next = self.0.schedule.lock().next(scarce, self.0.clock.now());
        self.show();
        next
    }

    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.0.schedule.lock().next_at()
    }

    /// Resolves when something that was out has ended.
    pub(super) fn freed(&self) -> &Notify {
        &self.0.freed
    }

    /// Deliveries that wait in memory.
    pub fn len(&self) -> usize {
        self.0.schedule.lock().len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn show(&self) {
        let schedule = self.0.schedule.lock();
        let metrics = &self.0.metrics;
        for state in BreakerState::ALL {
            let count = i64::try_from(schedule.count(state)).unwrap_or(i64::MAX);
            metrics
                .delivery_receivers
                .with_label_values(&[state.as_str()])
                .set(count);
        }
        let open = schedule.count(BreakerState::Open) + schedule.count(BreakerState::HalfOpen);
        metrics
            .delivery_breakers_open
            .set(i64::try_from(open).unwrap_or(i64::MAX));
    }
}

impl Admission for Lines {
    fn enter(&self, receiver: &str, scarce: bool) -> bool {
        let now = self.0.clock.now();
        self.0.schedule.lock().enter(receiver, scarce, now)
    }

    fn leave(&self, receiver: &str, outcome: Option<DeliveryOutcome>) {
        let now = self.0.clock.now();
        self.0
            .schedule
            .lock()
            .leave(receiver, outcome, now, fastrand::f64());
        self.show();
        self.0.freed.notify_one();
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines")
            .field("waiting", &self.len())
            .finish()
    }
}

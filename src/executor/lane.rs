//! Lanes: each route's slots, taken first come first served.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::model::time::Timestamp;

/// The lanes of all routes with runs.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    by_route: HashMap<String, Arc<Lane>>,
    /// In the order of the configuration.
    pub(super) all: Vec<Arc<Lane>>,
}

impl Lanes {
    /// Lanes by route name, each with its `concurrency`. `freed` is told of slots that queued runs wait for. A lane that
    /// was there before goes on, with its new number of slots.
    pub(super) fn new(
        routes: impl IntoIterator<Item = (String, usize)>,
        before: &Self,
        freed: &Arc<Notify>,
    ) -> Self {
        let all: Vec<_> = routes
            .into_iter()
            .map(|(route, slots)| match before.get(&route) {
                Some(lane) => {
                    lane.slots.store(slots, Ordering::Relaxed);
                    Arc::clone(lane)
                }
                None => Arc::new(Lane {
                    route,
                    slots: AtomicUsize::new(slots),
                    sharers: AtomicUsize::new(1),
                    freed: Arc::clone(freed),
                    traffic: Mutex::new(Traffic::default()),
                }),
            })
            .collect();
        let by_route = all
            .iter()
            .map(|lane| (lane.route.clone(), Arc::clone(lane)))
            .collect();
        Self { by_route, all }
    }

    /// Shares all slots between so many processes from now on.
    pub(super) fn share(&self, sharers: usize) {
        for lane in &self.all {
            lane.sharers.store(sharers, Ordering::Relaxed);
        }
    }

    pub(super) fn get(&self, route: &str) -> Option<&Arc<Lane>> {
        self.by_route.get(route)
    }
}

/// One route's slots.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) route: String,
    slots: AtomicUsize,
    /// How many processes share them.
    sharers: AtomicUsize,
    freed: Arc<Notify>,
    traffic: Mutex<Traffic>,
}

#[derive(Debug)]
struct Traffic {
    /// Slots that are taken.
    taken: usize,
    /// Whether queued runs may wait: new ones then queue behind them.
    waiting: bool,
    /// How often a run was turned away to the queue.
    turned_away: u64,
    /// When the next queued run is due, as far as is known.
    next_due: Timestamp,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            taken: 0,
            // What the store holds from before the start has not been looked at yet.
            waiting: true,
            turned_away: 0,
            next_due: Timestamp::NEVER,
        }
    }
}

/// What a look into the store began with; see [`Lane::looked`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Look(u64);

impl Lane {
    /// A slot for a new run, if one is free and no queued run waits for it.
    pub(super) fn reserve(self: &Arc<Self>, task: TaskTrackerToken) -> Option<Slot> {
        let mut traffic = self.traffic.lock();
        if traffic.waiting || traffic.taken >= self.slots() {
            traffic.waiting = true;
            traffic.turned_away += 1;
            return None;
        }
        traffic.taken += 1;
        drop(traffic);
        Some(Slot {
            lane: Arc::clone(self),
            _task: task,
        })
    }

    /// Up to `limit` free slots for queued runs.
    pub(super) fn take(
        self: &Arc<Self>,
        limit: usize,
        task: impl Fn() -> TaskTrackerToken,
    ) -> (Vec<Slot>, Look) {
        let mut traffic = self.traffic.lock();
        let count = self.slots().saturating_sub(traffic.taken).min(limit);
        traffic.taken += count;
        let look = Look(traffic.turned_away);
        drop(traffic);
        let slots = (0..count)
            .map(|_| Slot {
                lane: Arc::clone(self),
                _task: task(),
            })
            .collect();
        (slots, look)
    }

    /// Records what a look into the store has shown: when the next queued run is due, none if nothing waits. A run
    /// that was turned away since may not have been stored when the look was taken, so it goes on waiting.
    pub(super) fn looked(&self, look: Look, next_due: Option<Timestamp>, now: Timestamp) {
        let mut traffic = self.traffic.lock();
        traffic.next_due = next_due.unwrap_or(Timestamp::NEVER);
        traffic.waiting = traffic.next_due <= now || traffic.turned_away != look.0;
    }

    /// Records that a look into the store failed: the next one is due at `again`.
    pub(super) fn look_failed(&self, again: Timestamp) {
        let mut traffic = self.traffic.lock();
        traffic.next_due = again;
        traffic.waiting = false;
    }

    /// Notes that a run is queued until `due`.
    pub(super) fn queued_until(&self, due: Timestamp) {
        let mut traffic = self.traffic.lock();
        traffic.next_due = traffic.next_due.min(due);
    }

    /// When the next queued run is due, as far as is known.
    pub(super) fn next_due(&self) -> Timestamp {
        self.traffic.lock().next_due
    }

    /// Whether a look into the store is worth while now.
    pub(super) fn wants_look(&self, now: Timestamp) -> bool {
        let traffic = self.traffic.lock();
        traffic.taken < self.slots() && (traffic.waiting || traffic.next_due <= now)
    }

    /// Those of this process: its share, rounded up, so that each of many has one.
    fn slots(&self) -> usize {
        let sharers = self.sharers.load(Ordering::Relaxed).max(1);
        self.slots.load(Ordering::Relaxed).div_ceil(sharers)
    }

    fn free(&self) {
        let mut traffic = self.traffic.lock();
        traffic.taken -= 1;
        let waited_for = traffic.waiting;
        drop(traffic);
        if waited_for {
            self.freed.notify_one();
        }
    }
}

/// The right to carry out one attempt on a route; given back when dropped. A drain waits for it.
#[derive(Debug)]
pub struct Slot {
    lane: Arc<Lane>,
    _task: TaskTrackerToken,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.lane.free();
    }
}

//! What the tasks of one store share.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, RwLock};

use super::{days::Days, lease::Lease, link::Link, telling::Untold};
use crate::{
    metrics::{Metrics, seconds},
    model::{
        id::RunId,
        run::{Run, RunState},
        time::{SharedClock, Timestamp},
    },
    store::{Fence, Notices, PendingDelivery, Unwritable, ids::Ids, spool::Spool},
};

/// What the tasks of one store share.
pub(super) struct Shared {
    pub(super) link: Link,
    pub(super) clock: SharedClock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) retention: Duration,
    pub(super) public_prefix: String,
    pub(super) ids: Ids,
    pub(super) spool: Spool,
    pub(super) notices: Notices,
    pub(super) unfinished: RwLock<HashMap<String, i64>>,
    pub(super) untold: Untold,
    pub(super) lease: Lease,
    /// For which ids there are partitions.
    pub(super) days: Days,
    /// The number of our registration: whoever takes over from us fences it.
    pub(super) replica: AtomicI64,
    /// How many replicas are alive, this one included.
    pub(super) alive: AtomicUsize,
    /// What this process holds, as far as somebody here knows of it, and the file that it reads of it. What is held in
    /// our name and not here is found, and given back.
    pub(super) held: Mutex<HashMap<RunId, Option<String>>>,
    pub(super) writable: AtomicBool,
    pub(super) closing: AtomicBool,
}

/// What follows from a transaction once it is committed.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Changes of the books, by kind, route and state.
    pub(super) tally: BTreeMap<(i16, String, &'static str), i64>,
    pub(super) unfinished: BTreeMap<String, i64>,
    /// How many unfinished runs each route had before these changes, if they were counted.
    pub(super) recounted: Option<HashMap<String, i64>>,
    pub(super) queued: bool,
    pub(super) pending: Vec<PendingDelivery>,
    pub(super) runs: Vec<RunId>,
    /// No longer held by this process.
    pub(super) freed: Vec<RunId>,
    /// Held by this process from now on.
    pub(super) taken: Vec<RunId>,
}

impl Shared {
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What our claims are marked with.
    pub(super) fn fence(&self) -> Fence {
        fence(self.owner())
    }

    /// Runs whose last end is not later have expired.
    pub(super) fn kept_since(&self) -> i64 {
        super::row::millis(self.now().before(self.retention))
    }

    pub(super) fn owner(&self) -> i64 {
        self.replica.load(Ordering::Relaxed)
    }

    pub(super) fn check(&self) -> Result<(), Unwritable> {
        if self.closing.load(Ordering::Relaxed) {
            return Err(Unwritable::Closed);
        }
        if !self.writable.load(Ordering::Relaxed) {
            return Err(Unwritable::Failing);
        }
        Ok(())
    }

    /// A heartbeat that was sent then has arrived.
    pub(super) fn beaten(&self, sent: i64) {
        self.lease.beat(sent);
        let now = self.now().since(Timestamp::from_millis(0));
        let gauge = self.metrics.store_heartbeat.with_label_values::<&str>(&[]);
        gauge.set(seconds(now));
    }

    /// Notes whether the database can be written.
    pub(super) fn note(&self, writable: bool, why: &dyn std::fmt::Display) {
        if self.writable.swap(writable, Ordering::Relaxed) != writable {
            self.metrics.store_writable.set(writable.into());
            if writable {
                tracing::info!("the database can be written again");
            } else {
                tracing::error!(%why, "the database cannot be written: no new runs; ends of runs wait");
            }
        }
    }

    /// Carries out what follows from a committed transaction.
    pub(super) fn follow_up(&self, effects: Effects) {
        self.let_go(&effects.freed);
        let mut unfinished = self.unfinished.write();
        if let Some(recounted) = effects.recounted {
            *unfinished = recounted;
        }
        for (route, change) in effects.unfinished {
            *unfinished.entry(route).or_default() += change;
        }
        drop(unfinished);
        if effects.queued {
            self.notices.runs.notify_waiters();
        }
        self.notices.deliveries.push(effects.pending);
        self.notices.changes.tell(&effects.runs);
        if self.alive.load(Ordering::Relaxed) > 1 {
            self.untold.add(&effects.runs);
        }
    }
}

/// What claims of a registration are marked with.
pub(super) fn fence(owner: i64) -> Fence {
    Fence {
        slot: 0,
        epoch: owner.cast_unsigned(),
    }
}

impl Effects {
    /// Notes a change of a run; `before` is how it stood, none for a new one.
    pub(super) fn record(&mut self, before: Option<&Stood>, run: &Run, is_held: bool) {
        let after = Stood::of(run);
        let route = &run.policy.route;
        for (stood, change) in [(before, -1), (Some(&after), 1)] {
            let Some(stood) = stood else { continue };
            let key = (0, route.clone(), stood.state.as_str());
            *self.tally.entry(key).or_default() += change;
            if let Some(delivery) = stood.delivery {
                let key = (1, route.clone(), delivery);
                *self.tally.entry(key).or_default() += change;
            }
        }
        let change =
            i64::from(after.is_unfinished()) - i64::from(before.is_some_and(Stood::is_unfinished));
        if change != 0 {
            *self.unfinished.entry(route.clone()).or_default() += change;
        }
        self.runs.push(run.id);
        self.queued |= run.state == RunState::Queued;
        if !is_held {
            self.pending.extend(super::row::pending(run));
            self.freed.push(run.id);
        }
    }
}

/// How a run stood, for the books.
#[derive(Debug, Clone)]
pub(super) struct Stood {
    state: RunState,
    delivery: Option<&'static str>,
}

impl Stood {
    pub(super) fn of(run: &Run) -> Self {
        Self {
            state: run.state,
            delivery: run.delivery.as_ref().map(|it| it.state.as_str()),
        }
    }

    fn is_unfinished(&self) -> bool {
        !self.state.is_final() || self.delivery == Some("pending")
    }
}

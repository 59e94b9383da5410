//! What is counted of requests: those under way, and each route's pass-through.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use prometheus::{Histogram, IntCounter};
use tokio::{sync::Notify, time::Instant};

use crate::metrics::{Metrics, code_class, seconds};

/// How many requests of callers are under way.
#[derive(Debug, Default)]
pub struct InFlight {
    count: AtomicUsize,
    none: Notify,
    last: AtomicBool,
}

/// A request under way; dropping it ends that.
#[derive(Debug)]
pub struct Passing {
    of: Arc<InFlight>,
    came: Instant,
    began: Option<Instant>,
}

impl InFlight {
    /// Counts a request until the returned value is dropped.
    pub fn enter(self: &Arc<Self>) -> Passing {
        self.count.fetch_add(1, Ordering::Relaxed);
        Passing {
            of: Arc::clone(self),
            came: Instant::now(),
            began: None,
        }
    }

    /// Resolves when none is under way.
    pub async fn idle(&self) {
        loop {
            let told = self.none.notified();
            if self.count() == 0 {
                return;
            }
            told.await;
        }
    }

    /// Says that each of them is to be the last one on its connection.
    pub fn be_the_last(&self) {
        self.last.store(true, Ordering::Relaxed);
    }

    /// Whether each is to be the last one on its connection.
    pub fn are_last(&self) -> bool {
        self.last.load(Ordering::Relaxed)
    }

    /// How many are under way.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Passing {
    /// The request is passed through from now on.
    pub fn begin(&mut self) {
        self.began = Some(Instant::now());
    }

    /// How long ago its head had come.
    pub fn age(&self) -> Duration {
        self.came.elapsed()
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if self.of.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.of.none.notify_waiters();
        }
    }
}

/// The counters of one route, looked up once.
#[derive(Debug)]
pub struct Traffic {
    requests: [IntCounter; 6],
    duration: Histogram,
}

impl Traffic {
    /// The counters of `route`.
    pub fn new(metrics: &Metrics, route: &str) -> Self {
        let class = |status| {
            metrics
                .requests
                .with_label_values(&[route, code_class(status)])
        };
        Self {
            requests: [
                class(100),
                class(200),
                class(300),
                class(400),
                class(500),
                class(0),
            ],
            duration: metrics.request_duration.with_label_values(&[route]),
        }
    }

    /// Counts a request that was passed through and is over. Without a status the client left first.
    pub fn count(&self, status: Option<u16>, passing: &Passing) {
        let Some(began) = passing.began else { return };
        let class = match status.unwrap_or_default() / 100 {
            class @ 1..=5 => usize::from(class) - 1,
            _ => 5,
        };
        self.requests[class].inc();
        self.duration.observe(seconds(began.elapsed()));
    }
}

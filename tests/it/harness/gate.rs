//! A gate that a test opens: what waits at it goes on then, and not before.

use std::{
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

/// A value that others wait for.
pub(crate) struct Watched<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Watched<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn change<R>(&self, how: impl FnOnce(&mut T) -> R) -> R {
        let result = how(&mut self.value.lock().expect("lock"));
        self.changed.notify_all();
        result
    }

    /// Waits until `ready` says something of the value. Panics after a minute: a test that hangs fails.
    pub(crate) fn wait<R>(&self, what: &str, mut ready: impl FnMut(&mut T) -> Option<R>) -> R {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut value = self.value.lock().expect("lock");
        loop {
            if let Some(result) = ready(&mut value) {
                return result;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited too long for {what}");
            value = self.changed.wait_timeout(value, left).expect("lock").0;
        }
    }
}

/// Shut until it is opened.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Watched<bool>>);

impl Gate {
    pub(crate) fn shut() -> Self {
        Self(Arc::new(Watched::new(false)))
    }

    pub(crate) fn open(&self) {
        self.0.change(|open| *open = true);
    }

    pub(crate) fn wait(&self) {
        self.0.wait("a gate", |open| open.then_some(()));
    }
}

/// Asks again and again until `ready` says something; for what gives no sign of its own.
pub(crate) fn eventually<R>(what: &str, mut ready: impl FnMut() -> Option<R>) -> R {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(result) = ready() {
            return result;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

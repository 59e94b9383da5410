//! The system's clock: the only place that reads it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::SystemTime,
};

use crate::model::time::{Clock, SharedClock, Timestamp};

/// The system's time, and what is added to it.
#[derive(Debug, Default)]
struct SystemClock(AtomicI64);

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock's one home")]
    fn system(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let system = self.system().millis();
        Timestamp::from_millis(system.saturating_add_signed(self.0.load(Ordering::Relaxed)))
    }

    fn go_by(&self, other: Timestamp) {
        let ahead = |one: Timestamp| i64::try_from(one.millis()).unwrap_or(i64::MAX);
        let offset = ahead(other).saturating_sub(ahead(self.system()));
        self.0.store(offset, Ordering::Relaxed);
    }
}

/// The time of day, as the system has it.
pub fn system() -> SharedClock {
    Arc::new(SystemClock::default())
}

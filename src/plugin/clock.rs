//! The system's clock: the only place that reads it.

use std::{sync::Arc, time::SystemTime};

use crate::model::time::{Clock, SharedClock, Timestamp};

#[derive(Debug)]
struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock's one home")]
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

/// The time of day, as the system has it.
pub fn system() -> SharedClock {
    Arc::new(SystemClock)
}

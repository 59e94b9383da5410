//! How many runs ended in each of the last sixty minutes: what Prometheus would know, for those who have none.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::{run::RunState, time::Timestamp};

const HOUR: usize = 60;
const MINUTE: u64 = 60_000;

/// Runs that ended in one minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Minute {
    /// When it began.
    pub at: Timestamp,
    /// Runs that succeeded.
    pub succeeded: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Runs that were cancelled.
    pub cancelled: u64,
}

/// The last sixty minutes, each in the place of its number modulo sixty.
#[derive(Debug, Clone)]
pub struct Minutes(Arc<Mutex<[Minute; HOUR]>>);

impl Default for Minutes {
    fn default() -> Self {
        Self(Arc::new(Mutex::new([Minute::default(); HOUR])))
    }
}

impl Minutes {
    /// Counts a run that ended. One that ended over an hour ago is not counted.
    pub fn note(&self, state: RunState, ended_at: Timestamp) {
        let at = begin(ended_at);
        let mut hour = self.0.lock();
        let minute = &mut hour[place(at)];
        if minute.at < at {
            *minute = Minute {
                at,
                ..Minute::default()
            };
        }
        if minute.at > at {
            return;
        }
        match state {
            RunState::Succeeded => minute.succeeded += 1,
            RunState::Failed => minute.failed += 1,
            RunState::Cancelled => minute.cancelled += 1,
            RunState::Queued | RunState::Running => {}
        }
    }

    /// All sixty, that of `now` last.
    pub fn last_hour(&self, now: Timestamp) -> Vec<Minute> {
        let last = begin(now).millis() / MINUTE;
        let first = last.saturating_sub(HOUR as u64 - 1);
        let hour = self.0.lock();
        (first..=last)
            .map(|number| {
                let at = Timestamp::from_millis(number * MINUTE);
                let minute = hour[place(at)];
                if minute.at == at {
                    minute
                } else {
                    Minute {
                        at,
                        ..Minute::default()
                    }
                }
            })
            .collect()
    }
}

fn begin(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.millis() / MINUTE * MINUTE)
}

fn place(at: Timestamp) -> usize {
    (at.millis() / MINUTE) as usize % HOUR
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn ago(minutes: u64) -> Timestamp {
        NOW.before(Duration::from_secs(60 * minutes))
    }

    #[test]
    fn runs_are_counted_in_the_minute_of_their_end() {
        let minutes = Minutes::default();
        minutes.note(RunState::Succeeded, NOW);
        minutes.note(RunState::Succeeded, NOW);
        minutes.note(RunState::Failed, ago(59));
        minutes.note(RunState::Cancelled, ago(1));
        let hour = minutes.last_hour(NOW);
        assert_eq!(hour.len(), 60);
        assert_eq!((hour[59].succeeded, hour[59].failed), (2, 0));
        assert_eq!((hour[0].failed, hour[58].cancelled), (1, 1));
        let all: u64 = hour
            .iter()
            .map(|one| one.succeeded + one.failed + one.cancelled)
            .sum();
        assert_eq!(all, 4);
        assert!(
            hour.windows(2)
                .all(|pair| pair[1].at.since(pair[0].at).as_secs() == 60)
        );
    }

    #[test]
    fn what_is_an_hour_old_is_forgotten() {
        let minutes = Minutes::default();
        minutes.note(RunState::Succeeded, ago(60));
        assert!(minutes.last_hour(NOW).iter().all(|one| one.succeeded == 0));
        minutes.note(RunState::Failed, NOW);
        minutes.note(RunState::Succeeded, ago(60));
        let last = minutes.last_hour(NOW)[59];
        assert_eq!((last.succeeded, last.failed), (0, 1));
    }
}

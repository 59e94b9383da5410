//! How many runs ended in each of the last sixty minutes, and how long they took: what Prometheus would know, for those
//! who have none.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use super::spread::{Percentiles, Spread};
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

/// How long the runs took that ended in the last hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Durations {
    /// From acceptance to the first attempt; null if none started.
    #[schema(required)]
    pub queued_ms: Option<Percentiles>,
    /// From the first attempt to the end.
    #[schema(required)]
    pub duration_ms: Option<Percentiles>,
}

/// One minute, and how long its runs were queued and under way.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    minute: Minute,
    queued: Spread,
    under_way: Spread,
}

/// The last sixty minutes, each in the place of its number modulo sixty.
#[derive(Debug, Clone)]
pub struct Minutes(Arc<Mutex<Box<[Entry]>>>);

impl Default for Minutes {
    fn default() -> Self {
        let hour = vec![Entry::default(); HOUR];
        Self(Arc::new(Mutex::new(hour.into())))
    }
}

impl Minutes {
    /// Counts a run that ended, with how long it was queued and under way, if it started. One that ended over an hour
    /// ago is not counted.
    pub fn note(&self, state: RunState, ended_at: Timestamp, took: Option<(Duration, Duration)>) {
        let at = begin(ended_at);
        let mut hour = self.0.lock();
        let entry = &mut hour[place(at)];
        if entry.minute.at < at {
            *entry = Entry::default();
            entry.minute.at = at;
        }
        if entry.minute.at > at {
            return;
        }
        if let Some((queued, under_way)) = took {
            entry.queued.note(queued);
            entry.under_way.note(under_way);
        }
        let minute = &mut entry.minute;
        match state {
            RunState::Succeeded => minute.succeeded += 1,
            RunState::Failed => minute.failed += 1,
            RunState::Cancelled => minute.cancelled += 1,
            RunState::Queued | RunState::Running => {}
        }
    }

    /// All sixty, that of `now` last.
    pub fn last_hour(&self, now: Timestamp) -> Vec<Minute> {
        let hour = self.0.lock();
        numbers(now)
            .map(|at| {
                let minute = hour[place(at)].minute;
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

    /// How long the runs took that ended in them.
    pub fn durations(&self, now: Timestamp) -> Durations {
        let hour = self.0.lock();
        let (mut queued, mut under_way) = (Spread::default(), Spread::default());
        for at in numbers(now) {
            let entry = &hour[place(at)];
            if entry.minute.at == at {
                queued.add(&entry.queued);
                under_way.add(&entry.under_way);
            }
        }
        Durations {
            queued_ms: queued.percentiles(),
            duration_ms: under_way.percentiles(),
        }
    }
}

/// The beginnings of the last sixty minutes.
fn numbers(now: Timestamp) -> impl Iterator<Item = Timestamp> {
    let last = begin(now).millis() / MINUTE;
    let first = last.saturating_sub(HOUR as u64 - 1);
    (first..=last).map(|number| Timestamp::from_millis(number * MINUTE))
}

fn begin(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.millis() / MINUTE * MINUTE)
}

fn place(at: Timestamp) -> usize {
    (at.millis() / MINUTE) as usize % HOUR
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn ago(minutes: u64) -> Timestamp {
        NOW.before(Duration::from_secs(60 * minutes))
    }

    #[test]
    fn runs_are_counted_in_the_minute_of_their_end() {
        let minutes = Minutes::default();
        minutes.note(RunState::Succeeded, NOW, None);
        minutes.note(RunState::Succeeded, NOW, None);
        minutes.note(RunState::Failed, ago(59), None);
        minutes.note(RunState::Cancelled, ago(1), None);
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
    fn how_long_runs_took_is_told_for_the_last_hour() {
        let minutes = Minutes::default();
        let took = |millis| Some((Duration::ZERO, Duration::from_millis(millis)));
        minutes.note(RunState::Succeeded, ago(60), took(60_000));
        minutes.note(RunState::Succeeded, NOW, took(100));
        minutes.note(RunState::Cancelled, ago(3), None);
        let durations = minutes.durations(NOW);
        let p99 = durations.duration_ms.unwrap().p99;
        assert!((80..125).contains(&p99), "{p99}");
        assert_eq!(durations.queued_ms.unwrap().p50, 1);
    }

    #[test]
    fn what_is_an_hour_old_is_forgotten() {
        let minutes = Minutes::default();
        minutes.note(RunState::Succeeded, ago(60), None);
        assert!(minutes.last_hour(NOW).iter().all(|one| one.succeeded == 0));
        minutes.note(RunState::Failed, NOW, None);
        minutes.note(RunState::Succeeded, ago(60), None);
        let last = minutes.last_hour(NOW)[59];
        assert_eq!((last.succeeded, last.failed), (0, 1));
    }
}

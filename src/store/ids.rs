//! Issuing run ids: each later than all before it, and not to be guessed.

use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};

use crate::model::{id::RunId, time::Timestamp};

/// Random numbers that are fetched at a time.
const FETCHED: usize = 64;

/// The ids of one process.
#[derive(Debug)]
pub(super) struct Ids {
    slot: i64,
    state: Mutex<State>,
    random: SystemRandom,
}

#[derive(Debug)]
struct State {
    last: i64,
    random: Vec<u64>,
}

impl Ids {
    /// `high` is the highest key that was ever issued on the store.
    pub(super) fn after(high: i64, slot: u8) -> Self {
        Self {
            slot: i64::from(slot),
            state: Mutex::new(State {
                last: high,
                random: Vec::new(),
            }),
            random: SystemRandom::new(),
        }
    }

    /// A new id. When the clock stands or goes back, the counter below the milliseconds goes on from the last one.
    pub(super) fn next(&self, now: Timestamp) -> RunId {
        let mut state = self.state.lock();
        let key = (RunId::first_key_at(now)).max((state.last | 0b111) + 1) | self.slot;
        state.last = key;
        if state.random.is_empty() {
            state.random = self.fetch();
        }
        let random = state.random.pop().unwrap_or_default();
        RunId::from_parts(key, random)
    }

    /// The highest key issued so far.
    pub(super) fn high(&self) -> i64 {
        self.state.lock().last
    }

    fn fetch(&self) -> Vec<u64> {
        let mut bytes = [0; FETCHED * 8];
        self.random
            .fill(&mut bytes)
            .expect("the system has random numbers");
        bytes
            .chunks_exact(8)
            .map(|chunk| {
                chunk
                    .iter()
                    .fold(0, |all, byte| (all << 8) | u64::from(*byte))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_never_go_back_though_the_clock_does() {
        let ids = Ids::after(0, 3);
        let mut last = ids.next(Timestamp::from_millis(5_000));
        for millis in [5_000, 5_001, 4_000, 1, 5_002] {
            let next = ids.next(Timestamp::from_millis(millis));
            assert!(next.key() > last.key());
            assert_eq!(next.key() & 0b111, 3);
            last = next;
        }
        let after = Ids::after(last.key(), 1).next(Timestamp::from_millis(0));
        assert!(after.key() > last.key());
    }
}

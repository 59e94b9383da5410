//! Which delivery is next: by due time, with a limit and a circuit breaker for each receiver. It knows only what it was
//! told; the store has the truth.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    model::{
        breaker::{Breaker, BreakerState, Leave},
        delivery::DeliveryOutcome,
        id::RunId,
        time::Timestamp,
    },
    store::PendingDelivery,
};

/// Host and port of a receiver, shared by all that waits for it.
pub(super) type Name = Arc<str>;

/// The schedule.
#[derive(Debug)]
pub(super) struct Schedule {
    per_host: usize,
    lines: HashMap<Name, Line>,
    /// Receivers whose next delivery may go out then.
    ready: BTreeSet<(Timestamp, Name)>,
    /// All that waits, and where.
    waiting: HashMap<RunId, (Name, Timestamp)>,
    /// How many receivers are in each state, in the order of [`BreakerState::ALL`].
    states: [usize; 4],
}

/// What waits for one receiver.
#[derive(Debug, Default)]
struct Line {
    waiting: BTreeSet<(Timestamp, RunId)>,
    out: usize,
    breaker: Breaker,
    /// Its place in [`Schedule::ready`].
    ready_at: Option<Timestamp>,
}

/// What operators see of a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverState {
    /// Host and port.
    pub receiver: String,
    /// The state of its breaker.
    pub state: BreakerState,
    /// Failures in a row.
    pub failures: u32,
    /// When the next probe goes out, while the breaker is open.
    pub probe_at: Option<Timestamp>,
    /// Deliveries that wait for it.
    pub pending: usize,
    /// Deliveries that are out.
    pub out: usize,
}

impl Schedule {
    /// An empty one, with so many attempts at a time for each receiver.
    pub(super) fn new(per_host: usize) -> Self {
        Self {
            per_host,
            lines: HashMap::new(),
            ready: BTreeSet::new(),
            waiting: HashMap::new(),
            states: [0; 4],
        }
    }

    /// Takes a delivery in, or its new due time.
    pub(super) fn add(&mut self, pending: &PendingDelivery, now: Timestamp) {
        self.forget(pending.id, now);
        let name = self.name(&pending.receiver);
        self.waiting
            .insert(pending.id, (Arc::clone(&name), pending.due));
        self.change(&name, now, |line| {
            line.waiting.insert((pending.due, pending.id));
        });
    }

    /// Takes the next delivery that may go out, if there is one; it is out then.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<(RunId, Name)> {
        let (at, name) = self.ready.first()?.clone();
        if at > now {
            return None;
        }
        let id = self.lines.get(&name)?.waiting.first()?.1;
        self.waiting.remove(&id);
        self.change(&name, now, |line| {
            line.waiting.pop_first();
            line.goes_out();
        });
        Some((id, name))
    }

    /// When [`Schedule::next`] has something, if nothing changes until then.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.ready.first().map(|(at, _)| *at)
    }

    /// Lets one more delivery out that never waited here, unless others wait or the receiver has enough.
    pub(super) fn enter(&mut self, receiver: &str, now: Timestamp) -> bool {
        let most = self.per_host;
        let may = match self.lines.get(receiver) {
            None => most > 0,
            Some(line) => {
                line.waiting.first().is_none_or(|(due, _)| *due > now)
                    && line.breaker.leave(line.out, most, now) == Leave::Now
            }
        };
        if may {
            let name = self.name(receiver);
            self.change(&name, now, Line::goes_out);
        }
        may
    }

    /// One that was out has ended; without an outcome it was given back, and nothing is known of the receiver.
    pub(super) fn leave(
        &mut self,
        receiver: &str,
        outcome: Option<DeliveryOutcome>,
        now: Timestamp,
        chance: f64,
    ) {
        let most = self.per_host;
        let name = self.name(receiver);
        self.change(&name, now, |line| {
            line.out = line.out.saturating_sub(1);
            match outcome {
                Some(outcome) => line.breaker.note(outcome, most, now, chance),
                None => line.breaker.given_back(now),
            }
        });
    }

    /// How many receivers are in a state.
    pub(super) fn count(&self, state: BreakerState) -> usize {
        self.states[state as usize]
    }

    /// How many deliveries wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Until when nothing goes to a receiver, if its breaker is open.
    pub(super) fn held_until(&self, receiver: &str) -> Option<Timestamp> {
        self.lines.get(receiver)?.breaker.probe_at()
    }

    /// Receivers whose breakers are not closed.
    pub(super) fn troubled(&self) -> impl Iterator<Item = ReceiverState> {
        let lines = self.lines.iter();
        lines
            .filter(|(_, line)| line.breaker.state() != BreakerState::Closed)
            .map(|(name, line)| ReceiverState {
                receiver: name.to_string(),
                state: line.breaker.state(),
                failures: line.breaker.failures(),
                probe_at: line.breaker.probe_at(),
                pending: line.waiting.len(),
                out: line.out,
            })
    }

    fn forget(&mut self, id: RunId, now: Timestamp) {
        if let Some((name, due)) = self.waiting.remove(&id) {
            self.change(&name, now, |line| {
                line.waiting.remove(&(due, id));
            });
        }
    }

    fn name(&self, receiver: &str) -> Name {
        match self.lines.get_key_value(receiver) {
            Some((name, _)) => Arc::clone(name),
            None => receiver.into(),
        }
    }

    /// Changes a line, and keeps its place and the counts. A line with nothing to remember goes.
    fn change(&mut self, name: &Name, now: Timestamp, change: impl FnOnce(&mut Line)) {
        let mut line = match self.lines.remove(name) {
            Some(line) => {
                self.states[line.breaker.state() as usize] -= 1;
                line
            }
            None => Line::default(),
        };
        change(&mut line);
        let ready_at = line.ready_at(self.per_host, now);
        if line.ready_at != ready_at {
            if let Some(at) = line.ready_at {
                self.ready.remove(&(at, Arc::clone(name)));
            }
            if let Some(at) = ready_at {
                self.ready.insert((at, Arc::clone(name)));
            }
            line.ready_at = ready_at;
        }
        if !line.waiting.is_empty() || line.out > 0 || !line.breaker.is_fresh() {
            self.states[line.breaker.state() as usize] += 1;
            self.lines.insert(Arc::clone(name), line);
        }
    }
}

impl Line {
    fn goes_out(&mut self) {
        self.out += 1;
        self.breaker.goes_out();
    }

    /// When its next delivery may go out; none while nothing waits, or while others have to end first.
    fn ready_at(&self, most: usize, now: Timestamp) -> Option<Timestamp> {
        let (due, _) = *self.waiting.first()?;
        match self.breaker.leave(self.out, most, now) {
            Leave::Now => Some(due),
            Leave::At(at) => Some(due.max(at)),
            Leave::AfterOthers => None,
        }
    }
}

#[cfg(test)]
mod tests;

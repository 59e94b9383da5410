//! Which delivery is next: of the receiver with the fewest out, by due time, with a limit and a circuit breaker for each
//! receiver. It knows only what it was told; the store has the truth.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
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

/// How long the breaker of a receiver is remembered that nothing waits for.
const REMEMBERED: Duration = Duration::from_secs(300);

/// Host and port of a receiver, shared by all that waits for it.
pub(super) type Name = Arc<str>;

/// The schedule.
#[derive(Debug)]
pub(super) struct Schedule {
    per_host: usize,
    lines: HashMap<Name, Line>,
    /// Receivers whose next delivery may go out, those with the fewest out first.
    ready: BTreeSet<(usize, Timestamp, Name)>,
    /// Receivers whose next delivery may go out then.
    later: BTreeSet<(Timestamp, Name)>,
    /// Receivers that are known for their breaker alone, since then.
    idle: BTreeSet<(Timestamp, Name)>,
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
    standing: Standing,
}

/// In which of the schedule's sets a line stands, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Standing {
    /// In none: others have to end first, or it is new.
    #[default]
    Nowhere,
    Ready(usize, Timestamp),
    Later(Timestamp),
    Idle(Timestamp),
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
            later: BTreeSet::new(),
            idle: BTreeSet::new(),
            waiting: HashMap::new(),
            states: [0; 4],
        }
    }

    /// Lets so many out to one receiver at a time from now on.
    pub(super) fn set_per_host(&mut self, per_host: usize, now: Timestamp) {
        self.per_host = per_host;
        let names: Vec<_> = self.lines.keys().cloned().collect();
        for name in names {
            self.change(&name, now, |_| {});
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

    /// Takes the next delivery that may go out, if there is one; it is out then. When places are `scarce`, only those
    /// of receivers that have none out.
    pub(super) fn next(&mut self, scarce: bool, now: Timestamp) -> Option<(RunId, Name)> {
        self.move_on(now);
        let (out, _, name) = self.ready.first()?.clone();
        if scarce && out > 0 {
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
        let ready = self.ready.first().map(|(_, at, _)| *at);
        ready.or_else(|| self.later.first().map(|(at, _)| *at))
    }

    /// Lets one more delivery out that never waited here, unless others wait or the receiver has enough; when places
    /// are `scarce`, only if it has none out.
    pub(super) fn enter(&mut self, receiver: &str, scarce: bool, now: Timestamp) -> bool {
        let most = self.per_host;
        let may = match self.lines.get(receiver) {
            None => most > 0,
            Some(line) => {
                line.waiting.first().is_none_or(|(due, _)| *due > now)
                    && line.breaker.leave(line.out, most, now) == Leave::Now
                    && !(scarce && line.out > 0)
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

    /// Takes up what has become due, and forgets receivers that nothing waits for.
    fn move_on(&mut self, now: Timestamp) {
        while let Some((at, name)) = self.later.first().cloned()
            && at <= now
        {
            self.change(&name, now, |_| {});
        }
        while let Some((since, name)) = self.idle.first().cloned()
            && now.since(since) >= REMEMBERED
        {
            self.change(&name, now, |line| line.breaker = Breaker::default());
        }
    }

    /// Changes a line, and keeps its standing and the counts. A line with nothing to remember goes.
    fn change(&mut self, name: &Name, now: Timestamp, change: impl FnOnce(&mut Line)) {
        let mut line = match self.lines.remove(name) {
            Some(line) => {
                self.states[line.breaker.state() as usize] -= 1;
                line
            }
            None => Line::default(),
        };
        change(&mut line);
        let standing = line.standing(self.per_host, now);
        if line.standing != standing {
            match line.standing {
                Standing::Nowhere => {}
                Standing::Ready(out, at) => drop(self.ready.remove(&(out, at, Arc::clone(name)))),
                Standing::Later(at) => drop(self.later.remove(&(at, Arc::clone(name)))),
                Standing::Idle(since) => drop(self.idle.remove(&(since, Arc::clone(name)))),
            }
            match standing {
                Standing::Nowhere => {}
                Standing::Ready(out, at) => drop(self.ready.insert((out, at, Arc::clone(name)))),
                Standing::Later(at) => drop(self.later.insert((at, Arc::clone(name)))),
                Standing::Idle(since) => drop(self.idle.insert((since, Arc::clone(name)))),
            }
            line.standing = standing;
        }
        if !line.is_idle() || !line.breaker.is_fresh() {
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

    /// Whether nothing waits and nothing is out.
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.out == 0
    }

    /// Where it belongs.
    fn standing(&self, most: usize, now: Timestamp) -> Standing {
        let Some((due, _)) = self.waiting.first().copied() else {
            return match self.standing {
                _ if !self.is_idle() || self.breaker.is_fresh() => Standing::Nowhere,
                Standing::Idle(since) => Standing::Idle(since),
                _ => Standing::Idle(now),
            };
        };
        let at = match self.breaker.leave(self.out, most, now) {
            Leave::Now => due,
            Leave::At(at) => due.max(at),
            Leave::AfterOthers => return Standing::Nowhere,
        };
        if at <= now {
            Standing::Ready(self.out, at)
        } else {
            Standing::Later(at)
        }
    }
}

#[cfg(test)]
mod tests;

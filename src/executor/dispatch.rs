//! The dispatcher: claims queued runs for free slots, fairly between routes.

use std::{sync::Arc, time::Duration};

use super::{
    Inner,
    attempt::{self, Begin},
    lane::Lane,
};

/// Between two looks at everything, whatever the wake-ups say: the store is the truth.
const POLL: Duration = Duration::from_secs(1);

/// The most runs that one route may claim before the next one has its turn.
const TURN: usize = 32;

/// Claims and starts queued runs until the drain.
pub(super) async fn dispatch(executor: Arc<Inner>) {
    let mut dispatcher = Dispatcher {
        executor: &executor,
        first: 0,
        failing: false,
    };
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut everything = true;
    loop {
        // Registered before the look: what is queued after it is told.
        let queued = executor.parts.store.notices().runs.notified();
        tokio::pin!(queued);
        queued.as_mut().enable();
        dispatcher.look(everything).await;
        everything = tokio::select! {
            () = executor.draining.cancelled() => return,
            () = queued => false,
            () = executor.freed.notified() => false,
            () = tokio::time::sleep(dispatcher.until_next_due()) => false,
            _ = poll.tick() => true,
        };
    }
}

struct Dispatcher<'a> {
    executor: &'a Arc<Inner>,
    /// Whose turn is first: it moves on with every look.
    first: usize,
    failing: bool,
}

impl Dispatcher<'_> {
    /// Turn by turn, until no lane has both a free slot and a due run.
    async fn look(&mut self, everything: bool) {
        let lanes = self.executor.lanes.load_full();
        lanes.share(self.executor.parts.store.sharers());
        let lanes = &lanes.all;
        let mut everything = everything;
        loop {
            let mut more = false;
            for turn in 0..lanes.len() {
                let lane = &lanes[(self.first + turn) % lanes.len()];
                if self.executor.draining.is_cancelled() {
                    return;
                }
                if everything || lane.wants_look(self.executor.parts.clock.now()) {
                    more |= self.claim(lane).await;
                }
            }
            self.first = self.first.wrapping_add(1);
            if !more {
                return;
            }
            everything = false;
        }
    }

    /// Gives a lane one turn; whether it may have use of another.
    async fn claim(&mut self, lane: &Arc<Lane>) -> bool {
        let executor = self.executor;
        let (mut slots, look) = lane.take(TURN, || executor.tasks.token());
        if slots.is_empty() {
            return false;
        }
        let claiming = executor.live.claiming();
        let claims = match executor
            .parts
            .store
            .claim_runs(&lane.route, slots.len())
            .await
        {
            Ok(claims) => claims,
            Err(error) => {
                if !self.failing {
                    tracing::error!(%error, route = lane.route, "queued runs cannot be claimed; trying on");
                }
                self.failing = true;
                lane.look_failed(executor.parts.clock.now().after(POLL));
                return false;
            }
        };
        self.failing = false;
        let now = executor.parts.clock.now();
        lane.looked(look, claims.next_due, now);
        let any = !claims.claimed.is_empty();
        for claim in claims.claimed {
            if let Some(slot) = slots.pop() {
                attempt::start(executor, Some(slot), claim, Begin::Now(None));
            }
        }
        drop(claiming);
        any && lane.wants_look(now)
    }

    fn until_next_due(&self) -> Duration {
        let now = self.executor.parts.clock.now();
        let lanes = self.executor.lanes.load();
        let due = lanes
            .all
            .iter()
            .map(|lane| lane.next_due())
            .filter(|due| *due > now)
            .min();
        due.map_or(POLL, |due| due.since(now).min(POLL))
    }
}

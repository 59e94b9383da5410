//! What the store in memory holds, and its indexes.

use std::collections::{BTreeSet, HashMap};

use raincheck::{
    model::{
        attempt::Attempts,
        books::Books,
        delivery::DeliveryState,
        exchange::{StoredRequest, StoredResponse},
        filter::Filter,
        id::RunId,
        run::{End, Run, RunState},
        secret::Secret,
        time::Timestamp,
    },
    store::{
        DeliveryClaim, IdempotencyKey, Listed, Page, PendingDelivery, SettleError,
        ending::{end_run, receiver_address},
    },
};

use super::FENCE;

#[derive(Default)]
pub(super) struct State {
    // Boxed, so that the table does not stall while it grows.
    pub(super) runs: HashMap<RunId, Box<Entry>>,
    pub(super) queued: BTreeSet<(String, Timestamp, RunId)>,
    pub(super) pending: BTreeSet<(Timestamp, RunId)>,
    pub(super) done: BTreeSet<(Timestamp, RunId)>,
    pub(super) keys: HashMap<[u8; 32], (RunId, [u8; 32])>,
    pub(super) tombstones: HashMap<RunId, Timestamp>,
    pub(super) unfinished: HashMap<String, u64>,
    pub(super) removed: Books,
}

pub(super) struct Entry {
    pub(super) run: Run,
    pub(super) request: Option<StoredRequest>,
    pub(super) response: Option<StoredResponse>,
    pub(super) secret: Option<Secret>,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) held: bool,
    pub(super) attempts: Attempts,
}

pub(super) fn is_pending(run: &Run) -> bool {
    run.delivery
        .as_ref()
        .is_some_and(|delivery| delivery.state == DeliveryState::Pending)
}

pub(super) fn pending(run: &Run) -> Option<PendingDelivery> {
    Some(PendingDelivery {
        id: run.id,
        receiver: receiver_address(run.facts.webhook_endpoint.as_deref()?),
        due: due_delivery(run)?,
    })
}

pub(super) fn is_unfinished(run: &Run) -> bool {
    !run.state.is_final() || is_pending(run)
}

pub(super) fn due_delivery(run: &Run) -> Option<Timestamp> {
    run.delivery
        .as_ref()
        .and_then(|delivery| delivery.next_attempt_at)
}

impl State {
    pub(super) fn list(&self, filter: &Filter, page: Page) -> Listed {
        let all = self.runs.values().map(|entry| &entry.run);
        let mut runs: Vec<Run> = all
            .filter(|run| filter.takes(run) && page.before.is_none_or(|before| run.id < before))
            .cloned()
            .collect();
        runs.sort_by_key(|run| std::cmp::Reverse(run.id));
        let mut runs = runs.split_off(page.skip.min(runs.len()));
        let more = runs.len() > page.limit;
        runs.truncate(page.limit);
        let next = runs.last().map(|run| run.id).filter(|_| more);
        Listed { runs, next }
    }

    /// Changes an entry, and keeps the indexes.
    pub(super) fn change<T>(&mut self, id: RunId, work: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut entry = self.runs.remove(&id)?;
        self.index(&entry, false);
        let done = work(&mut entry);
        self.index(&entry, true);
        self.runs.insert(id, entry);
        Some(done)
    }

    pub(super) fn index(&mut self, entry: &Entry, enter: bool) {
        fn put<K: Ord>(set: &mut BTreeSet<K>, key: K, enter: bool) {
            if enter {
                set.insert(key);
            } else {
                set.remove(&key);
            }
        }
        let run = &entry.run;
        if run.state == RunState::Queued {
            let key = (run.policy.route.clone(), run.due_at, run.id);
            put(&mut self.queued, key, enter);
        }
        if let Some(due) = due_delivery(run)
            && !entry.held
        {
            put(&mut self.pending, (due, run.id), enter);
        }
        if is_unfinished(run) {
            match self.unfinished.get_mut(&run.policy.route) {
                Some(count) if enter => *count += 1,
                Some(count) => *count -= 1,
                None => drop(self.unfinished.insert(run.policy.route.clone(), 1)),
            }
        } else {
            let delivered = run.delivery.as_ref().and_then(|d| d.finished_at);
            let done = delivered.or(run.finished_at).unwrap_or_default();
            put(&mut self.done, (done, run.id), enter);
        }
    }

    pub(super) fn end(&mut self, id: RunId, end: End, came: Option<StoredResponse>, at: Timestamp) {
        self.change(id, |entry| {
            let (response, _) = end_run(&mut entry.run, end, came, at, "/_raincheck");
            entry.response = Some(response);
            entry.request = None;
            entry.held = false;
        });
    }

    /// The entry of a claim that is still ours.
    pub(super) fn claimed(&self, run: &Run, of_delivery: bool) -> Result<&Entry, SettleError> {
        let entry = self.runs.get(&run.id).ok_or(SettleError::WrongState)?;
        let over = if of_delivery {
            !is_pending(&entry.run)
        } else {
            entry.run.state.is_final()
        };
        let attempts = |run: &Run| {
            let delivery = run.delivery.as_ref().map(|delivery| delivery.attempts);
            (run.progress.attempts, delivery)
        };
        if over {
            Err(SettleError::WrongState)
        } else if entry.held && attempts(&entry.run) == attempts(run) {
            Ok(entry)
        } else {
            Err(SettleError::Fenced)
        }
    }
}

pub(super) fn delivery_claim(entry: &mut Entry) -> DeliveryClaim {
    entry.held = true;
    DeliveryClaim {
        run: entry.run.clone(),
        response: entry.response.clone().expect("a delivery has its response"),
        endpoint: entry.run.facts.webhook_endpoint.clone().unwrap_or_default(),
        secret: entry.secret.clone(),
        fence: FENCE,
    }
}

pub(super) fn count(books: &mut Books, run: &Run) {
    books.accepted += 1;
    *books.runs.entry(run.state.as_str()).or_default() += 1;
    if let Some(delivery) = &run.delivery {
        *books.deliveries.entry(delivery.state.as_str()).or_default() += 1;
    }
}

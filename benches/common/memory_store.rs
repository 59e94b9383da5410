//! A store in memory: what the gate costs without a disk. Include it with
//! `#[path = "common/memory_store.rs"] mod memory_store;`.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use raincheck::{
    model::{
        attempt::{Attempts, RunAttempt},
        books::Books,
        delivery::DeliveryState,
        exchange::{StoredRequest, StoredResponse},
        filter::Filter,
        id::RunId,
        retry::{self, Next},
        run::{End, Progress, Run, RunState},
        secret::Secret,
        time::{SharedClock, Timestamp},
    },
    store::{
        AcceptError, Accepted, Cancelled, Claims, DeliveryAttempt, DeliveryClaim, Fence, Found,
        Identity, Listed, NewRun, Notices, Page, PendingDelivery, Redelivered, RunClaim,
        SettleError, Settled, Settlement, Store, StoreError, Tidied, Unwritable, spool::Spool,
    },
};

mod memory_state;

use memory_state::{Entry, State, count, delivery_claim, due_delivery, is_pending, pending};

const FENCE: Fence = Fence { slot: 0, epoch: 1 };
/// How many runs `tidy` and `expire` take at a time.
const PIECE: usize = 500;

/// A store in memory; it forgets all when it is dropped.
pub(crate) struct MemoryStore {
    identity: Identity,
    clock: SharedClock,
    retention: Duration,
    last_key: AtomicI64,
    notices: Notices,
    spool: Spool,
    closed: AtomicBool,
    state: Mutex<State>,
}

impl MemoryStore {
    /// An empty store; long bodies go to files in `spool`, which must exist.
    pub(crate) fn new(spool: PathBuf, clock: SharedClock, retention: Duration) -> Arc<Self> {
        Arc::new(Self {
            identity: Identity {
                loop_id: "raincheck-memory".into(),
                key: Secret::new(*b"0123456789abcdef0123456789abcdef"),
            },
            spool: Spool::new(spool, FENCE, Arc::clone(&clock)),
            clock,
            retention,
            last_key: AtomicI64::new(0),
            notices: Notices::default(),
            closed: AtomicBool::new(false),
            state: Mutex::default(),
        })
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::Closed);
        }
        Ok(self.state.lock().expect("no verb panics"))
    }

    fn tell(&self, run: &Run, held: bool) {
        if run.state == RunState::Queued {
            self.notices.runs.notify_waiters();
        }
        if is_pending(run) && !held {
            self.notices
                .deliveries
                .push(pending(run).into_iter().collect());
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn next_id(&self) -> RunId {
        let now = RunId::first_key_at(self.clock.now());
        let next = |last: i64| now.max(last + 8);
        let last = self
            .last_key
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(next(last))
            })
            .unwrap_or_default();
        RunId::from_parts(next(last), fastrand::u64(..))
    }

    fn ready(&self) -> Result<(), Unwritable> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(Unwritable::Closed);
        }
        Ok(())
    }

    fn unfinished(&self, route: &str) -> u64 {
        self.open()
            .ok()
            .and_then(|state| state.unfinished.get(route).copied())
            .unwrap_or_default()
    }

    fn notices(&self) -> &Notices {
        &self.notices
    }

    async fn accept(&self, new: NewRun) -> Result<Accepted, AcceptError> {
        let mut state = self.open().map_err(|_| Unwritable::Closed)?;
        if let Some(key) = &new.key {
            if let Some((id, fingerprint)) = state.keys.get(&key.scope) {
                let known = Box::new(state.runs[id].run.clone());
                return Ok(if *fingerprint == key.fingerprint {
                    Accepted::Replayed(known)
                } else {
                    Accepted::KeyReused(*id)
                });
            }
            state.keys.insert(key.scope, (new.id, key.fingerprint));
        }
        let run = Run {
            id: new.id,
            state: if new.start {
                RunState::Running
            } else {
                RunState::Queued
            },
            reason: None,
            policy: new.policy,
            facts: new.facts,
            accepted_at: new.accepted_at,
            started_at: new.start.then_some(new.accepted_at),
            finished_at: None,
            due_at: new.accepted_at,
            progress: Progress {
                attempts: u32::from(new.start),
                ..Progress::default()
            },
            response: None,
            delivery: None,
        };
        let claim = new.start.then(|| {
            Box::new(RunClaim {
                run: run.clone(),
                request: new.request.clone(),
                fence: FENCE,
            })
        });
        self.tell(&run, new.start);
        let entry = Box::new(Entry {
            run,
            secret: new.request.webhook_secret.clone(),
            request: Some(new.request),
            response: None,
            key: new.key,
            held: new.start,
            attempts: Attempts::default(),
        });
        state.index(&entry, true);
        state.runs.insert(new.id, entry);
        Ok(Accepted::New(claim))
    }

    async fn claim_runs(&self, route: &str, limit: usize) -> Result<Claims<RunClaim>, StoreError> {
        let now = self.clock.now();
        let mut state = self.open()?;
        let first = (
            route.to_owned(),
            Timestamp::default(),
            RunId::from_bytes([0; 16]),
        );
        let waiting = |state: &State| {
            let waiting = state.queued.range(first.clone()..);
            waiting
                .take_while(|(of, ..)| of == route)
                .map(|(_, due, id)| (*due, *id))
                .take(limit.saturating_add(1))
                .collect::<Vec<_>>()
        };
        let mut claimed = Vec::new();
        for (due, id) in waiting(&state).into_iter().take(limit) {
            if due > now {
                break;
            }
            claimed.extend(state.change(id, |entry| {
                entry.run.state = RunState::Running;
                entry.run.progress.attempts += 1;
                entry.run.started_at.get_or_insert(now);
                entry.held = true;
                RunClaim {
                    run: entry.run.clone(),
                    request: entry.request.clone().expect("a queued run has its request"),
                    fence: FENCE,
                }
            }));
        }
        let next_due = waiting(&state).first().map(|(due, _)| *due);
        Ok(Claims { claimed, next_due })
    }

    async fn settle_run(
        &self,
        claim: RunClaim,
        settlement: Settlement,
    ) -> Result<Settled, SettleError> {
        let now = self.clock.now();
        let mut state = self.open().map_err(|_| SettleError::Closed)?;
        state.claimed(&claim.run, false)?;
        let id = claim.run.id;
        state.change(id, |entry| {
            let number = entry.run.progress.attempts;
            entry.run.progress = settlement.progress;
            if number > 1 || matches!(settlement.next, Next::Again { .. }) {
                let (began, outcome) = (settlement.began, settlement.outcome);
                let told = RunAttempt::new(number, began, now, outcome);
                entry.attempts.of_run.push(told);
            }
        });
        match settlement.next {
            Next::End(end) => state.end(id, end, settlement.response, now),
            Next::Again { due } => drop(state.change(id, |entry| {
                entry.run.state = RunState::Queued;
                entry.run.due_at = if due <= now {
                    entry.run.accepted_at
                } else {
                    due
                };
                entry.held = false;
            })),
        }
        let wanted = settlement.claim_delivery;
        let settled = state.change(id, |entry| {
            let delivery = (wanted && due_delivery(&entry.run).is_some_and(|due| due <= now))
                .then(|| Box::new(delivery_claim(entry)));
            Settled {
                run: entry.run.clone(),
                delivery,
            }
        });
        let settled = settled.ok_or(SettleError::WrongState)?;
        self.tell(&settled.run, settled.delivery.is_some());
        Ok(settled)
    }

    async fn cancel(&self, id: RunId) -> Result<Cancelled, StoreError> {
        let mut state = self.open()?;
        let Some(entry) = state.runs.get(&id) else {
            return Ok(if state.tombstones.contains_key(&id) {
                Cancelled::Expired
            } else {
                Cancelled::Unknown
            });
        };
        let run = Box::new(entry.run.clone());
        if run.state == RunState::Cancelled {
            return Ok(Cancelled::Before(run));
        }
        if run.state.is_final() {
            return Ok(Cancelled::Finished(run));
        }
        state.end(id, End::Cancelled, None, self.clock.now());
        let run = Box::new(state.runs[&id].run.clone());
        self.tell(&run, false);
        Ok(Cancelled::Now(run))
    }

    async fn expire(&self) -> Result<Vec<Run>, StoreError> {
        let now = self.clock.now();
        let mut state = self.open()?;
        let late: Vec<_> = state
            .queued
            .iter()
            .filter_map(|(.., id)| Some((*id, retry::after_waiting(&state.runs[id].run, now)?)))
            .take(PIECE)
            .collect();
        let ended = late.into_iter().map(|(id, end)| {
            state.end(id, end, None, now);
            let run = state.runs[&id].run.clone();
            self.tell(&run, false);
            run
        });
        Ok(ended.collect())
    }

    async fn pending_deliveries(
        &self,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<PendingDelivery>, StoreError> {
        let state = self.open()?;
        let mut waiting: Vec<_> = state
            .pending
            .iter()
            .filter(|(_, id)| after.is_none_or(|after| *id > after))
            .filter_map(|(_, id)| pending(&state.runs[id].run))
            .collect();
        waiting.sort_by_key(|pending| pending.id);
        waiting.truncate(limit);
        Ok(waiting)
    }

    async fn claim_deliveries(&self, ids: Vec<RunId>) -> Result<Vec<DeliveryClaim>, StoreError> {
        let mut state = self.open()?;
        let claims = ids.into_iter().filter_map(|id| {
            let entry = state.runs.get(&id)?;
            if entry.held || !is_pending(&entry.run) {
                return None;
            }
            state.change(id, delivery_claim)
        });
        Ok(claims.collect())
    }

    async fn expire_deliveries(&self) -> Result<Vec<Run>, StoreError> {
        let now = self.clock.now();
        let mut state = self.open()?;
        let waiting: Vec<_> = state.pending.iter().map(|(_, id)| *id).collect();
        let ended = waiting.into_iter().filter_map(|id| {
            state.change(id, |entry| {
                let policy = Arc::clone(&entry.run.policy);
                let delivery = entry.run.delivery.as_mut()?;
                delivery
                    .give_up(&policy.webhook, now)
                    .then(|| entry.run.clone())
            })?
        });
        Ok(ended.collect())
    }

    async fn redeliver(&self, ids: Vec<RunId>) -> Result<Vec<Redelivered>, StoreError> {
        let now = self.clock.now();
        let mut state = self.open()?;
        let answers = ids.into_iter().map(|id| {
            let expired = state.tombstones.contains_key(&id);
            let answer = state.change(id, |entry| match &mut entry.run.delivery {
                None => Redelivered::NoDelivery(Box::new(entry.run.clone())),
                Some(_) if entry.held => Redelivered::UnderWay(Box::new(entry.run.clone())),
                Some(delivery) => {
                    delivery.begin_again(now);
                    Redelivered::Now(Box::new(entry.run.clone()))
                }
            });
            match answer {
                Some(answer) => {
                    if let Redelivered::Now(run) = &answer {
                        self.tell(run, false);
                    }
                    answer
                }
                None if expired => Redelivered::Expired,
                None => Redelivered::Unknown,
            }
        });
        Ok(answers.collect())
    }

    async fn attempts(&self, id: RunId) -> Result<Attempts, StoreError> {
        let state = self.open()?;
        let Some(entry) = state.runs.get(&id) else {
            return Ok(Attempts::default());
        };
        let mut attempts = entry.attempts.clone();
        if attempts.of_run.is_empty() {
            attempts.of_run.extend(RunAttempt::only(&entry.run));
        }
        Ok(attempts)
    }

    async fn list(&self, filter: Filter, page: Page) -> Result<Listed, StoreError> {
        Ok(self.open()?.list(&filter, page))
    }

    async fn count(&self, filter: Filter) -> Result<u64, StoreError> {
        let state = self.open()?;
        let taken = state.runs.values().filter(|entry| filter.takes(&entry.run));
        Ok(taken.count() as u64)
    }

    async fn settle_delivery(
        &self,
        claim: DeliveryClaim,
        attempt: DeliveryAttempt,
    ) -> Result<Run, SettleError> {
        let now = self.clock.now();
        let mut state = self.open().map_err(|_| SettleError::Closed)?;
        state.claimed(&claim.run, true)?;
        let run = state.change(claim.run.id, |entry| {
            let policy = Arc::clone(&entry.run.policy);
            if let Some(delivery) = &mut entry.run.delivery {
                delivery.settle(attempt.outcome, &policy.webhook, now, attempt.chance);
                let told = attempt.entry(delivery.attempts, delivery.next_attempt_at);
                entry.attempts.of_delivery.push(told);
                if delivery.state == DeliveryState::Delivered {
                    entry.secret = None;
                }
            }
            entry.held = false;
            entry.run.clone()
        });
        let run = run.ok_or(SettleError::WrongState)?;
        self.tell(&run, false);
        Ok(run)
    }

    async fn release_delivery(&self, claim: DeliveryClaim) -> Result<(), SettleError> {
        let mut state = self.open().map_err(|_| SettleError::Closed)?;
        state.claimed(&claim.run, true)?;
        state.change(claim.run.id, |entry| entry.held = false);
        Ok(())
    }

    async fn find(&self, id: RunId) -> Result<Found, StoreError> {
        let state = self.open()?;
        Ok(match state.runs.get(&id) {
            Some(entry) => Found::Run(Box::new(entry.run.clone())),
            None if state.tombstones.contains_key(&id) => Found::Expired,
            None => Found::Unknown,
        })
    }

    async fn request(&self, id: RunId) -> Result<Option<StoredRequest>, StoreError> {
        let state = self.open()?;
        Ok(state.runs.get(&id).and_then(|entry| entry.request.clone()))
    }

    async fn response(&self, id: RunId) -> Result<Option<StoredResponse>, StoreError> {
        let state = self.open()?;
        Ok(state.runs.get(&id).and_then(|entry| entry.response.clone()))
    }

    fn spool(&self) -> &Spool {
        &self.spool
    }

    async fn tidy(&self) -> Result<Tidied, StoreError> {
        let now = self.clock.now();
        let until = now.before(self.retention);
        let mut state = self.open()?;
        let before = state.tombstones.len();
        state.tombstones.retain(|_, until| *until > now);
        let tombstones = (before - state.tombstones.len()) as u64;
        let old: Vec<_> = state
            .done
            .iter()
            .take_while(|(done, _)| *done <= until)
            .take(PIECE)
            .map(|(_, id)| *id)
            .collect();
        for id in &old {
            let Some(entry) = state.runs.remove(id) else {
                continue;
            };
            state.index(&entry, false);
            count(&mut state.removed, &entry.run);
            if let Some(key) = entry.key {
                state.keys.remove(&key.scope);
            }
            state.tombstones.insert(*id, now.after(self.retention));
        }
        Ok(Tidied {
            runs: old.len() as u64,
            tombstones,
            files: 0,
            more: old.len() == PIECE,
        })
    }

    async fn books(&self) -> Result<Books, StoreError> {
        let state = self.open()?;
        let mut books = state.removed.clone();
        for entry in state.runs.values() {
            count(&mut books, &entry.run);
        }
        Ok(books)
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

//! Where runs are kept: every change is a whole state transition, in domain verbs; each back end does each verb in its
//! best way, and all of them pass one conformance suite.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::model::{
    attempt::{Attempts, DeliveryTry, millis},
    books::Books,
    delivery::DeliveryOutcome,
    exchange::{StoredRequest, StoredResponse},
    filter::Filter,
    id::RunId,
    policy::Policy,
    replica::Sharing,
    retry::{Next, Outcome},
    run::{Facts, Run, RunState},
    secret::Secret,
    time::Timestamp,
};

pub use backup::{Backup, BackupError};
pub use changes::{AllChanges, Changed, Changes, Waiter};
pub use error::{AcceptError, SettleError, StoreError, Unwritable};
pub use outcome::{Cancelled, Found, Redelivered, Tidied};
pub use pending::PendingNotices;

/// A store of runs.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What was made once for this store and never changes.
    fn identity(&self) -> &Identity;

    /// Issues a new run id: later than every id issued before it, across restarts and clock steps.
    fn next_id(&self) -> RunId;

    /// Whether a run can be accepted at this moment, from memory: the gate asks before it reads a body.
    ///
    /// # Errors
    /// Says why not: the queue is full, the disk's reserve is reached, or writing fails.
    fn ready(&self) -> Result<(), Unwritable>;

    /// How many unfinished runs a route has, pending deliveries included; from memory.
    fn unfinished(&self, route: &str) -> u64;

    /// How many processes share what there is to do, this one included.
    fn sharers(&self) -> usize {
        1
    }

    /// Whether what was claimed under this fence is certainly still this process's, as far as that can be known without
    /// asking anybody. False also says: it may be.
    fn holds(&self, _fence: Fence) -> bool {
        true
    }

    /// Told after commits that left work for a worker. A notice may be lost without harm.
    fn notices(&self) -> &Notices;

    /// Stores a run. Returns once it is committed (and, unless `durability = "relaxed"`, fsynced).
    ///
    /// # Errors
    /// [`AcceptError`] only when it is certain that the run is not stored.
    async fn accept(&self, new: NewRun) -> Result<Accepted, AcceptError>;

    /// Takes up to `limit` queued and due runs of a route, oldest first; each is then running, its attempt counted and
    /// its start committed. The claim of a run that may not be repeated is fsynced before this returns.
    ///
    /// # Errors
    /// When the store cannot be read or written; nothing is claimed then.
    async fn claim_runs(&self, route: &str, limit: usize) -> Result<Claims<RunClaim>, StoreError>;

    /// Records how the attempt of a claim ended: queued again, or ended (the one function that ends runs then also
    /// creates the delivery, in the same transaction). Holds on through times in which writing fails.
    ///
    /// # Errors
    /// [`SettleError`] when the claim is no longer ours, or the run has ended otherwise (a cancel).
    async fn settle_run(
        &self,
        claim: RunClaim,
        settlement: Settlement,
    ) -> Result<Settled, SettleError>;

    /// Ends an unfinished run as cancelled. Its upstream connection is closed by who asks for this, afterwards.
    ///
    /// # Errors
    /// When the store cannot be read or written; the run goes on then.
    async fn cancel(&self, id: RunId) -> Result<Cancelled, StoreError>;

    /// Which of these runs have been cancelled, by whichever process.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn cancelled(&self, ids: Vec<RunId>) -> Result<Vec<RunId>, StoreError> {
        let mut cancelled = Vec::new();
        for id in ids {
            if matches!(self.find(id).await?, Found::Run(run) if run.state == RunState::Cancelled) {
                cancelled.push(id);
            }
        }
        Ok(cancelled)
    }

    /// Ends queued runs that have waited too long, of any route (see [`crate::model::retry::after_waiting`]); returns
    /// them. Does a bounded piece of work: if it returns any, there may be more.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    async fn expire(&self) -> Result<Vec<Run>, StoreError>;

    /// Pending deliveries that nobody holds, due or not, in the order of their runs' ids: at most `limit` behind
    /// `after`. For who schedules them; what changes later is told by [`Notices::deliveries`].
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn pending_deliveries(
        &self,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<PendingDelivery>, StoreError>;

    /// Takes these deliveries, as far as they are pending and nobody holds them.
    ///
    /// # Errors
    /// When the store cannot be read or written; nothing is claimed then.
    async fn claim_deliveries(&self, ids: Vec<RunId>) -> Result<Vec<DeliveryClaim>, StoreError>;

    /// Records one attempt of a delivery. Holds on through times in which writing fails. A delivered one's secrets
    /// are overwritten in the same transaction.
    ///
    /// # Errors
    /// [`SettleError`] when the claim is no longer ours.
    async fn settle_delivery(
        &self,
        claim: DeliveryClaim,
        attempt: DeliveryAttempt,
    ) -> Result<Run, SettleError>;

    /// Gives a claimed delivery back as it was: nothing was sent.
    ///
    /// # Errors
    /// [`SettleError`] when the claim is no longer ours.
    async fn release_delivery(&self, claim: DeliveryClaim) -> Result<(), SettleError>;

    /// Ends deliveries as dead whose deadline has come while nobody held them (see
    /// [`crate::model::delivery::Delivery::give_up`]); returns their runs. Does a bounded piece of work: if it returns
    /// any, there may be more.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    async fn expire_deliveries(&self) -> Result<Vec<Run>, StoreError>;

    /// Begins a new round of attempts for these runs' deliveries: dead and delivered ones, and pending ones that
    /// nobody holds, which are then due at once. Answers in the order of `ids`.
    ///
    /// # Errors
    /// When the store cannot be read or written; nothing is changed then.
    async fn redeliver(&self, ids: Vec<RunId>) -> Result<Vec<Redelivered>, StoreError>;

    /// Looks a run up.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn find(&self, id: RunId) -> Result<Found, StoreError>;

    /// An unfinished run's request, its secret included; none once it has ended.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn request(&self, id: RunId) -> Result<Option<StoredRequest>, StoreError>;

    /// A finished run's response; none while it is unfinished or gone.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn response(&self, id: RunId) -> Result<Option<StoredResponse>, StoreError>;

    /// The attempts of a run and of its delivery, in their order; none if the run is gone.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn attempts(&self, id: RunId) -> Result<Attempts, StoreError>;

    /// Runs that `filter` takes, the newest first. Few rows are read: a page with a next one may be short, or empty.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn list(&self, filter: Filter, page: Page) -> Result<Listed, StoreError>;

    /// How many runs `filter` takes; counting ends at [`COUNT_MAX`] rows.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn count(&self, filter: Filter) -> Result<u64, StoreError>;

    /// Where long bodies are written and read.
    fn spool(&self) -> &spool::Spool;

    /// Removes what has outlived the retention: runs become tombstones, tombstones go, spool files without a row too.
    /// Does a bounded piece of work and says whether there is more.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    async fn tidy(&self) -> Result<Tidied, StoreError>;

    /// The books: what was ever accepted, and where it stands.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn books(&self) -> Result<Books, StoreError>;

    /// Who shares the store, and the days that it is kept in; both empty if it is this process's own.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn sharing(&self) -> Result<Sharing, StoreError> {
        Ok(Sharing::default())
    }

    /// Begins a copy of the whole store as it is now, while it is in use. One at a time.
    ///
    /// # Errors
    /// [`BackupError`]; nothing is left behind then.
    async fn backup(&self) -> Result<Backup, BackupError> {
        Err(BackupError::Elsewhere)
    }

    /// Makes sure that nobody else uses the store, and ends or frees what those had under way that died: for a copy.
    ///
    /// # Errors
    /// When somebody uses it, or it cannot be read or written.
    async fn alone(&self) -> Result<(), StoreError> {
        // An embedded one is opened so.
        Ok(())
    }

    /// All that is held of up to `limit` runs behind `after`, the oldest first; for a store without other users.
    ///
    /// # Errors
    /// When the store cannot be read, or does not know how.
    async fn export(
        &self,
        _after: Option<RunId>,
        _limit: usize,
    ) -> Result<Vec<moving::Moved>, StoreError> {
        Err(StoreError::Failed("it cannot be copied".to_owned()))
    }

    /// Stores runs as another store held them.
    ///
    /// # Errors
    /// When the store cannot be written, or does not know how; none of them is stored then.
    async fn import(&self, _moved: Vec<moving::Moved>) -> Result<(), StoreError> {
        Err(StoreError::Failed("nothing can be copied to it".to_owned()))
    }

    /// Has another store's identity from the next opening on.
    ///
    /// # Errors
    /// As [`Store::import`].
    async fn take_identity(&self, _identity: &Identity) -> Result<(), StoreError> {
        Err(StoreError::Failed("nothing can be copied to it".to_owned()))
    }

    /// Commits what is queued and closes. Later calls fail with [`StoreError::Closed`].
    async fn close(&self);
}

/// The most rows that [`Store::list`] reads for one page, beside those that it skips.
pub const LIST_MAX: usize = 50_000;
/// The most rows that [`Store::count`] reads.
pub const COUNT_MAX: usize = 2_000_000;

/// What was made once for a store: random, never shown.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Our mark in `CDN-Loop`: a token that needs no quoting.
    pub loop_id: String,
    /// Keys the tokens of `Location` and the hashes of owner headers.
    pub key: Secret,
}

/// A run to be stored.
#[derive(Debug)]
pub struct NewRun {
    /// From [`Store::next_id`].
    pub id: RunId,
    /// What its route promises it.
    pub policy: Arc<Policy>,
    /// What was asked for.
    pub facts: Facts,
    /// What will be sent.
    pub request: StoredRequest,
    /// Its idempotency key, if it has one.
    pub key: Option<IdempotencyKey>,
    /// When.
    pub accepted_at: Timestamp,
    /// Whether the caller has a free slot for it: then it is stored as started, in the same commit.
    pub start: bool,
}

/// An idempotency key, hashed: route, owner and key; and the request's fingerprint: method, target, body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// SHA-256 of the key within its scope.
    pub scope: [u8; 32],
    /// SHA-256 of the request.
    pub fingerprint: [u8; 32],
}

/// What became of a [`NewRun`].
#[derive(Debug)]
pub enum Accepted {
    /// It is stored. The claim is there if it was stored as started.
    New(Option<Box<RunClaim>>),
    /// The same request was accepted under this key before; nothing was stored.
    Replayed(Box<Run>),
    /// Another request was accepted under this key before; nothing was stored.
    KeyReused(RunId),
}

/// A run that this process carries out. Only a claim can be settled.
#[derive(Debug)]
pub struct RunClaim {
    /// The run, running; its attempt is counted.
    pub run: Run,
    /// What to send.
    pub request: StoredRequest,
    /// Whose it is.
    pub fence: Fence,
}

/// A delivery that this process carries out.
#[derive(Debug)]
pub struct DeliveryClaim {
    /// The run; its `delivery` is there.
    pub run: Run,
    /// What to tell.
    pub response: StoredResponse,
    /// The receiver's URL.
    pub endpoint: String,
    /// The caller's `X-Webhook-Secret`.
    pub secret: Option<Secret>,
    /// Whose it is.
    pub fence: Fence,
}

/// Who holds a claim: a slot (one of the processes on this store) and the slot's epoch, which a successor raises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// The process's slot, 0 to 7.
    pub slot: u8,
    /// How often the slot had been taken when the claim was made.
    pub epoch: u64,
}

/// What was claimed, and when there will be more.
#[derive(Debug)]
pub struct Claims<T> {
    /// The claims, to be settled one by one.
    pub claimed: Vec<T>,
    /// When the next one is due that is not claimed; none if nothing waits. In the past if `limit` was reached.
    pub next_due: Option<Timestamp>,
}

/// A delivery that waits for its next attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingDelivery {
    /// Its run.
    pub id: RunId,
    /// Host and port of the receiver (see [`ending::receiver_address`]).
    pub receiver: String,
    /// When the attempt is due.
    pub due: Timestamp,
}

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Only runs older than this one.
    pub before: Option<RunId>,
    /// How many are left out first.
    pub skip: usize,
    /// How many at most.
    pub limit: usize,
}

/// A page of a list.
#[derive(Debug)]
pub struct Listed {
    /// The runs, the newest first.
    pub runs: Vec<Run>,
    /// [`Page::before`] of the next page; none if this is the last one.
    pub next: Option<RunId>,
}

/// How the attempt of a run ended, decided by [`crate::model::retry::after_attempt`].
#[derive(Debug)]
pub struct Settlement {
    /// When the attempt began.
    pub began: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// What its attempts have used up by now.
    pub progress: crate::model::run::Progress,
    /// What becomes of it.
    pub next: Next,
    /// The response, if a whole one came; kept if the run ends with it.
    pub response: Option<StoredResponse>,
    /// Whether the courier has room to tell the webhook at once: the delivery is then claimed in the same commit.
    pub claim_delivery: bool,
}

/// A settled run.
#[derive(Debug)]
pub struct Settled {
    /// As it now stands.
    pub run: Run,
    /// Its delivery, if it was asked for and there is one that is due.
    pub delivery: Option<Box<DeliveryClaim>>,
}

/// One attempt of a delivery, for the record.
#[derive(Debug, Clone)]
pub struct DeliveryAttempt {
    /// How it ended.
    pub outcome: DeliveryOutcome,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// The address that was dialled; of a name that was never connected to, the first of its addresses that may be
    /// dialled; none if there was none, or an attempt on a kept connection had no answer.
    pub address: Option<SocketAddr>,
    /// Why there was no answer, in words for the operator alone; empty if there was one.
    pub detail: String,
    /// The first KiB of the answer's body, as text; what is no UTF-8 is replaced.
    pub excerpt: String,
    /// In 0..1: makes the delay until the next attempt differ.
    pub chance: f64,
}

impl DeliveryAttempt {
    /// The entry of the log; `attempt` is its number, `next` when the next one is due.
    pub fn entry(&self, attempt: u32, next: Option<Timestamp>) -> DeliveryTry {
        let (status, error) = match self.outcome {
            DeliveryOutcome::Answered { status, .. } => (Some(status), None),
            DeliveryOutcome::Failed(error) => (None, Some(error)),
        };
        DeliveryTry {
            attempt,
            started_at: self.started_at,
            duration_ms: millis(self.took),
            address: self.address,
            status,
            error,
            detail: self.detail.clone(),
            answer: self.excerpt.clone(),
            next_attempt_at: next,
        }
    }
}

/// Wake-ups for the workers. Register before you look: `let told = notices.runs.notified(); look(); told.await`.
#[derive(Debug, Default)]
pub struct Notices {
    /// A run was queued.
    pub runs: Notify,
    /// Deliveries that nobody holds.
    pub deliveries: PendingNotices,
    /// A run has changed, for those who wait for it.
    pub changes: Changes,
    /// Other processes have changed something, or have died: runs that are live here may have been cancelled.
    pub others: Notify,
}

mod backup;
mod changes;
#[cfg(test)]
pub(crate) mod conformance;
pub mod ending;
mod error;
mod ids;
pub mod moving;
pub mod opening;
mod outcome;
mod pending;
pub mod postgres;
pub mod spool;
pub mod sqlite;

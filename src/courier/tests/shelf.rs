//! A store of deliveries alone, in memory: what the courier's tests put in, and what they wait for to come out.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::{
    model::{
        attempt::Attempts,
        books::Books,
        exchange::{StoredRequest, StoredResponse},
        filter::Filter,
        id::RunId,
        run::Run,
        secret::Secret,
        time::{Clock, ManualClock, Timestamp},
    },
    store::{
        AcceptError, Accepted, Cancelled, Claims, DeliveryAttempt, DeliveryClaim, Fence, Found,
        Identity, Listed, NewRun, Notices, Page, PendingDelivery, Redelivered, RunClaim,
        SettleError, Settled, Settlement, Store, StoreError, Tidied, Unwritable,
        ending::receiver_address, spool::Spool,
    },
};

pub(super) const FENCE: Fence = Fence { slot: 0, epoch: 1 };

/// What happened to a claim.
#[derive(Debug)]
pub(super) enum Event {
    Claimed,
    Settled(Box<Run>, DeliveryAttempt),
    Released(RunId),
}

pub(super) struct Shelf {
    identity: Identity,
    notices: Notices,
    spool: Spool,
    pub(super) clock: ManualClock,
    pending: Mutex<Vec<Item>>,
    events: mpsc::UnboundedSender<Event>,
    _folder: TempDir,
}

#[derive(Clone)]
struct Item {
    run: Run,
    response: StoredResponse,
    endpoint: String,
    secret: Option<Secret>,
    claimed: bool,
}

impl Item {
    fn of(claim: &DeliveryClaim) -> Self {
        Self {
            run: claim.run.clone(),
            response: claim.response.clone(),
            endpoint: claim.endpoint.clone(),
            secret: claim.secret.clone(),
            claimed: false,
        }
    }

    fn pending(&self) -> Option<PendingDelivery> {
        Some(PendingDelivery {
            id: self.run.id,
            receiver: receiver_address(&self.endpoint),
            due: self.run.delivery.as_ref()?.next_attempt_at?,
        })
    }

    fn claim(&self) -> DeliveryClaim {
        DeliveryClaim {
            run: self.run.clone(),
            response: self.response.clone(),
            endpoint: self.endpoint.clone(),
            secret: self.secret.clone(),
            fence: FENCE,
        }
    }
}

impl Shelf {
    pub(super) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<Event>) {
        let (events, seen) = mpsc::unbounded_channel();
        let clock = ManualClock::at(Timestamp::from_millis(1_700_000_000_000));
        let folder = tempfile::tempdir().unwrap();
        let shelf = Self {
            identity: Identity {
                loop_id: "rc-test".to_owned(),
                key: Secret::new(*b"key"),
            },
            notices: Notices::default(),
            spool: Spool::new(folder.path().to_owned(), FENCE, Arc::new(clock.clone())),
            clock,
            pending: Mutex::default(),
            events,
            _folder: folder,
        };
        (Arc::new(shelf), seen)
    }

    /// Puts a pending delivery in, and tells of it.
    pub(super) fn put(&self, claim: &DeliveryClaim) {
        self.pending.lock().push(Item::of(claim));
        self.tell(&claim.run);
    }

    fn tell(&self, run: &Run) {
        let pending = self.pending.lock();
        let item = pending.iter().find(|item| item.run.id == run.id);
        self.notices
            .deliveries
            .push(item.and_then(Item::pending).into_iter().collect());
    }

    /// Puts a delivery in that somebody holds already.
    pub(super) fn put_claimed(&self, claim: &DeliveryClaim) {
        let claimed = true;
        self.pending.lock().push(Item {
            claimed,
            ..Item::of(claim)
        });
    }

    fn update(&self, id: RunId, change: impl FnOnce(&mut Item)) -> Result<Run, SettleError> {
        let mut pending = self.pending.lock();
        let item = pending
            .iter_mut()
            .find(|item| item.run.id == id)
            .ok_or(SettleError::WrongState)?;
        item.claimed = false;
        change(item);
        Ok(item.run.clone())
    }
}

#[async_trait]
impl Store for Shelf {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn notices(&self) -> &Notices {
        &self.notices
    }

    fn spool(&self) -> &Spool {
        &self.spool
    }

    async fn pending_deliveries(
        &self,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<PendingDelivery>, StoreError> {
        let pending = self.pending.lock();
        let waiting = pending
            .iter()
            .filter(|item| !item.claimed && after.is_none_or(|after| item.run.id > after));
        Ok(waiting.filter_map(Item::pending).take(limit).collect())
    }

    async fn claim_deliveries(&self, ids: Vec<RunId>) -> Result<Vec<DeliveryClaim>, StoreError> {
        let mut pending = self.pending.lock();
        let wanted = pending
            .iter_mut()
            .filter(|item| !item.claimed && ids.contains(&item.run.id));
        let claims = wanted.map(|item| {
            item.claimed = true;
            let _ = self.events.send(Event::Claimed);
            item.claim()
        });
        Ok(claims.collect())
    }

    async fn settle_delivery(
        &self,
        claim: DeliveryClaim,
        attempt: DeliveryAttempt,
    ) -> Result<Run, SettleError> {
        let now = self.clock.now();
        let run = self.update(claim.run.id, |item| {
            let policy = Arc::clone(&item.run.policy);
            if let Some(delivery) = &mut item.run.delivery {
                delivery.settle(attempt.outcome, &policy.webhook, now, attempt.chance);
            }
        })?;
        self.tell(&run);
        let _ = self
            .events
            .send(Event::Settled(Box::new(run.clone()), attempt));
        Ok(run)
    }

    async fn release_delivery(&self, claim: DeliveryClaim) -> Result<(), SettleError> {
        let run = self.update(claim.run.id, |_| {})?;
        self.tell(&run);
        let _ = self.events.send(Event::Released(claim.run.id));
        Ok(())
    }

    async fn close(&self) {}

    fn next_id(&self) -> RunId {
        unreachable!("the courier makes no runs")
    }

    fn ready(&self) -> Result<(), Unwritable> {
        unreachable!("the courier makes no runs")
    }

    fn unfinished(&self, _route: &str) -> u64 {
        unreachable!("the courier makes no runs")
    }

    async fn accept(&self, _new: NewRun) -> Result<Accepted, AcceptError> {
        unreachable!("the courier makes no runs")
    }

    async fn claim_runs(&self, _: &str, _: usize) -> Result<Claims<RunClaim>, StoreError> {
        unreachable!("the courier carries no runs out")
    }

    async fn settle_run(&self, _: RunClaim, _: Settlement) -> Result<Settled, SettleError> {
        unreachable!("the courier carries no runs out")
    }

    async fn cancel(&self, _id: RunId) -> Result<Cancelled, StoreError> {
        unreachable!("the courier ends no runs")
    }

    async fn expire(&self) -> Result<Vec<Run>, StoreError> {
        unreachable!("the courier ends no runs")
    }

    async fn expire_deliveries(&self) -> Result<Vec<Run>, StoreError> {
        unreachable!("the janitor does")
    }

    async fn redeliver(&self, _: Vec<RunId>) -> Result<Vec<Redelivered>, StoreError> {
        unreachable!("the courier redelivers nothing")
    }

    async fn attempts(&self, _: RunId) -> Result<Attempts, StoreError> {
        unreachable!("the courier looks nothing up")
    }

    async fn list(&self, _: Filter, _: Page) -> Result<Listed, StoreError> {
        unreachable!("the courier looks nothing up")
    }

    async fn count(&self, _: Filter) -> Result<u64, StoreError> {
        unreachable!("the courier looks nothing up")
    }

    async fn find(&self, _id: RunId) -> Result<Found, StoreError> {
        unreachable!("the courier looks nothing up")
    }

    async fn request(&self, _id: RunId) -> Result<Option<StoredRequest>, StoreError> {
        unreachable!("the courier looks nothing up")
    }

    async fn response(&self, _id: RunId) -> Result<Option<StoredResponse>, StoreError> {
        unreachable!("the courier looks nothing up")
    }

    async fn tidy(&self) -> Result<Tidied, StoreError> {
        unreachable!("the courier tidies nothing")
    }

    async fn books(&self) -> Result<Books, StoreError> {
        unreachable!("the courier keeps no books")
    }
}

//! Two processes on one store, taking turns, pass the suite as one store does.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use super::*;
use crate::{
    model::{
        attempt::Attempts,
        books::Books,
        exchange::{StoredRequest, StoredResponse},
        filter::Filter,
        id::RunId,
        run::Run,
    },
    store::{
        AcceptError, Accepted, Cancelled, Claims, DeliveryAttempt, DeliveryClaim, Found, Listed,
        NewRun, Page, PendingDelivery, Redelivered, RunClaim, SettleError, Settled, Settlement,
        Store, StoreError, Tidied, Unwritable,
    },
};

/// Two stores on one folder; each verb is done by the other one than the verb before it.
pub(super) struct Pair {
    pub(super) both: [Arc<SqliteStore>; 2],
    turn: AtomicUsize,
}

impl Pair {
    pub(super) fn open(folder: &Path, clock: &crate::model::time::ManualClock) -> Self {
        let first = super::open(folder, clock).unwrap();
        let second = beside(folder, clock).unwrap();
        Self {
            both: [first, second],
            turn: AtomicUsize::new(0),
        }
    }

    fn next(&self) -> &SqliteStore {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.both[turn % 2]
    }
}

#[async_trait]
impl Store for Pair {
    fn identity(&self) -> &Identity {
        self.next().identity()
    }

    /// Ids of two processes are in order only as far as their clock is.
    fn next_id(&self) -> RunId {
        self.both[0].next_id()
    }

    fn ready(&self) -> Result<(), Unwritable> {
        self.next().ready()
    }

    fn unfinished(&self, route: &str) -> u64 {
        let store = self.next();
        let counted = store.shared.queue.submit(others::Recount).unwrap();
        futures::executor::block_on(counted).unwrap();
        store.unfinished(route)
    }

    fn notices(&self) -> &Notices {
        self.both[0].notices()
    }

    async fn accept(&self, new: NewRun) -> Result<Accepted, AcceptError> {
        self.next().accept(new).await
    }

    async fn claim_runs(&self, route: &str, limit: usize) -> Result<Claims<RunClaim>, StoreError> {
        self.next().claim_runs(route, limit).await
    }

    async fn settle_run(
        &self,
        claim: RunClaim,
        settlement: Settlement,
    ) -> Result<Settled, SettleError> {
        self.next().settle_run(claim, settlement).await
    }

    async fn cancel(&self, id: RunId) -> Result<Cancelled, StoreError> {
        self.next().cancel(id).await
    }

    async fn expire(&self) -> Result<Vec<Run>, StoreError> {
        self.next().expire().await
    }

    async fn pending_deliveries(
        &self,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<PendingDelivery>, StoreError> {
        self.next().pending_deliveries(after, limit).await
    }

    async fn claim_deliveries(&self, ids: Vec<RunId>) -> Result<Vec<DeliveryClaim>, StoreError> {
        self.next().claim_deliveries(ids).await
    }

    async fn settle_delivery(
        &self,
        claim: DeliveryClaim,
        attempt: DeliveryAttempt,
    ) -> Result<Run, SettleError> {
        self.next().settle_delivery(claim, attempt).await
    }

    async fn release_delivery(&self, claim: DeliveryClaim) -> Result<(), SettleError> {
        self.next().release_delivery(claim).await
    }

    async fn expire_deliveries(&self) -> Result<Vec<Run>, StoreError> {
        self.next().expire_deliveries().await
    }

    async fn redeliver(&self, ids: Vec<RunId>) -> Result<Vec<Redelivered>, StoreError> {
        self.next().redeliver(ids).await
    }

    async fn find(&self, id: RunId) -> Result<Found, StoreError> {
        self.next().find(id).await
    }

    async fn response(&self, id: RunId) -> Result<Option<StoredResponse>, StoreError> {
        self.next().response(id).await
    }

    async fn request(&self, id: RunId) -> Result<Option<StoredRequest>, StoreError> {
        self.next().request(id).await
    }

    async fn attempts(&self, id: RunId) -> Result<Attempts, StoreError> {
        self.next().attempts(id).await
    }

    async fn list(&self, filter: Filter, page: Page) -> Result<Listed, StoreError> {
        self.next().list(filter, page).await
    }

    async fn count(&self, filter: Filter) -> Result<u64, StoreError> {
        self.next().count(filter).await
    }

    fn spool(&self) -> &Spool {
        self.next().spool()
    }

    async fn tidy(&self) -> Result<Tidied, StoreError> {
        self.next().tidy().await
    }

    async fn books(&self) -> Result<Books, StoreError> {
        self.next().books().await
    }

    async fn close(&self) {
        for store in &self.both {
            store.close().await;
        }
    }
}

fn pair() -> (Subject, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let clock = conformance::clock();
    let store = Arc::new(Pair::open(folder.path(), &clock));
    (Subject { store, clock }, folder)
}

#[tokio::test]
async fn two_on_one_folder_conform() {
    for (name, check) in CHECKS {
        // A process tells in memory only of what it committed itself.
        if *name != "pending deliveries are told, listed and claimed" {
            let (subject, _folder) = pair();
            conformance::passes(name, *check, subject).await;
        }
    }
}

#[test]
fn the_law_holds_for_two() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let steps = proptest::collection::vec(conformance::step(), 1..60);
    let config = Config {
        cases: 12,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    };
    proptest!(config, |(steps in steps)| {
        let (subject, _folder) = pair();
        runtime.block_on(conformance::the_law_holds(subject, steps));
    });
}

//! A store in memory and runs to carry out, for this room's tests.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    model::{
        attempt::Attempts,
        books::Books,
        exchange::{Body, StoredRequest, StoredResponse},
        filter::Filter,
        id::RunId,
        policy::{Policy, Repeat, StatusSet, WebhookBody, WebhookPolicy},
        retry::Next,
        run::{Access, Extra, Facts, Progress, Run, RunState},
        secret::Secret,
        time::{ManualClock, SharedClock, Timestamp},
    },
    store::{
        AcceptError, Accepted, Cancelled, Claims, DeliveryAttempt, DeliveryClaim, Fence, Found,
        Identity, Listed, NewRun, Notices, Page, PendingDelivery, Redelivered, RunClaim,
        SettleError, Settled, Settlement, Store, StoreError, Tidied, Unwritable, spool::Spool,
    },
};

pub(super) const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(super) fn policy(route: &str) -> Policy {
    Policy {
        route: route.to_owned(),
        response_grace_period: Duration::from_secs(900),
        max_queue_time: Duration::from_secs(86_400),
        repeat: Repeat::Idempotent,
        attempts: 1,
        retry_statuses: vec![429, 502, 503, 504],
        success_statuses: StatusSet(vec![200..=399]),
        response_body: 1024 * 1024,
        webhook: WebhookPolicy {
            on: vec![RunState::Succeeded, RunState::Failed, RunState::Cancelled],
            schedule: vec![Duration::ZERO],
            body: WebhookBody::Raw,
        },
    }
}

/// A run that was queued at [`START`].
pub(super) fn run(number: i64, policy: Policy, method: &str) -> Run {
    Run {
        id: RunId::from_parts((START.millis().cast_signed() << 15) + number * 8, 7),
        state: RunState::Queued,
        reason: None,
        policy: Arc::new(policy),
        facts: Facts {
            dialect: "cerebrium".to_owned(),
            asynchronous: true,
            name: "/work".to_owned(),
            method: method.to_owned(),
            path: "/work".to_owned(),
            has_key: false,
            webhook_endpoint: None,
            depth: 0,
            traceparent: None,
            access: Access::Anybody,
            extra: Extra::default(),
        },
        accepted_at: START,
        started_at: None,
        finished_at: None,
        due_at: START,
        progress: Progress::default(),
        response: None,
        delivery: None,
    }
}

/// A request with `headers` (whole lines) and `body`.
pub(super) fn request(method: &str, headers: &str, body: Body) -> StoredRequest {
    let length = match body.len() {
        0 => String::new(),
        length => format!("Content-Length: {length}\r\n"),
    };
    StoredRequest {
        head: format!("{method} /work?x=1 HTTP/1.1\r\nHost: app\r\n{headers}{length}\r\n").into(),
        body,
        client: Some("192.0.2.7:4711".parse().unwrap()),
        tls: false,
        webhook_secret: None,
    }
}

/// A claim of a run's first attempt.
pub(super) fn claim(policy: Policy, request: StoredRequest) -> RunClaim {
    let method = request.head.split(|byte| *byte == b' ').next().unwrap();
    let mut run = run(1, policy, std::str::from_utf8(method).unwrap());
    begin(&mut run);
    RunClaim {
        run,
        request,
        fence: FENCE,
    }
}

const FENCE: Fence = Fence { slot: 0, epoch: 1 };

fn begin(run: &mut Run) {
    run.state = RunState::Running;
    run.started_at.get_or_insert(START);
    run.progress.attempts += 1;
}

/// Holds runs in memory; hands out queued ones, oldest first.
pub(super) struct FakeStore {
    identity: Identity,
    notices: Notices,
    spool: Spool,
    pub(super) clock: ManualClock,
    runs: Mutex<Runs>,
    /// Told of every settlement.
    pub(super) settled: Notify,
    _folder: tempfile::TempDir,
}

#[derive(Default)]
struct Runs {
    queued: HashMap<String, VecDeque<Run>>,
    settled: Vec<(RunId, Settlement)>,
    claims: Vec<RunId>,
    cancelled: Vec<RunId>,
    failing: bool,
    /// Claims may be another process's by now.
    stale: bool,
}

impl FakeStore {
    pub(super) fn new() -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(START);
        let shared: SharedClock = Arc::new(clock.clone());
        Arc::new(Self {
            identity: Identity {
                loop_id: "raincheck-abc".to_owned(),
                key: Secret::new(*b"key"),
            },
            notices: Notices::default(),
            spool: Spool::new(folder.path().to_owned(), FENCE, shared),
            clock,
            runs: Mutex::new(Runs::default()),
            settled: Notify::new(),
            _folder: folder,
        })
    }

    /// From now on another process may have what is claimed.
    pub(super) fn go_stale(&self) {
        self.runs.lock().stale = true;
    }

    /// Queues a run, as an accept without a slot does.
    pub(super) fn queue(&self, run: Run) {
        let mut runs = self.runs.lock();
        let queue = runs.queued.entry(run.policy.route.clone()).or_default();
        queue.push_back(run);
        self.notices.runs.notify_waiters();
    }

    /// Runs in the order in which they were claimed.
    pub(super) fn claims(&self) -> Vec<RunId> {
        self.runs.lock().claims.clone()
    }

    /// Lets claims fail, or succeed again.
    pub(super) fn fail_claims(&self, failing: bool) {
        self.runs.lock().failing = failing;
    }

    pub(super) fn settlements(&self) -> Vec<(RunId, Next)> {
        let runs = self.runs.lock();
        runs.settled
            .iter()
            .map(|(id, settlement)| (*id, settlement.next))
            .collect()
    }

    /// Waits until `count` attempts are settled.
    pub(super) async fn settled(&self, count: usize) -> Vec<(RunId, Next)> {
        loop {
            let told = self.settled.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            let settlements = self.settlements();
            if settlements.len() >= count {
                return settlements;
            }
            told.await;
        }
    }
}

#[async_trait]
impl Store for FakeStore {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn next_id(&self) -> RunId {
        RunId::from_parts(START.millis().cast_signed() << 15, 1)
    }

    fn ready(&self) -> Result<(), Unwritable> {
        Ok(())
    }

    fn holds(&self, _fence: Fence) -> bool {
        !self.runs.lock().stale
    }

    fn unfinished(&self, route: &str) -> u64 {
        let runs = self.runs.lock();
        runs.queued.get(route).map_or(0, |queue| queue.len() as u64)
    }

    fn notices(&self) -> &Notices {
        &self.notices
    }

    async fn accept(&self, _new: NewRun) -> Result<Accepted, AcceptError> {
        Err(AcceptError::Unwritable(Unwritable::Closed))
    }

    async fn claim_runs(&self, route: &str, limit: usize) -> Result<Claims<RunClaim>, StoreError> {
        let now = crate::model::time::Clock::now(&self.clock);
        let mut runs = self.runs.lock();
        if runs.failing {
            return Err(StoreError::Failed("the disk is gone".to_owned()));
        }
        let queue = runs.queued.entry(route.to_owned()).or_default();
        let mut claimed = Vec::new();
        while claimed.len() < limit
            && let Some(at) = queue.iter().position(|run| run.due_at <= now)
            && let Some(mut run) = queue.remove(at)
        {
            begin(&mut run);
            let request = request(&run.facts.method, "", Body::Inline(Bytes::new()));
            claimed.push(RunClaim {
                run,
                request,
                fence: FENCE,
            });
        }
        let next_due = queue.iter().map(|run| run.due_at).min();
        runs.claims
            .extend(claimed.iter().map(|claim: &RunClaim| claim.run.id));
        Ok(Claims { claimed, next_due })
    }

    async fn settle_run(
        &self,
        claim: RunClaim,
        settlement: Settlement,
    ) -> Result<Settled, SettleError> {
        let mut runs = self.runs.lock();
        let mut run = claim.run;
        if runs.cancelled.contains(&run.id) {
            return Err(SettleError::WrongState);
        }
        run.progress = settlement.progress;
        match settlement.next {
            Next::End(end) => run.state = end.state(),
            Next::Again { due } => {
                run.state = RunState::Queued;
                run.due_at = due;
                let queue = runs.queued.entry(run.policy.route.clone()).or_default();
                queue.push_back(run.clone());
            }
        }
        runs.settled.push((run.id, settlement));
        self.settled.notify_waiters();
        Ok(Settled {
            run,
            delivery: None,
        })
    }

    async fn cancel(&self, id: RunId) -> Result<Cancelled, StoreError> {
        self.runs.lock().cancelled.push(id);
        Ok(Cancelled::Unknown)
    }

    async fn expire(&self) -> Result<Vec<Run>, StoreError> {
        Ok(Vec::new())
    }

    async fn pending_deliveries(
        &self,
        _: Option<RunId>,
        _: usize,
    ) -> Result<Vec<PendingDelivery>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn claim_deliveries(&self, _: Vec<RunId>) -> Result<Vec<DeliveryClaim>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn expire_deliveries(&self) -> Result<Vec<Run>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn redeliver(&self, _: Vec<RunId>) -> Result<Vec<Redelivered>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn attempts(&self, _: RunId) -> Result<Attempts, StoreError> {
        Err(StoreError::Closed)
    }

    async fn list(&self, _: Filter, _: Page) -> Result<Listed, StoreError> {
        Err(StoreError::Closed)
    }

    async fn count(&self, _: Filter) -> Result<u64, StoreError> {
        Err(StoreError::Closed)
    }

    async fn settle_delivery(
        &self,
        _claim: DeliveryClaim,
        _attempt: DeliveryAttempt,
    ) -> Result<Run, SettleError> {
        Err(SettleError::Closed)
    }

    async fn release_delivery(&self, _claim: DeliveryClaim) -> Result<(), SettleError> {
        Err(SettleError::Closed)
    }

    async fn find(&self, _id: RunId) -> Result<Found, StoreError> {
        Ok(Found::Unknown)
    }

    async fn request(&self, _id: RunId) -> Result<Option<StoredRequest>, StoreError> {
        Ok(None)
    }

    async fn response(&self, _id: RunId) -> Result<Option<StoredResponse>, StoreError> {
        Ok(None)
    }

    fn spool(&self) -> &Spool {
        &self.spool
    }

    async fn tidy(&self) -> Result<Tidied, StoreError> {
        Ok(Tidied::default())
    }

    async fn books(&self) -> Result<Books, StoreError> {
        Ok(Books::default())
    }

    async fn close(&self) {}
}

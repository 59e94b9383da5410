//! How a run is carried out: slots and queue of each route, one attempt after the other, and what becomes of the run.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::{http::RequestHeader, protocols::http::ServerSession};
use tokio::{runtime::Handle, sync::Notify};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::{
    metrics::Metrics,
    model::{exchange::StoredResponse, id::RunId, retry::Outcome, time::SharedClock},
    store::{RunClaim, Store},
    worker::{
        handoff::Handoff,
        live::{Claiming, LiveRuns},
    },
};
use attempt::Begin;
use lane::Lanes;

pub use host::{Hosted, end_once};
pub use lane::Slot;
pub use mark::{Contact, RunMark};
pub use tee::{Ending, Heard, Listener, Piece, Tee, tee};
pub use upstream::Passage;

mod attempt;
mod dispatch;
mod host;
mod lane;
mod mark;
mod tee;
pub mod upstream;

/// The way to the application: one attempt of a run through the host's own proxy pipeline.
#[async_trait]
pub trait Upstream: Send + Sync + 'static {
    /// Sends the claim's request and keeps the response as it comes; notes in `contact` how far it has come. Dropping
    /// the future closes the upstream connection.
    async fn attempt(&self, claim: &RunClaim, contact: &Arc<Contact>) -> Attempted;

    /// Sends a caller's request, of which nobody knows yet whether it becomes a run. The session is that of its caller.
    /// None if the session cannot be read.
    async fn pass(&self, session: &ServerSession, call: Call) -> Option<Passage>;

    /// Goes on with a passage as the first attempt of the run that its request has become.
    async fn take_over(&self, claim: &RunClaim, passage: Passage) -> Attempted;
}

/// A caller's request that may become a run.
#[derive(Debug)]
pub struct Call {
    /// The run that it would be.
    pub id: RunId,
    /// The name of its route.
    pub route: String,
    /// What is sent in place of the head that came.
    pub head: Box<RequestHeader>,
    /// Whether a body follows.
    pub has_body: bool,
    /// Who sent it.
    pub client: Option<SocketAddr>,
    /// Whether it came over TLS.
    pub tls: bool,
}

/// How an attempt ended, and the response if a whole one came.
#[derive(Debug)]
pub struct Attempted {
    /// How it ended.
    pub outcome: Outcome,
    /// The response, with [`Outcome::Answered`].
    pub response: Option<StoredResponse>,
}

impl From<Outcome> for Attempted {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            response: None,
        }
    }
}

/// Room for a run whose request is under way; see [`Executor::make_room`]. A drain waits for it.
#[derive(Debug)]
pub struct Room {
    claiming: Claiming,
    slot: Option<Slot>,
    task: TaskTrackerToken,
}

/// What the executor works with.
#[derive(Clone)]
pub struct Parts {
    /// Where runs are claimed and settled.
    pub store: Arc<dyn Store>,
    /// Tells the time.
    pub clock: SharedClock,
    /// What is counted.
    pub metrics: Metrics,
    /// The short way to the courier.
    pub handoff: Handoff,
    /// The runtime of the attempts: not the one that serves requests.
    pub runtime: Handle,
}

/// Carries out runs. Clones are the same executor.
#[derive(Clone)]
pub struct Executor(Arc<Inner>);

struct Inner {
    parts: Parts,
    lanes: ArcSwap<Lanes>,
    freed: Arc<Notify>,
    live: LiveRuns,
    upstream: OnceLock<Arc<dyn Upstream>>,
    tasks: TaskTracker,
    /// No new claims.
    draining: CancellationToken,
    /// What still runs is interrupted.
    cut: CancellationToken,
}

impl Executor {
    /// An executor with a lane for each route: its name, and its attempts at a time. It takes up work at
    /// [`Executor::begin`].
    pub fn new(parts: Parts, routes: impl IntoIterator<Item = (String, usize)>) -> Self {
        let freed = Arc::new(Notify::new());
        Self(Arc::new(Inner {
            parts,
            lanes: ArcSwap::from_pointee(Lanes::new(routes, &Lanes::default(), &freed)),
            freed,
            live: LiveRuns::default(),
            upstream: OnceLock::new(),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            cut: CancellationToken::new(),
        }))
    }

    /// Has these lanes from now on, in place of those before. Runs of a route without a lane stay in the store.
    pub fn set_lanes(&self, routes: impl IntoIterator<Item = (String, usize)>) {
        let lanes = Lanes::new(routes, &self.0.lanes.load(), &self.0.freed);
        self.0.lanes.store(Arc::new(lanes));
        self.0.freed.notify_one();
    }

    /// Takes up work: queued runs are claimed from now on. A second call does nothing.
    pub fn begin(&self, upstream: Arc<dyn Upstream>) {
        if self.0.upstream.set(upstream).is_ok() {
            let dispatcher = dispatch::dispatch(Arc::clone(&self.0));
            self.0.tasks.spawn_on(dispatcher, &self.0.parts.runtime);
        }
    }

    /// A slot for a run that is about to be accepted: then it is stored as started, and handed to
    /// [`Executor::start`]. None if no slot is free, or queued runs wait for one: then it is stored as queued.
    pub fn reserve(&self, route: &str) -> Option<Slot> {
        if self.0.draining.is_cancelled() || self.0.upstream.get().is_none() {
            return None;
        }
        self.0
            .lanes
            .load()
            .get(route)?
            .reserve(self.0.tasks.token())
    }

    /// Carries out a run that was accepted as started.
    pub fn start(&self, slot: Slot, claim: RunClaim) {
        attempt::start(&self.0, Some(slot), claim, Begin::Now(None));
    }

    /// Carries out a run whose caller waits for the response on the same connection, with or without a free slot:
    /// the caller would have been served without us as well.
    pub fn start_told(&self, slot: Option<Slot>, claim: RunClaim, tee: Tee) {
        attempt::start(&self.0, slot, claim, Begin::Now(Some(tee)));
    }

    /// Sends a caller's request that may become a run; none if there is no way to the application yet.
    pub async fn pass(&self, session: &ServerSession, call: Call) -> Option<Passage> {
        self.0.upstream.get()?.pass(session, call).await
    }

    /// Makes room for a run whose request is under way already, before it is stored; none while draining. It takes a
    /// slot if one is free, and waits for none.
    pub fn make_room(&self, route: &str) -> Option<Room> {
        let task = self.0.tasks.token();
        if self.0.draining.is_cancelled() {
            return None;
        }
        Some(Room {
            claiming: self.0.live.claiming(),
            slot: self.reserve(route),
            task,
        })
    }

    /// Goes on with a passage whose run was accepted as started. The run can be cancelled when this returns.
    pub fn take_over(&self, room: Room, claim: RunClaim, passage: Passage) {
        attempt::start(&self.0, room.slot, claim, Begin::UnderWay(passage));
        drop((room.claiming, room.task));
    }

    /// What is under way, and can be cancelled.
    pub fn live(&self) -> &LiveRuns {
        &self.0.live
    }

    /// Takes up nothing new from now on; runs are queued in the store.
    pub fn stop_claiming(&self) {
        self.0.draining.cancel();
        self.0.tasks.close();
    }

    /// Stops claiming, waits until all that is under way has ended, at most for `limit`, and interrupts the rest.
    /// Returns once every outcome is recorded.
    pub async fn drain(&self, limit: Duration) {
        self.stop_claiming();
        if tokio::time::timeout(limit, self.0.tasks.wait())
            .await
            .is_err()
        {
            self.0.cut.cancel();
            self.0.tasks.wait().await;
        }
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

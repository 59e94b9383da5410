//! The queue before the committer: changes, bounded by number and bytes, each with somebody who waits for it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};
use prometheus::IntGauge;
use tokio::sync::oneshot;

use super::transaction::Tx;
use crate::store::Unwritable;

/// How many changes may wait.
const MAX_JOBS: usize = 8192;
/// How many bytes of changes may wait.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// How many changes go into one transaction.
const BATCH_JOBS: usize = 4096;
/// How many bytes of changes go into one transaction.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// A change in the store: a whole state transition.
pub(super) trait Verb: Send + Sized + 'static {
    /// What came of it.
    type Outcome: Send;

    /// Whether it waits through times in which writing fails. The others are refused then.
    const PATIENT: bool = false;

    /// Roughly the bytes it will write.
    fn size(&self) -> usize {
        0
    }

    /// Carries it out. May be called again after a rollback.
    fn apply(&self, tx: &mut Tx<'_>) -> rusqlite::Result<Self::Outcome>;

    /// Takes back what nobody will hear of: whoever waited has gone.
    fn unheard(self, _outcome: Self::Outcome, _queue: &Arc<Queue>) {}
}

/// Why nothing is heard of a change.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The process ends before it is known whether the change was made. All others: it certainly was not.
    Unknown,
    /// Nothing can be written now.
    Unwritable(Unwritable),
    /// This change could not be made.
    Failed(String),
}

/// A change in the queue.
pub(super) trait Job: Send {
    fn size(&self) -> usize;
    fn patient(&self) -> bool;
    fn apply(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()>;
    /// Tells whoever waits.
    fn conclude(self: Box<Self>, verdict: Result<(), Failure>);
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    told: Condvar,
    length: IntGauge,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Box<dyn Job>>,
    bytes: usize,
    closed: bool,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} changes", self.jobs.len())
    }
}

impl Queue {
    /// An empty queue that keeps `length` current.
    pub(super) fn new(length: IntGauge) -> Self {
        Self {
            waiting: Mutex::default(),
            told: Condvar::new(),
            length,
        }
    }

    /// Whether there is room.
    pub(super) fn room(&self) -> Result<(), Unwritable> {
        self.waiting.lock().room()
    }

    /// Queues a change. It is made even if the future that is returned is dropped, but then taken back if it can be
    /// (see [`Verb::unheard`]).
    pub(super) fn submit<V: Verb>(
        self: &Arc<Self>,
        verb: V,
    ) -> Result<impl Future<Output = Result<(V, V::Outcome), Failure>> + use<V>, Unwritable> {
        let (reply, told) = oneshot::channel();
        let job = Submitted {
            verb,
            outcome: None,
            reply,
            queue: Arc::clone(self),
        };
        let mut waiting = self.waiting.lock();
        match waiting.room() {
            Err(Unwritable::Busy) if V::PATIENT => {}
            other => other?,
        }
        waiting.bytes += job.size();
        waiting.jobs.push_back(Box::new(job));
        self.length.set(length(&waiting));
        drop(waiting);
        self.told.notify_one();
        Ok(async move {
            match told.await {
                Ok(Ok(heard)) => Ok(Heard::take(heard)),
                Ok(Err(failure)) => Err(failure),
                Err(_) => Err(Failure::Unknown),
            }
        })
    }

    /// Takes the next batch; waits for one if `wait`. None: the queue is closed, and empty.
    pub(super) fn take(&self, wait: bool) -> Option<Vec<Box<dyn Job>>> {
        let mut waiting = self.waiting.lock();
        while wait && waiting.jobs.is_empty() && !waiting.closed {
            self.told.wait(&mut waiting);
        }
        if waiting.jobs.is_empty() && waiting.closed {
            return None;
        }
        let mut batch = Vec::with_capacity(waiting.jobs.len().min(BATCH_JOBS));
        let mut bytes = 0;
        while batch.len() < BATCH_JOBS && bytes < BATCH_BYTES {
            let Some(job) = waiting.jobs.pop_front() else {
                break;
            };
            bytes += job.size();
            batch.push(job);
        }
        waiting.bytes -= bytes;
        self.length.set(length(&waiting));
        Some(batch)
    }

    /// Waits, but no longer than until the queue is closed.
    pub(super) fn pause(&self, pause: Duration) {
        let mut waiting = self.waiting.lock();
        self.told
            .wait_while_for(&mut waiting, |waiting| !waiting.closed, pause);
    }

    /// Takes no more changes.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.told.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.waiting.lock().closed
    }
}

impl Waiting {
    fn room(&self) -> Result<(), Unwritable> {
        if self.closed {
            Err(Unwritable::Closed)
        } else if self.jobs.len() >= MAX_JOBS || self.bytes >= MAX_BYTES {
            Err(Unwritable::Busy)
        } else {
            Ok(())
        }
    }
}

fn length(waiting: &Waiting) -> i64 {
    i64::try_from(waiting.jobs.len()).unwrap_or(i64::MAX)
}

struct Submitted<V: Verb> {
    verb: V,
    outcome: Option<V::Outcome>,
    reply: oneshot::Sender<Result<Heard<V>, Failure>>,
    queue: Arc<Queue>,
}

impl<V: Verb> Job for Submitted<V> {
    fn size(&self) -> usize {
        self.verb.size()
    }

    fn patient(&self) -> bool {
        V::PATIENT
    }

    fn apply(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()> {
        self.outcome = Some(self.verb.apply(tx)?);
        Ok(())
    }

    fn conclude(self: Box<Self>, verdict: Result<(), Failure>) {
        let Self {
            verb,
            outcome,
            reply,
            queue,
        } = *self;
        let answer = match (verdict, outcome) {
            (Ok(()), Some(outcome)) => Ok(Heard(Some((verb, outcome, queue)))),
            (Ok(()), None) => Err(Failure::Failed("the change was not carried out".into())),
            (Err(failure), _) => Err(failure),
        };
        // If nobody waits any more, dropping the answer takes the change back.
        let _ = reply.send(answer);
    }
}

/// An outcome on its way to whoever waits; dropped on the way, it is taken back.
struct Heard<V: Verb>(Option<(V, V::Outcome, Arc<Queue>)>);

impl<V: Verb> Heard<V> {
    fn take(mut self) -> (V, V::Outcome) {
        let (verb, outcome, _) = self.0.take().expect("an outcome is taken once");
        (verb, outcome)
    }
}

impl<V: Verb> Drop for Heard<V> {
    fn drop(&mut self) {
        if let Some((verb, outcome, queue)) = self.0.take() {
            verb.unheard(outcome, &queue);
        }
    }
}

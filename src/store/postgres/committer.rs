//! Commits in batches: what waits while a commit is under way goes into the next one. One committer, with a connection of
//! its own: two make smaller batches, and most of what a commit costs the database is its statements.

use std::{
    collections::HashSet,
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use futures::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};
use tokio_postgres::{Client, types::Type};

use super::{
    insert,
    link::{BEGIN, LinkError, PATIENCE},
    records::RecordTypes,
    shared::{Effects, Shared},
    tx::Tx,
    write,
};
use crate::{metrics::seconds, model::id::RunId, store::Unwritable};

/// Changes in one commit, and changes that may wait for one committer.
const BATCH: usize = 256;
const WAITING: usize = 4096;
/// Between tries to reach a database that is away.
const PAUSE: Duration = Duration::from_millis(500);

/// A change: all of it is one part of a transaction. It may be applied a second time, if nobody heard how the first
/// commit ended.
#[async_trait]
pub(super) trait Verb: Send + Sync + 'static {
    type Outcome: Send + 'static;
    /// Whether it waits until the database can be written.
    const PATIENT: bool = false;

    async fn apply(&self, tx: &Tx<'_>) -> Result<Self::Outcome, LinkError>;

    /// The idempotency key that it asks for: one batch has one verb for each.
    fn key(&self) -> Option<[u8; 32]> {
        None
    }

    /// It is committed, and who asked for it has left: what it took is to be given back.
    fn unheard(&self, _outcome: &Self::Outcome, _shared: &Shared) {}
}

/// Why a change was not made.
#[derive(Debug)]
pub(super) enum Failure {
    Unwritable(Unwritable),
    Failed(String),
    /// The store was closed while nobody knew whether it holds.
    Unknown,
}

/// A change that waits, whatever it is.
#[async_trait]
trait Job: Send {
    async fn apply(&mut self, tx: &Tx<'_>) -> Result<(), LinkError>;
    fn committed(self: Box<Self>, shared: &Shared);
    fn failed(self: Box<Self>, failure: Failure);
    fn is_patient(&self) -> bool;
    /// The run that it is about, if it is about one.
    fn of(&self) -> Option<RunId>;
    fn key(&self) -> Option<[u8; 32]>;
}

struct Asked<V: Verb> {
    verb: V,
    of: Option<RunId>,
    outcome: Option<V::Outcome>,
    answer: oneshot::Sender<Result<(V, V::Outcome), Failure>>,
}

#[async_trait]
impl<V: Verb> Job for Asked<V> {
    async fn apply(&mut self, tx: &Tx<'_>) -> Result<(), LinkError> {
        self.outcome = Some(self.verb.apply(tx).await?);
        Ok(())
    }

    fn committed(self: Box<Self>, shared: &Shared) {
        let Some(outcome) = self.outcome else { return };
        if let Err(Ok((verb, outcome))) = self.answer.send(Ok((self.verb, outcome))) {
            verb.unheard(&outcome, shared);
        }
    }

    fn failed(self: Box<Self>, failure: Failure) {
        let _asker_left = self.answer.send(Err(failure));
    }

    fn is_patient(&self) -> bool {
        V::PATIENT
    }

    fn of(&self) -> Option<RunId> {
        self.of
    }

    fn key(&self) -> Option<[u8; 32]> {
        self.verb.key()
    }
}

/// The way to the committer.
pub(super) struct Queue {
    /// None once it is closed.
    sender: Mutex<Option<Sender>>,
}

type Sender = mpsc::Sender<Box<dyn Job>>;

/// What a committer takes.
pub(super) struct Jobs(mpsc::Receiver<Box<dyn Job>>);

impl Queue {
    pub(super) fn new() -> (Self, Jobs) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let sender = Mutex::new(Some(sender));
        (Self { sender }, Jobs(receiver))
    }

    /// Whether there is room for another change.
    pub(super) fn room(&self) -> Result<(), Unwritable> {
        match &*self.sender.lock() {
            None => Err(Unwritable::Closed),
            Some(sender) if sender.capacity() == 0 => Err(Unwritable::Busy),
            Some(_) => Ok(()),
        }
    }

    /// Has a change made; `of` is the run that it is about, if it is about one.
    pub(super) async fn submit<V: Verb>(
        &self,
        verb: V,
        of: Option<RunId>,
    ) -> Result<(V, V::Outcome), Failure> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(Asked {
            verb,
            of,
            outcome: None,
            answer,
        });
        let sender = self.sender.lock().clone();
        let sender = sender.ok_or(Failure::Unwritable(Unwritable::Closed))?;
        if V::PATIENT {
            sender
                .send(job)
                .await
                .map_err(|_| Failure::Unwritable(Unwritable::Closed))?;
        } else {
            sender
                .try_send(job)
                .map_err(|_| Failure::Unwritable(Unwritable::Busy))?;
        }
        drop(sender);
        answered
            .await
            .unwrap_or(Err(Failure::Unwritable(Unwritable::Closed)))
    }

    /// Takes nothing more.
    pub(super) fn close(&self) {
        self.sender.lock().take();
    }
}

/// Commits until the queue is closed and empty.
pub(super) async fn run(shared: Arc<Shared>, jobs: Jobs) {
    let mut committer = Committer {
        shared,
        jobs: jobs.0,
        link: None,
        is_unsure: false,
    };
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        // What was put off comes first.
        let room = BATCH.saturating_sub(batch.len()).max(1);
        if batch.is_empty() {
            if committer.jobs.recv_many(&mut batch, room).await == 0 {
                return;
            }
        } else {
            while batch.len() < BATCH
                && let Ok(job) = committer.jobs.try_recv()
            {
                batch.push(job);
            }
        }
        let later = put_off(&mut batch);
        committer
            .shared
            .metrics
            .store_queue
            .set(i64::try_from(committer.jobs.len()).unwrap_or(i64::MAX));
        committer.commit(std::mem::replace(&mut batch, later)).await;
    }
}

/// Takes out what is about a run, or a key, that is in the batch already: the one change may decide the other.
fn put_off(batch: &mut Vec<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
    let (mut runs, mut keys) = (HashSet::new(), HashSet::new());
    let all = std::mem::take(batch).into_iter();
    let (now, later) = all.partition(|job| {
        job.of().is_none_or(|run| runs.insert(run)) && job.key().is_none_or(|key| keys.insert(key))
    });
    *batch = now;
    later
}

struct Committer {
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Box<dyn Job>>,
    /// The connection, and the types of its database.
    link: Option<(Client, RecordTypes)>,
    /// Whether the connection was lost while a commit was under way: it may still hold.
    is_unsure: bool,
}

/// How a transaction ended that was not committed.
enum Ended {
    /// The database refused something; nothing of it holds.
    Refused(LinkError),
    /// The connection is of no use any more: nothing of it holds, or nobody knows.
    Lost(LinkError),
    /// We are fenced: nothing holds.
    Fenced,
}

impl Committer {
    /// Commits a batch: together, or one by one if something in it is refused. What is patient waits for a database that
    /// is away.
    async fn commit(&mut self, mut batch: Vec<Box<dyn Job>>) {
        loop {
            let began = Instant::now();
            match self.transaction(&mut batch).await {
                Ok(effects) => {
                    let metrics = &self.shared.metrics;
                    metrics.store_commit.observe(seconds(began.elapsed()));
                    metrics.store_batch.observe(batch.len() as f64);
                    self.shared.note(true, &"");
                    self.shared.follow_up(effects);
                    for job in batch {
                        job.committed(&self.shared);
                    }
                    return;
                }
                Err(Ended::Refused(error)) if batch.len() == 1 => {
                    for job in batch {
                        job.failed(Failure::Failed(error.to_string()));
                    }
                    return;
                }
                Err(Ended::Refused(error)) => {
                    tracing::debug!(%error, "a batch is committed one by one");
                    for job in batch {
                        Box::pin(self.commit(vec![job])).await;
                    }
                    return;
                }
                Err(Ended::Fenced) => super::lease::register(&self.shared).await,
                Err(Ended::Lost(error)) => {
                    self.link = None;
                    self.shared.note(false, &error);
                    // What may hold is neither refused nor promised: it is looked at again.
                    if !self.is_unsure {
                        batch = only_patient(batch);
                    }
                    batch.extend(self.waiting(BATCH.saturating_sub(batch.len())));
                    let is_closing = self.shared.closing.load(Ordering::Relaxed);
                    if batch.is_empty() || is_closing {
                        for job in batch {
                            job.failed(if self.is_unsure {
                                Failure::Unknown
                            } else {
                                Failure::Unwritable(Unwritable::Closed)
                            });
                        }
                        return;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// What has come meanwhile and waits too; what does not is refused.
    fn waiting(&mut self, limit: usize) -> Vec<Box<dyn Job>> {
        let mut come = Vec::new();
        while come.len() < limit
            && let Ok(job) = self.jobs.try_recv()
        {
            come.push(job);
        }
        only_patient(come)
    }

    async fn transaction(&mut self, batch: &mut [Box<dyn Job>]) -> Result<Effects, Ended> {
        let link = self.link.take().filter(|(client, _)| !client.is_closed());
        let link = match link {
            Some(link) => link,
            None => connect(&self.shared).await.map_err(Ended::Lost)?,
        };
        let link = self.link.insert(link);
        let client = &link.0;
        let is_committing = AtomicBool::new(false);
        let begin = Begin {
            is_unsure: self.is_unsure,
            is_committing: &is_committing,
        };
        let done = timeout(PATIENCE, apply(&self.shared, link, batch, begin)).await;
        let ended = match done {
            Ok(Ok(effects)) => {
                self.is_unsure = false;
                return Ok(effects);
            }
            Ok(Err(ended)) => ended,
            Err(_elapsed) => Ended::Lost(LinkError::Silent),
        };
        self.is_unsure |= is_committing.into_inner();
        if !matches!(ended, Ended::Lost(_)) {
            let undone = timeout(PATIENCE, client.batch_execute("ROLLBACK")).await;
            if !matches!(undone, Ok(Ok(()))) {
                self.link = None;
            }
        }
        Err(ended)
    }
}

async fn connect(shared: &Shared) -> Result<(Client, RecordTypes), LinkError> {
    let client = shared.link.connect().await?;
    let types = timeout(PATIENCE, RecordTypes::of(&client)).await;
    let types = types.map_err(|_elapsed| LinkError::Silent)??;
    Ok((client, types))
}

/// How a transaction begins.
#[derive(Clone, Copy)]
struct Begin<'a> {
    is_unsure: bool,
    /// Set when the commit is sent.
    is_committing: &'a AtomicBool,
}

/// Begins, applies, and commits. Fencing us waits for it, as it waits for a fence; and after a lost one it waits for that.
async fn apply(
    shared: &Shared,
    (client, types): &(Client, RecordTypes),
    batch: &mut [Box<dyn Job>],
    begin: Begin<'_>,
) -> Result<Effects, Ended> {
    let begun = client.batch_execute(BEGIN).await;
    begun.map_err(|error| classified(client, error.into()))?;
    let owner = shared.owner();
    let tx = Tx {
        db: client,
        shared,
        types,
        owner,
        is_again: begin.is_unsure,
        effects: Mutex::default(),
        inserts: Mutex::default(),
        writes: Mutex::default(),
    };
    let strength = if begin.is_unsure { "UPDATE" } else { "SHARE" };
    let sql =
        format!("SELECT 1 FROM raincheck.replica WHERE id = $1 AND NOT fenced FOR {strength}");
    let is_ours = tx.query(&sql, &[(&owner, Type::INT8)]).await;
    if is_ours
        .map_err(|error| classified(client, error))?
        .is_empty()
    {
        return Err(Ended::Fenced);
    }
    let done = carry_out(&tx, batch, begin).await;
    if done.is_err() {
        // What is held all the same is found out, and given back.
        let taken = std::mem::take(&mut tx.effects.lock().taken);
        shared.let_go(&taken);
    }
    done?;
    Ok(tx.effects.into_inner())
}

async fn carry_out(tx: &Tx<'_>, batch: &mut [Box<dyn Job>], begin: Begin<'_>) -> Result<(), Ended> {
    for one in applied(tx, batch)
        .await
        .map_err(|error| classified(tx.db, error))?
    {
        one.map_err(|error| classified(tx.db, error))?;
    }
    let inserted = insert::all(tx).await;
    inserted.map_err(|error| classified(tx.db, error))?;
    let flushed = flush(tx).await;
    flushed.map_err(|error| classified(tx.db, error))?;
    // If this is not heard, nobody knows: the batch is applied again, and finds what holds.
    begin.is_committing.store(true, Ordering::Relaxed);
    let committed = tx.db.batch_execute("COMMIT").await;
    committed.map_err(|error| Ended::Lost(error.into()))
}

/// Applies all verbs, and makes their writes whenever they have gone as far as they can without them. Both go on at the
/// same time: an answer that nobody takes holds up those behind it.
async fn applied(
    tx: &Tx<'_>,
    batch: &mut [Box<dyn Job>],
) -> Result<Vec<Result<(), LinkError>>, LinkError> {
    let mut applying = pin!(join_all(batch.iter_mut().map(|job| job.apply(tx))));
    let mut writing: Option<BoxFuture<'_, Result<(), LinkError>>> = None;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(applied) = applying.as_mut().poll(cx) {
                return Poll::Ready(Ok(applied));
            }
            if writing.is_none() && !tx.writes.lock().is_empty() {
                writing = Some(Box::pin(write::all(tx)));
            }
            match &mut writing {
                None => return Poll::Pending,
                Some(under_way) => {
                    ready!(under_way.as_mut().poll(cx))?;
                    writing = None;
                }
            }
        }
    })
    .await
}

/// Writes what changed in the books.
async fn flush(tx: &Tx<'_>) -> Result<(), LinkError> {
    let (mut kinds, mut routes, mut states, mut changes) = (vec![], vec![], vec![], vec![]);
    for ((kind, route, state), change) in &tx.effects.lock().tally {
        if *change != 0 {
            kinds.push(*kind);
            routes.push(route.clone());
            states.push(*state);
            changes.push(*change);
        }
    }
    if kinds.is_empty() {
        return Ok(());
    }
    let sql = "SELECT raincheck.count_1($1, $2, $3, $4, $5)";
    tx.execute(
        sql,
        &[
            (&tx.owner, Type::INT8),
            (&kinds, Type::INT2_ARRAY),
            (&routes, Type::TEXT_ARRAY),
            (&states, Type::TEXT_ARRAY),
            (&changes, Type::INT8_ARRAY),
        ],
    )
    .await?;
    Ok(())
}

/// Whether the database has refused a statement, or is away (class 57 and 53 of its codes are its end, or no room in it).
fn classified(client: &Client, error: LinkError) -> Ended {
    let is_refusal = match &error {
        LinkError::Database(error) => error.code().is_some_and(|code| {
            let class = &code.code()[..2];
            !matches!(class, "57" | "53" | "58" | "08" | "25")
        }),
        LinkError::Unreadable(_) | LinkError::Spool(_) | LinkError::Crossed => true,
        LinkError::Silent | LinkError::Closed => false,
    };
    if is_refusal && !client.is_closed() {
        Ended::Refused(error)
    } else {
        Ended::Lost(error)
    }
}

fn only_patient(batch: Vec<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
    let (patient, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(|job| job.is_patient());
    for job in others {
        job.failed(Failure::Unwritable(Unwritable::Failing));
    }
    patient
}

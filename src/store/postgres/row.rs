//! Rows of `run` and `body` ↔ the words of `model`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};
use uuid::Uuid;

use crate::{
    model::{
        delivery::{Delivery, DeliveryState},
        exchange::StoredRequest,
        id::RunId,
        policy::Policy,
        retry,
        run::{Facts, Progress, Reason, ResponseFacts, Run, RunState},
        secret::Secret,
        time::Timestamp,
    },
    store::PendingDelivery,
    store::ending::receiver_address,
};

/// The columns that [`read`] wants.
pub(super) const COLUMNS: &str =
    "id, state, reason, accepted, started, finished, due, attempts, owner, fixed, doc";

/// A parameter and its type: statements go without a name, as PgBouncer wants it.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// A run, and which replica holds it.
#[derive(Debug)]
pub(super) struct StoredRun {
    pub(super) run: Run,
    pub(super) owner: Option<i64>,
}

/// What is fixed at acceptance.
#[derive(Serialize, Deserialize)]
struct Fixed {
    policy: Policy,
    facts: Facts,
}

/// What else can change.
#[derive(Serialize, Deserialize)]
struct Doc {
    progress: Progress,
    response: Option<ResponseFacts>,
    #[serde(default)]
    from_upstream: bool,
    delivery: Option<Delivery>,
}

/// A row that this version cannot read.
#[derive(Debug, thiserror::Error)]
#[error("the store holds a run that this version does not understand: {0}")]
pub(super) struct Unreadable(String);

/// Reads a row.
pub(super) fn read(row: &Row) -> Result<StoredRun, Unreadable> {
    let unreadable = |error: serde_json::Error| Unreadable(error.to_string());
    let fixed: Fixed = serde_json::from_str(row.get("fixed")).map_err(unreadable)?;
    let doc: Doc = serde_json::from_str(row.get("doc")).map_err(unreadable)?;
    let reason: Option<&str> = row.get("reason");
    let reason = match reason {
        Some(reason) => Some(pick(&Reason::ALL, Reason::as_str, reason)?),
        None => None,
    };
    let accepted_at = time(row.get("accepted"));
    let attempts: i32 = row.get("attempts");
    let run = Run {
        id: id(row.get("id")),
        state: pick(&RunState::ALL, RunState::as_str, row.get("state"))?,
        reason,
        policy: Arc::new(fixed.policy),
        facts: fixed.facts,
        accepted_at,
        started_at: row.get::<_, Option<i64>>("started").map(time),
        finished_at: row.get::<_, Option<i64>>("finished").map(time),
        due_at: row.get::<_, Option<i64>>("due").map_or(accepted_at, time),
        progress: Progress {
            attempts: attempts.cast_unsigned(),
            ..doc.progress
        },
        response: doc.response.map(|response| ResponseFacts {
            from_upstream: doc.from_upstream,
            ..response
        }),
        delivery: doc.delivery,
    };
    let owner = row.get("owner");
    Ok(StoredRun { run, owner })
}

fn pick<T: Copy>(all: &[T], name: fn(T) -> &'static str, text: &str) -> Result<T, Unreadable> {
    let found = all.iter().copied().find(|one| name(*one) == text);
    found.ok_or_else(|| Unreadable(format!("{text:?}")))
}

/// A run as its columns hold it.
pub(super) struct Columns {
    pub(super) id: Uuid,
    pub(super) state: &'static str,
    pub(super) reason: Option<&'static str>,
    pub(super) accepted: i64,
    pub(super) started: Option<i64>,
    pub(super) finished: Option<i64>,
    pub(super) due: Option<i64>,
    pub(super) expires: Option<i64>,
    pub(super) done: Option<i64>,
    pub(super) attempts: i32,
    pub(super) d_state: Option<&'static str>,
    pub(super) d_attempts: Option<i32>,
    pub(super) d_due: Option<i64>,
    pub(super) d_until: Option<i64>,
    pub(super) d_host: Option<String>,
    pub(super) doc: String,
}

impl Columns {
    pub(super) fn of(run: &Run) -> Self {
        let queued = run.state == RunState::Queued;
        let delivery = run.delivery.as_ref();
        let pending = delivery.filter(|it| it.state == DeliveryState::Pending);
        let expires = match run.started_at {
            None => retry::queue_end(run),
            Some(_) => retry::grace_end(run),
        };
        let done = match delivery {
            Some(delivery) => delivery.finished_at,
            None => run.finished_at,
        };
        let doc = Doc {
            progress: run.progress,
            response: run.response.clone(),
            from_upstream: run.response.as_ref().is_some_and(|it| it.from_upstream),
            delivery: run.delivery.clone(),
        };
        Self {
            id: uuid(run.id),
            state: run.state.as_str(),
            reason: run.reason.map(Reason::as_str),
            accepted: millis(run.accepted_at),
            started: run.started_at.map(millis),
            finished: run.finished_at.map(millis),
            due: queued.then(|| millis(run.due_at)),
            expires: queued.then(|| millis(expires)),
            done: done.map(millis),
            attempts: run.progress.attempts.cast_signed(),
            d_state: delivery.map(|it| it.state.as_str()),
            d_attempts: delivery.map(|it| it.attempts.cast_signed()),
            d_due: pending.and_then(|it| it.next_attempt_at).map(millis),
            d_until: pending.map(|it| millis(it.deadline(&run.policy.webhook))),
            d_host: delivery.map(|it| it.host.clone()),
            doc: json(&doc),
        }
    }
}

/// The column `fixed`.
pub(super) fn fixed(run: &Run) -> String {
    json(&Fixed {
        policy: Policy::clone(&run.policy),
        facts: run.facts.clone(),
    })
}

/// Values of ours are always JSON.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// What is pending of a run's delivery.
pub(super) fn pending(run: &Run) -> Option<PendingDelivery> {
    let due = run.delivery.as_ref()?.next_attempt_at?;
    let endpoint = run.facts.webhook_endpoint.as_deref()?;
    Some(PendingDelivery {
        id: run.id,
        receiver: receiver_address(endpoint),
        due,
    })
}

/// The facts of a stored request but its body.
pub(super) fn request(row: &Row, body: crate::model::exchange::Body) -> StoredRequest {
    let client: Option<&str> = row.get("client");
    let secret: Option<Vec<u8>> = row.get("secret");
    StoredRequest {
        head: row.get::<_, Vec<u8>>("head").into(),
        body,
        client: client.and_then(|client| client.parse().ok()),
        tls: row.get::<_, Option<bool>>("tls").unwrap_or_default(),
        webhook_secret: secret.map(Secret::new),
    }
}

pub(super) fn uuid(id: RunId) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

pub(super) fn id(uuid: Uuid) -> RunId {
    RunId::from_bytes(uuid.into_bytes())
}

/// A time as it is stored.
pub(super) fn millis(time: Timestamp) -> i64 {
    i64::try_from(time.millis()).unwrap_or(i64::MAX)
}

/// A stored time.
pub(super) fn time(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis.max(0).cast_unsigned())
}

//! Changes of runs. Those of a batch that wait at the same time go as one statement, which says itself how each run must
//! stand; a run of which nothing is left to do goes to `run` in the same.

use std::collections::HashSet;

use tokio::sync::oneshot;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    arrays::Arrays,
    link::LinkError,
    pieces,
    row::Columns,
    tx::{Entry, Mark, Tx},
};
use crate::model::exchange::StoredResponse;

/// A change that waits.
pub(super) struct Write {
    /// How the run must stand.
    pub(super) before: Mark,
    /// How it stands then.
    pub(super) to: Columns,
    /// Who holds it then.
    pub(super) owner: Option<i64>,
    /// Whether the caller's webhook secret may still be needed.
    pub(super) keeps_secret: bool,
    /// If the run ends: it takes the request's place. The pieces of a long one are there already.
    pub(super) response: Option<StoredResponse>,
    /// An entry of the log of attempts.
    pub(super) entry: Option<Entry>,
    /// Told whether the run stood so.
    pub(super) applied: oneshot::Sender<bool>,
}

impl Write {
    fn is_last(&self) -> bool {
        self.to.done.is_some()
    }
}

const AS_BEFORE: &str = "l.id = w.id AND l.state = w.was_state AND l.attempts = w.was_attempts
    AND l.owner IS NOT DISTINCT FROM w.was_owner AND l.d_state IS NOT DISTINCT FROM w.was_d_state
    AND l.d_attempts IS NOT DISTINCT FROM w.was_d_attempts";

const CHANGE: &str = "UPDATE raincheck.live AS l SET state = w.state, reason = w.reason, started = w.started,
    finished = w.finished, due = w.due, expires = w.expires, attempts = w.attempts, owner = w.owner,
    d_state = w.d_state, d_attempts = w.d_attempts, d_due = w.d_due, d_until = w.d_until, d_host = w.d_host, doc = w.doc,
    secret = CASE WHEN w.keeps_secret THEN l.secret END FROM w WHERE";

const REMOVE: &str = "DELETE FROM raincheck.live AS l USING w WHERE";

const STORE: &str = "stored AS (
    INSERT INTO raincheck.run(id, state, reason, route, name, dialect, accepted, started, finished, done, attempts,
      d_state, d_attempts, d_host, fixed, doc, secret)
    SELECT id, state, reason, route, name, dialect, accepted, started, finished, done, attempts, d_state, d_attempts,
      d_host, fixed, doc, secret FROM changed),";

const ANSWER: &str = "answered AS (
    INSERT INTO raincheck.response(id, head, body, len, file)
    SELECT id, head, body, len, file FROM changed WHERE ends),
  asked AS (DELETE FROM raincheck.request AS r USING changed AS c WHERE r.id = c.id AND c.ends),
  pieces AS (DELETE FROM raincheck.request_piece AS p USING changed AS c WHERE p.id = c.id AND c.ends),";

const LOG: &str = "logged AS (
    INSERT INTO raincheck.attempt(id, kind, n, json) SELECT id, e_kind, e_n, e_json FROM changed WHERE e_json IS NOT NULL
    ON CONFLICT (id, kind, n) DO UPDATE SET json = excluded.json),";

/// Makes all changes that wait.
pub(super) async fn all(tx: &Tx<'_>) -> Result<(), LinkError> {
    let waiting = std::mem::take(&mut *tx.writes.lock());
    let (last, others): (Vec<_>, Vec<_>) = waiting.into_iter().partition(Write::is_last);
    futures::future::try_join(some(tx, others, false), some(tx, last, true)).await?;
    Ok(())
}

/// Makes these changes, the last ones of their runs or none of those.
async fn some(tx: &Tx<'_>, writes: Vec<Write>, are_last: bool) -> Result<(), LinkError> {
    if writes.is_empty() {
        return Ok(());
    }
    let arrays = arrays(&writes);
    let (change, returned) = if are_last {
        let returned = "l.route, l.name, l.dialect, l.accepted, l.fixed,
            CASE WHEN w.keeps_secret THEN l.secret END AS secret";
        (REMOVE, format!("w.*, {returned}"))
    } else {
        (CHANGE, "w.*".to_owned())
    };
    let store = if are_last { STORE } else { "" };
    let ends = writes.iter().any(|it| it.response.is_some());
    let logs = writes.iter().any(|it| it.entry.is_some());
    let (answer, log) = (if ends { ANSWER } else { "" }, if logs { LOG } else { "" });
    let sql = format!(
        "WITH w AS ({}), changed AS ({change} {AS_BEFORE} RETURNING {returned}), {store} {answer} {log}
         ids AS (SELECT id FROM changed) SELECT id FROM ids",
        arrays.rows()
    );
    let rows = tx.query(&sql, &arrays.params()).await?;
    drop(arrays);
    let changed: HashSet<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    for write in writes {
        let applies = changed.contains(&write.to.id);
        // Nobody waits if the batch is given up.
        let _ = write.applied.send(applies);
    }
    Ok(())
}

fn arrays(writes: &[Write]) -> Arrays<'_> {
    let was = || writes.iter().map(|it| &it.before);
    let to = || writes.iter().map(|it| &it.to);
    let came = || writes.iter().map(|it| it.response.as_ref());
    let entry = || writes.iter().map(|it| it.entry.as_ref());
    Arrays::default()
        .with("id", Type::UUID_ARRAY, to().map(|it| it.id))
        .with("was_state", Type::TEXT_ARRAY, was().map(|it| it.state))
        .with(
            "was_attempts",
            Type::INT4_ARRAY,
            was().map(|it| it.attempts),
        )
        .with("was_owner", Type::INT8_ARRAY, was().map(|it| it.owner))
        .with("was_d_state", Type::TEXT_ARRAY, was().map(|it| it.d_state))
        .with(
            "was_d_attempts",
            Type::INT4_ARRAY,
            was().map(|it| it.d_attempts),
        )
        .with("state", Type::TEXT_ARRAY, to().map(|it| it.state))
        .with("reason", Type::TEXT_ARRAY, to().map(|it| it.reason))
        .with("started", Type::INT8_ARRAY, to().map(|it| it.started))
        .with("finished", Type::INT8_ARRAY, to().map(|it| it.finished))
        .with("due", Type::INT8_ARRAY, to().map(|it| it.due))
        .with("expires", Type::INT8_ARRAY, to().map(|it| it.expires))
        .with("done", Type::INT8_ARRAY, to().map(|it| it.done))
        .with("attempts", Type::INT4_ARRAY, to().map(|it| it.attempts))
        .with("owner", Type::INT8_ARRAY, writes.iter().map(|it| it.owner))
        .with("d_state", Type::TEXT_ARRAY, to().map(|it| it.d_state))
        .with("d_attempts", Type::INT4_ARRAY, to().map(|it| it.d_attempts))
        .with("d_due", Type::INT8_ARRAY, to().map(|it| it.d_due))
        .with("d_until", Type::INT8_ARRAY, to().map(|it| it.d_until))
        .with("d_host", Type::TEXT_ARRAY, to().map(|it| &it.d_host))
        .with("doc", Type::TEXT_ARRAY, to().map(|it| &it.doc))
        .with(
            "keeps_secret",
            Type::BOOL_ARRAY,
            writes.iter().map(|it| it.keeps_secret),
        )
        .with("ends", Type::BOOL_ARRAY, came().map(|it| it.is_some()))
        .with(
            "head",
            Type::BYTEA_ARRAY,
            came().map(|it| it.map(|it| &it.head[..])),
        )
        .with(
            "body",
            Type::BYTEA_ARRAY,
            came().map(|it| it.and_then(|it| pieces::inline(&it.body))),
        )
        .with(
            "len",
            Type::INT8_ARRAY,
            came().map(|it| it.and_then(|it| pieces::len(&it.body))),
        )
        .with(
            "file",
            Type::TEXT_ARRAY,
            came().map(|it| it.and_then(|it| pieces::file(&it.body))),
        )
        .with(
            "e_kind",
            Type::INT2_ARRAY,
            entry().map(|it| it.map(|it| it.of as i16)),
        )
        .with(
            "e_n",
            Type::INT4_ARRAY,
            entry().map(|it| it.map(|it| it.number.cast_signed())),
        )
        .with(
            "e_json",
            Type::TEXT_ARRAY,
            entry().map(|it| it.map(|it| &it.json)),
        )
}

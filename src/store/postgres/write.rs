//! Changes of runs. Those of a batch that wait at the same time go as one statement (the functions `change_2` and `finish_2`
//! of the database), which says itself how each run must stand.

use std::collections::HashSet;

use tokio::sync::oneshot;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    link::LinkError,
    pieces,
    records::Record,
    row::{Columns, Param},
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
    let function = if are_last { "finish_2" } else { "change_2" };
    let sql = format!("SELECT raincheck.{function}($1, $2, $3, $4)");
    let ids: Vec<Uuid> = writes.iter().map(|it| it.to.id).collect();
    let records: Vec<Record<'_>> = writes.iter().map(record).collect();
    let has_ends = writes.iter().any(|it| it.response.is_some());
    let has_entries = writes.iter().any(|it| it.entry.is_some());
    let params: [Param<'_>; 4] = [
        (&ids, Type::UUID_ARRAY),
        (&records, tx.types.write.clone()),
        (&has_ends, Type::BOOL),
        (&has_entries, Type::BOOL),
    ];
    let rows = tx.query(&sql, &params).await?;
    drop(records);
    let changed: Option<Vec<Uuid>> = rows.first().and_then(|row| row.get(0));
    let changed: HashSet<Uuid> = changed.into_iter().flatten().collect();
    for write in writes {
        let applies = changed.contains(&write.to.id);
        // Nobody waits if the batch is given up.
        let _ = write.applied.send(applies);
    }
    Ok(())
}

/// As the database's type `write_2` has it.
fn record(write: &Write) -> Record<'_> {
    let Write { before, to, .. } = write;
    let (came, entry) = (write.response.as_ref(), write.entry.as_ref());
    Record::default()
        .with(to.id)
        .with(before.state)
        .with(before.attempts)
        .with(before.owner)
        .with(before.d_state)
        .with(before.d_attempts)
        .with(to.state)
        .with(to.reason)
        .with(to.started)
        .with(to.finished)
        .with(to.due)
        .with(to.expires)
        .with(to.done)
        .with(to.attempts)
        .with(write.owner)
        .with(to.d_state)
        .with(to.d_attempts)
        .with(to.d_due)
        .with(to.d_until)
        .with(&to.d_host)
        .with(&to.doc)
        .with(write.keeps_secret)
        .with(came.is_some())
        .with(came.map(|it| &it.head[..]))
        .with(came.and_then(|it| pieces::inline(&it.body)))
        .with(came.and_then(|it| pieces::len(&it.body)))
        .with(came.and_then(|it| pieces::file(&it.body)))
        .with(entry.map(|it| it.of as i16))
        .with(entry.map(|it| it.number.cast_signed()))
        .with(entry.map(|it| &it.json))
}

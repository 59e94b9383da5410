//! Changes of runs. Those of a batch that wait at the same time go as one statement (the functions `change` and `finish` of
//! the database), which says itself how each run must stand.

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
    let function = if are_last { "finish_1" } else { "change_1" };
    let sql = arrays.call(function);
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

/// In the order in which the functions take them.
fn arrays(writes: &[Write]) -> Arrays<'_> {
    let was = || writes.iter().map(|it| &it.before);
    let to = || writes.iter().map(|it| &it.to);
    let came = || writes.iter().map(|it| it.response.as_ref());
    let entry = || writes.iter().map(|it| it.entry.as_ref());
    Arrays::default()
        .with(Type::UUID_ARRAY, to().map(|it| it.id))
        .with(Type::TEXT_ARRAY, was().map(|it| it.state))
        .with(Type::INT4_ARRAY, was().map(|it| it.attempts))
        .with(Type::INT8_ARRAY, was().map(|it| it.owner))
        .with(Type::TEXT_ARRAY, was().map(|it| it.d_state))
        .with(Type::INT4_ARRAY, was().map(|it| it.d_attempts))
        .with(Type::TEXT_ARRAY, to().map(|it| it.state))
        .with(Type::TEXT_ARRAY, to().map(|it| it.reason))
        .with(Type::INT8_ARRAY, to().map(|it| it.started))
        .with(Type::INT8_ARRAY, to().map(|it| it.finished))
        .with(Type::INT8_ARRAY, to().map(|it| it.due))
        .with(Type::INT8_ARRAY, to().map(|it| it.expires))
        .with(Type::INT8_ARRAY, to().map(|it| it.done))
        .with(Type::INT4_ARRAY, to().map(|it| it.attempts))
        .with(Type::INT8_ARRAY, writes.iter().map(|it| it.owner))
        .with(Type::TEXT_ARRAY, to().map(|it| it.d_state))
        .with(Type::INT4_ARRAY, to().map(|it| it.d_attempts))
        .with(Type::INT8_ARRAY, to().map(|it| it.d_due))
        .with(Type::INT8_ARRAY, to().map(|it| it.d_until))
        .with(Type::TEXT_ARRAY, to().map(|it| &it.d_host))
        .with(Type::TEXT_ARRAY, to().map(|it| &it.doc))
        .with(Type::BOOL_ARRAY, writes.iter().map(|it| it.keeps_secret))
        .with(Type::BOOL_ARRAY, came().map(|it| it.is_some()))
        .with(
            Type::BYTEA_ARRAY,
            came().map(|it| it.map(|it| &it.head[..])),
        )
        .with(
            Type::BYTEA_ARRAY,
            came().map(|it| it.and_then(|it| pieces::inline(&it.body))),
        )
        .with(
            Type::INT8_ARRAY,
            came().map(|it| it.and_then(|it| pieces::len(&it.body))),
        )
        .with(
            Type::TEXT_ARRAY,
            came().map(|it| it.and_then(|it| pieces::file(&it.body))),
        )
        .with(
            Type::INT2_ARRAY,
            entry().map(|it| it.map(|it| it.of as i16)),
        )
        .with(
            Type::INT4_ARRAY,
            entry().map(|it| it.map(|it| it.number.cast_signed())),
        )
        .with(Type::TEXT_ARRAY, entry().map(|it| it.map(|it| &it.json)))
}

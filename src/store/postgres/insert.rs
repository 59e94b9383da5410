//! New runs: all of a batch in one statement (the function `accept` of the database).

use std::collections::HashSet;

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    arrays::Arrays,
    link::LinkError,
    pieces,
    row::{self, Columns},
    tx::Tx,
};
use crate::model::{exchange::StoredRequest, run::Run, secret::Secret};

/// A run that is to be inserted.
pub(super) struct Insert {
    run: Run,
    request: StoredRequest,
    owner: Option<i64>,
    to: Columns,
}

impl Insert {
    /// A run, held by `owner`.
    pub(super) fn new(run: &Run, request: &StoredRequest, owner: Option<i64>) -> Self {
        Self {
            to: Columns::of(run),
            run: run.clone(),
            request: request.clone(),
            owner,
        }
    }

    fn secret(&self) -> Option<&[u8]> {
        self.request.webhook_secret.as_ref().map(Secret::reveal)
    }
}

/// Inserts them. Those that are there already are left alone: the batch is applied again.
pub(super) async fn all(tx: &Tx<'_>) -> Result<(), LinkError> {
    let new = std::mem::take(&mut *tx.inserts.lock());
    if new.is_empty() {
        return Ok(());
    }
    let rows = || new.iter();
    let runs = || new.iter().map(|it| &it.to);
    // One whose commit was not heard of may be over by now.
    let arrays = Arrays::after((Box::new(tx.is_again), Type::BOOL))
        .with(Type::UUID_ARRAY, runs().map(|to| to.id))
        .with(Type::TEXT_ARRAY, runs().map(|to| to.state))
        .with(Type::TEXT_ARRAY, rows().map(|it| &it.run.policy.route))
        .with(Type::TEXT_ARRAY, rows().map(|it| &it.run.facts.name))
        .with(Type::TEXT_ARRAY, rows().map(|it| &it.run.facts.dialect))
        .with(Type::INT8_ARRAY, runs().map(|to| to.accepted))
        .with(Type::INT8_ARRAY, runs().map(|to| to.started))
        .with(Type::INT8_ARRAY, runs().map(|to| to.due))
        .with(Type::INT8_ARRAY, runs().map(|to| to.expires))
        .with(Type::INT4_ARRAY, runs().map(|to| to.attempts))
        .with(Type::INT8_ARRAY, rows().map(|it| it.owner))
        .with(Type::TEXT_ARRAY, rows().map(|it| row::fixed(&it.run)))
        .with(Type::TEXT_ARRAY, runs().map(|to| &to.doc))
        .with(Type::BYTEA_ARRAY, rows().map(Insert::secret))
        .with(Type::BYTEA_ARRAY, rows().map(|it| &it.request.head[..]))
        .with(
            Type::BYTEA_ARRAY,
            rows().map(|it| pieces::inline(&it.request.body)),
        )
        .with(
            Type::INT8_ARRAY,
            rows().map(|it| pieces::len(&it.request.body)),
        )
        .with(
            Type::TEXT_ARRAY,
            rows().map(|it| pieces::file(&it.request.body)),
        )
        .with(
            Type::TEXT_ARRAY,
            rows().map(|it| it.request.client.map(|client| client.to_string())),
        )
        .with(Type::BOOL_ARRAY, rows().map(|it| it.request.tls));
    let sql = arrays.call("accept_1");
    let rows = tx.query(&sql, &arrays.params()).await?;
    let stored: HashSet<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    let mut effects = tx.effects.lock();
    for it in new.iter().filter(|it| stored.contains(&it.to.id)) {
        effects.record(None, &it.run, it.owner.is_some());
    }
    Ok(())
}

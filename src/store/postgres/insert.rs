//! New runs: all of a batch in one statement (the function `accept_2` of the database).

use std::collections::HashSet;

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    link::LinkError,
    pieces,
    records::Record,
    row::{self, Columns, Param},
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

    /// As the database's type `new_2` has it.
    fn record(&self) -> Record<'_> {
        let Self {
            run, request, to, ..
        } = self;
        Record::default()
            .with(to.id)
            .with(to.state)
            .with(&run.policy.route)
            .with(&run.facts.name)
            .with(&run.facts.dialect)
            .with(to.accepted)
            .with(to.started)
            .with(to.due)
            .with(to.expires)
            .with(to.attempts)
            .with(self.owner)
            .with(row::fixed(run))
            .with(&to.doc)
            .with(request.webhook_secret.as_ref().map(Secret::reveal))
            .with(&request.head[..])
            .with(pieces::inline(&request.body))
            .with(pieces::len(&request.body))
            .with(pieces::file(&request.body))
            .with(request.client.map(|client| client.to_string()))
            .with(request.tls)
    }
}

/// Inserts them. Those that are there already are left alone: the batch is applied again.
pub(super) async fn all(tx: &Tx<'_>) -> Result<(), LinkError> {
    let new = std::mem::take(&mut *tx.inserts.lock());
    if new.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = new.iter().map(|it| it.to.id).collect();
    let records: Vec<Record<'_>> = new.iter().map(Insert::record).collect();
    let params: [Param<'_>; 3] = [
        // One whose commit was not heard of may be over by now.
        (&tx.is_again, Type::BOOL),
        (&ids, Type::UUID_ARRAY),
        (&records, tx.types.new.clone()),
    ];
    let sql = "SELECT raincheck.accept_2($1, $2, $3)";
    let rows = tx.query(sql, &params).await?;
    let stored: Option<Vec<Uuid>> = rows.first().and_then(|row| row.get(0));
    let stored: HashSet<Uuid> = stored.into_iter().flatten().collect();
    let mut effects = tx.effects.lock();
    for it in new.iter().filter(|it| stored.contains(&it.to.id)) {
        effects.record(None, &it.run, it.owner.is_some());
    }
    Ok(())
}

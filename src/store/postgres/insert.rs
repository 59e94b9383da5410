//! New runs: all of a batch in one statement.

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
    let arrays = Arrays::default()
        .with("id", Type::UUID_ARRAY, runs().map(|to| to.id))
        .with("state", Type::TEXT_ARRAY, runs().map(|to| to.state))
        .with(
            "route",
            Type::TEXT_ARRAY,
            rows().map(|it| &it.run.policy.route),
        )
        .with(
            "name",
            Type::TEXT_ARRAY,
            rows().map(|it| &it.run.facts.name),
        )
        .with(
            "dialect",
            Type::TEXT_ARRAY,
            rows().map(|it| &it.run.facts.dialect),
        )
        .with("accepted", Type::INT8_ARRAY, runs().map(|to| to.accepted))
        .with("started", Type::INT8_ARRAY, runs().map(|to| to.started))
        .with("due", Type::INT8_ARRAY, runs().map(|to| to.due))
        .with("expires", Type::INT8_ARRAY, runs().map(|to| to.expires))
        .with("attempts", Type::INT4_ARRAY, runs().map(|to| to.attempts))
        .with("owner", Type::INT8_ARRAY, rows().map(|it| it.owner))
        .with(
            "fixed",
            Type::TEXT_ARRAY,
            rows().map(|it| row::fixed(&it.run)),
        )
        .with("doc", Type::TEXT_ARRAY, runs().map(|to| &to.doc))
        .with("secret", Type::BYTEA_ARRAY, rows().map(Insert::secret))
        .with(
            "head",
            Type::BYTEA_ARRAY,
            rows().map(|it| &it.request.head[..]),
        )
        .with(
            "body",
            Type::BYTEA_ARRAY,
            rows().map(|it| pieces::inline(&it.request.body)),
        )
        .with(
            "len",
            Type::INT8_ARRAY,
            rows().map(|it| pieces::len(&it.request.body)),
        )
        .with(
            "file",
            Type::TEXT_ARRAY,
            rows().map(|it| pieces::file(&it.request.body)),
        )
        .with(
            "client",
            Type::TEXT_ARRAY,
            rows().map(|it| it.request.client.map(|client| client.to_string())),
        )
        .with("tls", Type::BOOL_ARRAY, rows().map(|it| it.request.tls));
    // One whose commit was not heard of may be over by now.
    let unless_over = if tx.is_again {
        "WHERE NOT EXISTS (SELECT 1 FROM raincheck.run WHERE run.id = new.id)"
    } else {
        ""
    };
    let sql = format!(
        "WITH new AS ({}),
         stored AS (
           INSERT INTO raincheck.live(id, state, route, name, dialect, accepted, started, due, expires, attempts, owner,
             fixed, doc, secret)
           SELECT id, state, route, name, dialect, accepted, started, due, expires, attempts, owner, fixed, doc, secret
           FROM new {unless_over} ON CONFLICT DO NOTHING RETURNING id),
         requests AS (
           INSERT INTO raincheck.request(id, head, body, len, file, client, tls)
           SELECT id, head, body, len, file, client, tls FROM new JOIN stored USING (id))
         SELECT id FROM stored",
        arrays.rows()
    );
    let rows = tx.query(&sql, &arrays.params()).await?;
    let stored: HashSet<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    let mut effects = tx.effects.lock();
    for it in new.iter().filter(|it| stored.contains(&it.to.id)) {
        effects.record(None, &it.run, it.owner.is_some());
    }
    Ok(())
}

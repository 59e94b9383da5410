//! New runs: all of a batch in one statement, since most of what one costs the database is its statement.

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    link::LinkError,
    pieces,
    row::{self, Columns},
    tx::Tx,
};
use crate::model::{exchange::StoredRequest, run::Run, secret::Secret};

/// Runs that are to be inserted, column by column.
#[derive(Default)]
pub(super) struct Inserts {
    runs: Vec<(Run, bool)>,
    ids: Vec<Uuid>,
    states: Vec<&'static str>,
    routes: Vec<String>,
    names: Vec<String>,
    dialects: Vec<String>,
    accepted: Vec<i64>,
    started: Vec<Option<i64>>,
    due: Vec<Option<i64>>,
    expires: Vec<Option<i64>>,
    attempts: Vec<i32>,
    owners: Vec<Option<i64>>,
    fixed: Vec<String>,
    docs: Vec<String>,
    secrets: Vec<Option<Vec<u8>>>,
    heads: Vec<Vec<u8>>,
    bodies: Vec<Option<Vec<u8>>>,
    lengths: Vec<Option<i64>>,
    clients: Vec<Option<String>>,
    tls: Vec<bool>,
}

impl Inserts {
    /// Adds a run, held by `owner`.
    pub(super) fn add(&mut self, run: &Run, request: &StoredRequest, owner: Option<i64>) {
        let to = Columns::of(run);
        let (inline, len) = pieces::columns(&request.body);
        let secret = request.webhook_secret.as_ref().map(Secret::reveal);
        self.ids.push(to.id);
        self.states.push(to.state);
        self.routes.push(run.policy.route.clone());
        self.names.push(run.facts.name.clone());
        self.dialects.push(run.facts.dialect.clone());
        self.accepted.push(to.accepted);
        self.started.push(to.started);
        self.due.push(to.due);
        self.expires.push(to.expires);
        self.attempts.push(to.attempts);
        self.owners.push(owner);
        self.fixed.push(row::fixed(run));
        self.docs.push(to.doc);
        self.secrets.push(secret.map(<[u8]>::to_vec));
        self.heads.push(request.head.to_vec());
        self.bodies.push(inline.map(<[u8]>::to_vec));
        self.lengths.push(len);
        self.clients.push(request.client.map(|it| it.to_string()));
        self.tls.push(request.tls);
        self.runs.push((run.clone(), owner.is_some()));
    }
}

/// Inserts them. Those that are there already are left alone: the batch is applied again.
pub(super) async fn all(tx: &Tx<'_>) -> Result<(), LinkError> {
    let new = std::mem::take(&mut *tx.inserts.lock());
    if new.ids.is_empty() {
        return Ok(());
    }
    let sql = "WITH new AS (
           SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
             $8::bigint[], $9::bigint[], $10::int[], $11::bigint[], $12::text[], $13::text[], $14::bytea[], $15::bytea[],
             $16::bytea[], $17::bigint[], $18::text[], $19::boolean[])
           AS n(id, state, route, name, dialect, accepted, started, due, expires, attempts, owner, fixed, doc, secret,
             head, body, len, client, tls)),
         stored AS (
           INSERT INTO raincheck.run(id, state, route, name, dialect, accepted, started, due, expires, attempts, owner,
             fixed, doc, secret)
           SELECT id, state, route, name, dialect, accepted, started, due, expires, attempts, owner, fixed, doc, secret
           FROM new ON CONFLICT DO NOTHING RETURNING id),
         bodies AS (
           INSERT INTO raincheck.body(id, head, body, len, client, tls)
           SELECT id, head, body, len, client, tls FROM new JOIN stored USING (id))
         SELECT id FROM stored";
    let rows = tx
        .query(
            sql,
            &[
                (&new.ids, Type::UUID_ARRAY),
                (&new.states, Type::TEXT_ARRAY),
                (&new.routes, Type::TEXT_ARRAY),
                (&new.names, Type::TEXT_ARRAY),
                (&new.dialects, Type::TEXT_ARRAY),
                (&new.accepted, Type::INT8_ARRAY),
                (&new.started, Type::INT8_ARRAY),
                (&new.due, Type::INT8_ARRAY),
                (&new.expires, Type::INT8_ARRAY),
                (&new.attempts, Type::INT4_ARRAY),
                (&new.owners, Type::INT8_ARRAY),
                (&new.fixed, Type::TEXT_ARRAY),
                (&new.docs, Type::TEXT_ARRAY),
                (&new.secrets, Type::BYTEA_ARRAY),
                (&new.heads, Type::BYTEA_ARRAY),
                (&new.bodies, Type::BYTEA_ARRAY),
                (&new.lengths, Type::INT8_ARRAY),
                (&new.clients, Type::TEXT_ARRAY),
                (&new.tls, Type::BOOL_ARRAY),
            ],
        )
        .await?;
    let stored: std::collections::HashSet<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    let mut effects = tx.effects.lock();
    for (run, is_held) in &new.runs {
        if stored.contains(&row::uuid(run.id)) {
            effects.record(None, run, *is_held);
        }
    }
    Ok(())
}

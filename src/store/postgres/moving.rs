//! Runs on their way out of this store, or into it.

use std::collections::HashMap;

use async_trait::async_trait;
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{
    bodies,
    committer::Verb,
    days,
    insert::{self, Insert},
    link::LinkError,
    pieces::{self, Of},
    reader,
    row::{self, COLUMNS, Param, StoredRun},
    shared::Shared,
    tx::{AttemptOf, Entry, Mark, Tx, With},
};
use crate::{
    model::{id::RunId, secret::Secret},
    store::{
        IdempotencyKey,
        moving::{Moved, as_accepted, as_imported, no_request},
    },
};

/// All that is held of some runs, the oldest first.
pub(super) async fn export(
    shared: &Shared,
    after: Option<RunId>,
    limit: usize,
) -> Result<Vec<Moved>, LinkError> {
    let after = after.map_or(Uuid::nil(), row::uuid);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let sql = format!("SELECT {COLUMNS} FROM raincheck.every WHERE id > $1 ORDER BY id LIMIT $2");
    let params: [Param<'_>; 2] = [(&after, Type::UUID), (&limit, Type::INT8)];
    let rows = shared.link.query(&sql, &params).await?;
    let runs: Result<Vec<StoredRun>, _> = rows.iter().map(row::read).collect();
    let runs = runs?;
    let ids: Vec<RunId> = runs.iter().map(|stored| stored.run.id).collect();
    let mut requests = bodies::requests(shared, &ids).await?;
    let mut responses = bodies::responses(shared, &ids).await?;
    let mut attempts = reader::logs(shared, &ids).await?;
    let mut secrets = secrets(shared, &ids).await?;
    let mut keys = idempotency_keys(shared, &ids).await?;
    let moved = runs.into_iter().map(|StoredRun { run, .. }| Moved {
        request: requests.remove(&run.id),
        response: responses.remove(&run.id),
        attempts: attempts.remove(&run.id).unwrap_or_default(),
        secret: secrets.remove(&run.id),
        key: keys.remove(&run.id),
        run,
    });
    Ok(moved.collect())
}

async fn secrets(shared: &Shared, ids: &[RunId]) -> Result<HashMap<RunId, Secret>, LinkError> {
    let sql = "SELECT id, secret FROM raincheck.live WHERE id = ANY($1) AND secret IS NOT NULL
         UNION ALL SELECT id, secret FROM raincheck.run WHERE id = ANY($1) AND secret IS NOT NULL";
    let rows = reader::of(shared, sql, ids).await?.into_iter();
    let secret = |row: Row| (row::id(row.get(0)), Secret::new(row.get::<_, Vec<u8>>(1)));
    Ok(rows.map(secret).collect())
}

async fn idempotency_keys(
    shared: &Shared,
    ids: &[RunId],
) -> Result<HashMap<RunId, IdempotencyKey>, LinkError> {
    let sql = "SELECT id, scope, fingerprint FROM raincheck.idempotency WHERE id = ANY($1)";
    let rows = reader::of(shared, sql, ids).await?.into_iter();
    let keys = rows.filter_map(|row| {
        let (scope, fingerprint): (Vec<u8>, Vec<u8>) = (row.get(1), row.get(2));
        let key = IdempotencyKey {
            scope: scope.try_into().ok()?,
            fingerprint: fingerprint.try_into().ok()?,
        };
        Some((row::id(row.get(0)), key))
    });
    Ok(keys.collect())
}

/// Makes room for runs that are imported then, and stores their long bodies.
pub(super) async fn before_import(shared: &Shared, moved: &[Moved]) -> Result<(), LinkError> {
    for one in moved {
        let id = one.run.id;
        days::cover(shared, id).await?;
        if let Some(request) = &one.request {
            pieces::store(shared, &request.body, (id, Of::Request)).await?;
        }
        if let Some(response) = &one.response {
            pieces::store(shared, &response.body, (id, Of::Response)).await?;
        }
    }
    Ok(())
}

/// Stores runs as another store held them.
pub(super) struct Import {
    pub(super) moved: Vec<Moved>,
}

#[async_trait]
impl Verb for Import {
    type Outcome = ();

    async fn apply(&self, tx: &Tx<'_>) -> Result<(), LinkError> {
        for moved in &self.moved {
            let request = moved.request.clone();
            let request = request.unwrap_or_else(|| no_request(moved.secret.clone()));
            let new = Insert::new(&as_accepted(&moved.run), &request, None);
            tx.inserts.lock().push(new);
        }
        insert::all(tx).await?;
        let all = self.moved.iter().map(|moved| self.complete(tx, moved));
        futures::future::try_join_all(all).await?;
        Ok(())
    }
}

impl Import {
    async fn complete(&self, tx: &Tx<'_>, moved: &Moved) -> Result<(), LinkError> {
        let before = Mark::of(&as_accepted(&moved.run), None);
        let run = as_imported(moved);
        let with = With {
            response: moved.response.clone(),
            entry: None,
        };
        tx.rewrite(&before, &run, None, with).await?;
        for entry in &moved.attempts.of_run {
            let entry = Entry::new(AttemptOf::Run, entry.attempt, entry);
            tx.log_attempt(run.id, &entry).await?;
        }
        for entry in &moved.attempts.of_delivery {
            let entry = Entry::new(AttemptOf::Delivery, entry.attempt, entry);
            tx.log_attempt(run.id, &entry).await?;
        }
        if let Some(key) = &moved.key {
            let (scope, fingerprint) = (&key.scope[..], &key.fingerprint[..]);
            let sql = "INSERT INTO raincheck.idempotency(scope, id, fingerprint) VALUES($1, $2, $3) ON CONFLICT DO NOTHING";
            let params: [Param<'_>; 3] = [
                (&scope, Type::BYTEA),
                (&row::uuid(run.id), Type::UUID),
                (&fingerprint, Type::BYTEA),
            ];
            tx.execute(sql, &params).await?;
        }
        Ok(())
    }
}

/// Has another store's identity.
pub(super) struct TakeIdentity {
    pub(super) loop_id: String,
    pub(super) key: Secret,
}

#[async_trait]
impl Verb for TakeIdentity {
    type Outcome = ();

    async fn apply(&self, tx: &Tx<'_>) -> Result<(), LinkError> {
        let key = self.key.reveal();
        let params: [Param<'_>; 2] = [(&self.loop_id, Type::TEXT), (&key, Type::BYTEA)];
        let sql = "UPDATE raincheck.identity SET loop_id = $1, key = $2";
        tx.execute(sql, &params).await?;
        Ok(())
    }
}

//! Runs on their way out of this store, or into it.

use async_trait::async_trait;
use tokio_postgres::types::Type;

use super::{
    bodies,
    committer::Verb,
    days,
    insert::{self, Insert},
    link::LinkError,
    pieces::{self, Of},
    row::{self, Param, StoredRun},
    tx::{AttemptOf, Entry, Mark, Tx, With},
};
use crate::{
    model::{attempt::Attempts, id::RunId, secret::Secret},
    store::{
        IdempotencyKey,
        moving::{Moved, as_accepted, as_imported, no_request},
    },
};

/// All that is held of some runs, the oldest first.
pub(super) struct Export {
    pub(super) after: Option<RunId>,
    pub(super) limit: usize,
}

#[async_trait]
impl Verb for Export {
    type Outcome = Vec<Moved>;

    async fn apply(&self, tx: &Tx<'_>) -> Result<Vec<Moved>, LinkError> {
        let after = self.after.map_or(uuid::Uuid::nil(), row::uuid);
        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
        let params: [Param<'_>; 2] = [(&after, Type::UUID), (&limit, Type::INT8)];
        let runs = tx
            .select("every WHERE id > $1 ORDER BY id LIMIT $2", &params)
            .await?;
        let ids: Vec<RunId> = runs.iter().map(|stored| stored.run.id).collect();
        let mut requests = bodies::requests(tx.db, tx.shared, &ids).await?;
        let mut responses = bodies::responses(tx.db, tx.shared, &ids).await?;
        let mut moved = Vec::with_capacity(runs.len());
        for StoredRun { run, .. } in runs {
            moved.push(Moved {
                request: requests.remove(&run.id),
                response: responses.remove(&run.id),
                attempts: attempts(tx, run.id).await?,
                secret: secret(tx, run.id).await?,
                key: idempotency_key(tx, run.id).await?,
                run,
            });
        }
        Ok(moved)
    }
}

async fn attempts(tx: &Tx<'_>, id: RunId) -> Result<Attempts, LinkError> {
    let mut attempts = Attempts::default();
    let sql = "SELECT kind, json FROM raincheck.attempt WHERE id = $1 ORDER BY kind, n";
    for row in tx.query(sql, &[(&row::uuid(id), Type::UUID)]).await? {
        let (kind, json): (i16, &str) = (row.get(0), row.get(1));
        if kind == AttemptOf::Run as i16 {
            attempts.of_run.extend(serde_json::from_str(json));
        } else {
            attempts.of_delivery.extend(serde_json::from_str(json));
        }
    }
    Ok(attempts)
}

async fn secret(tx: &Tx<'_>, id: RunId) -> Result<Option<Secret>, LinkError> {
    let sql = "SELECT secret FROM raincheck.live WHERE id = $1 AND secret IS NOT NULL
         UNION ALL SELECT secret FROM raincheck.run WHERE id = $1 AND secret IS NOT NULL";
    let rows = tx.query(sql, &[(&row::uuid(id), Type::UUID)]).await?;
    let found = rows.first().map(|row| row.get::<_, Vec<u8>>(0));
    Ok(found.map(Secret::new))
}

async fn idempotency_key(tx: &Tx<'_>, id: RunId) -> Result<Option<IdempotencyKey>, LinkError> {
    let sql = "SELECT scope, fingerprint FROM raincheck.idempotency WHERE id = $1";
    let rows = tx.query(sql, &[(&row::uuid(id), Type::UUID)]).await?;
    Ok(rows.first().and_then(|row| {
        let (scope, fingerprint): (Vec<u8>, Vec<u8>) = (row.get(0), row.get(1));
        Some(IdempotencyKey {
            scope: scope.try_into().ok()?,
            fingerprint: fingerprint.try_into().ok()?,
        })
    }))
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
            let id = moved.run.id;
            let request = moved.request.clone();
            let request = request.unwrap_or_else(|| no_request(moved.secret.clone()));
            days::cover(tx.shared, id).await?;
            pieces::store(tx.db, tx.shared, &request.body, (id, Of::Request)).await?;
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
        if let Some(response) = &moved.response {
            let place = (run.id, Of::Response);
            pieces::store(tx.db, tx.shared, &response.body, place).await?;
        }
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

//! One transaction: the writes that all verbs are made of. Verbs of one batch send theirs one behind the other without
//! waiting (pipelining); each write says itself how the run must stand.

use parking_lot::Mutex;
use serde::Serialize;
use tokio_postgres::{Client, Row, types::Type};

use super::{
    insert::Inserts,
    link::LinkError,
    pieces::{self, REQUEST, RESPONSE},
    row::{self, COLUMNS, Columns, Param, StoredRun},
    shared::{Effects, Shared, Stood},
};
use crate::{
    model::{
        delivery::DeliveryState,
        exchange::{Body, StoredResponse},
        id::RunId,
        run::Run,
    },
    store::SettleError,
};

/// The transaction under way.
pub(super) struct Tx<'a> {
    pub(super) db: &'a Client,
    pub(super) shared: &'a Shared,
    /// In whose name things are held.
    pub(super) owner: i64,
    pub(super) effects: Mutex<Effects>,
    /// Runs that are inserted when all verbs of the batch have been applied.
    pub(super) inserts: Mutex<Inserts>,
}

/// How a run must stand for a change to apply to it.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    state: &'static str,
    attempts: i32,
    owner: Option<i64>,
    d_state: Option<&'static str>,
    d_attempts: Option<i32>,
    stood: Stood,
}

impl Mark {
    /// How `run` stands, held by `owner`.
    pub(super) fn of(run: &Run, owner: Option<i64>) -> Self {
        let delivery = run.delivery.as_ref();
        Self {
            state: run.state.as_str(),
            attempts: run.progress.attempts.cast_signed(),
            owner,
            d_state: delivery.map(|it| it.state.as_str()),
            d_attempts: delivery.map(|it| it.attempts.cast_signed()),
            stood: Stood::of(run),
        }
    }

    /// Whether it is held by this registration; what was held by one that is fenced by now is others'.
    pub(super) fn is_held_by(&self, owner: i64) -> bool {
        self.owner == Some(owner)
    }
}

/// Whose attempt it is (see the table `attempt`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptOf {
    Run = 0,
    Delivery = 1,
}

impl Tx<'_> {
    pub(super) async fn query(
        &self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, LinkError> {
        Ok(self.db.query_typed(sql, params).await?)
    }

    pub(super) async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, LinkError> {
        Ok(self.db.execute_typed(sql, params).await?)
    }

    /// Notes that a run, or its delivery, is held by this process from now on: before anything of it is committed.
    pub(super) fn take(&self, id: RunId) {
        self.shared.held.lock().insert(id);
        self.effects.lock().taken.push(id);
    }

    /// Writes everything that can change in a run's row, if the run stands as `before` says. False: it does not.
    pub(super) async fn write(
        &self,
        before: &Mark,
        run: &Run,
        owner: Option<i64>,
    ) -> Result<bool, LinkError> {
        let to = Columns::of(run);
        let sql = "UPDATE raincheck.run SET state=$1, reason=$2, started=$3, finished=$4, due=$5, expires=$6, done=$7,
               attempts=$8, owner=$9, d_state=$10, d_attempts=$11, d_due=$12, d_until=$13, d_host=$14, doc=$15
             WHERE id=$16 AND state=$17 AND attempts=$18 AND owner IS NOT DISTINCT FROM $19
               AND d_state IS NOT DISTINCT FROM $20 AND d_attempts IS NOT DISTINCT FROM $21";
        let written = self
            .execute(
                sql,
                &[
                    (&to.state, Type::TEXT),
                    (&to.reason, Type::TEXT),
                    (&to.started, Type::INT8),
                    (&to.finished, Type::INT8),
                    (&to.due, Type::INT8),
                    (&to.expires, Type::INT8),
                    (&to.done, Type::INT8),
                    (&to.attempts, Type::INT4),
                    (&owner, Type::INT8),
                    (&to.d_state, Type::TEXT),
                    (&to.d_attempts, Type::INT4),
                    (&to.d_due, Type::INT8),
                    (&to.d_until, Type::INT8),
                    (&to.d_host, Type::TEXT),
                    (&to.doc, Type::TEXT),
                    (&to.id, Type::UUID),
                    (&before.state, Type::TEXT),
                    (&before.attempts, Type::INT4),
                    (&before.owner, Type::INT8),
                    (&before.d_state, Type::TEXT),
                    (&before.d_attempts, Type::INT4),
                ],
            )
            .await?;
        if written == 0 {
            return Ok(false);
        }
        let is_held = owner.is_some();
        self.effects
            .lock()
            .record(Some(&before.stood), run, is_held);
        Ok(true)
    }

    /// Writes the end of a run: its row, the response in the place of the request, the secret only if a delivery
    /// needs it. The pieces of a long response are there already.
    pub(super) async fn write_end(
        &self,
        before: &Mark,
        run: &Run,
        response: &StoredResponse,
        owner: Option<i64>,
    ) -> Result<bool, LinkError> {
        if !self.write(before, run, owner).await? {
            return Ok(false);
        }
        let id = row::uuid(run.id);
        let (inline, len) = pieces::columns(&response.body);
        let head = &response.head[..];
        self.execute(
            "UPDATE raincheck.body SET head=$2, body=$3, len=$4, client=NULL, tls=NULL WHERE id=$1",
            &[
                (&id, Type::UUID),
                (&head, Type::BYTEA),
                (&inline, Type::BYTEA),
                (&len, Type::INT8),
            ],
        )
        .await?;
        pieces::remove(self, run.id, REQUEST).await?;
        if run.delivery.is_none() {
            self.forget_secret(run.id).await?;
        }
        Ok(true)
    }

    /// Removes the caller's webhook secret.
    pub(super) async fn forget_secret(&self, id: RunId) -> Result<(), LinkError> {
        let sql = "UPDATE raincheck.run SET secret=NULL WHERE id=$1 AND secret IS NOT NULL";
        self.execute(sql, &[(&row::uuid(id), Type::UUID)]).await?;
        Ok(())
    }

    /// Writes an entry of the log of attempts.
    pub(super) async fn log_attempt(
        &self,
        id: RunId,
        kind: AttemptOf,
        number: u32,
        entry: &impl Serialize,
    ) -> Result<(), LinkError> {
        let sql = "INSERT INTO raincheck.attempt(id, kind, n, json) VALUES($1, $2, $3, $4)
             ON CONFLICT (id, kind, n) DO UPDATE SET json = excluded.json";
        let (kind, number) = (kind as i16, number.cast_signed());
        self.execute(
            sql,
            &[
                (&row::uuid(id), Type::UUID),
                (&kind, Type::INT2),
                (&number, Type::INT4),
                (&row::json(entry), Type::TEXT),
            ],
        )
        .await?;
        Ok(())
    }

    /// Looks a run up.
    pub(super) async fn find(&self, id: RunId) -> Result<Option<StoredRun>, LinkError> {
        let id = row::uuid(id);
        let mut found = self.select("WHERE id = $1", &[(&id, Type::UUID)]).await?;
        Ok(found.pop())
    }

    /// The runs that `rest` selects with its parameters.
    pub(super) async fn select(
        &self,
        rest: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<StoredRun>, LinkError> {
        let sql = format!("SELECT {COLUMNS} FROM raincheck.run {rest}");
        let rows = self.query(&sql, params).await?;
        let runs: Result<_, _> = rows.iter().map(row::read).collect();
        Ok(runs?)
    }

    /// Whether a run's record has expired.
    pub(super) async fn is_expired(&self, id: RunId) -> Result<bool, LinkError> {
        let sql = "SELECT 1 FROM raincheck.tombstone WHERE id = $1";
        let rows = self.query(sql, &[(&row::uuid(id), Type::UUID)]).await?;
        Ok(!rows.is_empty())
    }

    /// Why a change did not apply; none if it has been applied before, by the same batch whose end was not heard of.
    pub(super) async fn why_not(
        &self,
        wanted: &Run,
        of_delivery: bool,
    ) -> Result<Option<SettleError>, LinkError> {
        let Some(StoredRun { run: found, owner }) = self.find(wanted.id).await? else {
            return Ok(Some(SettleError::WrongState));
        };
        let (is, meant) = (Columns::of(&found), Columns::of(wanted));
        if (is.state, is.attempts, is.finished, is.d_attempts, &is.doc)
            == (
                meant.state,
                meant.attempts,
                meant.finished,
                meant.d_attempts,
                &meant.doc,
            )
            && owner.is_none_or(|owner| owner == self.owner)
        {
            return Ok(None);
        }
        let over = match found.delivery {
            Some(delivery) if of_delivery => delivery.state != DeliveryState::Pending,
            _ => found.state.is_final(),
        };
        Ok(Some(if over {
            SettleError::WrongState
        } else {
            SettleError::Fenced
        }))
    }

    /// Reads the response of a finished run. A long one is brought into a file here.
    pub(super) async fn response(&self, id: RunId) -> Result<Option<StoredResponse>, LinkError> {
        read_response(self.db, self.shared, id).await
    }
}

/// Reads the response of a finished run, in or outside of a transaction.
pub(super) async fn read_response(
    db: &Client,
    shared: &Shared,
    id: RunId,
) -> Result<Option<StoredResponse>, LinkError> {
    let sql = "SELECT head, body, len FROM raincheck.body WHERE id = $1";
    let rows = db.query_typed(sql, &[(&row::uuid(id), Type::UUID)]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let body: Body = pieces::body(db, shared, row, (id, RESPONSE)).await?;
    let head: Vec<u8> = row.get("head");
    Ok(Some(StoredResponse {
        head: head.into(),
        body,
    }))
}

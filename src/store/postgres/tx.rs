//! One transaction: the reads and writes that all verbs are made of. Verbs of one batch send theirs one behind the other
//! without waiting (pipelining); their writes go together.

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio_postgres::{Client, Row, types::Type};

use super::{
    insert::Insert,
    link::LinkError,
    records::RecordTypes,
    row::{self, COLUMNS, Columns, Param, StoredRun},
    shared::{self, Effects, Shared, Stood},
    write::Write,
};
use crate::{
    model::{delivery::DeliveryState, exchange::StoredResponse, id::RunId, run::Run},
    store::{Fence, SettleError},
};

/// The transaction under way.
pub(super) struct Tx<'a> {
    pub(super) db: &'a Client,
    pub(super) shared: &'a Shared,
    pub(super) types: &'a RecordTypes,
    /// In whose name things are held.
    pub(super) owner: i64,
    /// Whether it was tried before, and nobody heard how its commit ended.
    pub(super) is_again: bool,
    pub(super) effects: Mutex<Effects>,
    /// Runs that are inserted when all verbs of the batch have been applied.
    pub(super) inserts: Mutex<Vec<Insert>>,
    /// Changes that are made when all verbs of the batch wait.
    pub(super) writes: Mutex<Vec<Write>>,
}

/// How a run must stand for a change to apply to it.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) state: &'static str,
    pub(super) attempts: i32,
    pub(super) owner: Option<i64>,
    pub(super) d_state: Option<&'static str>,
    pub(super) d_attempts: Option<i32>,
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

/// An entry of the log of attempts.
pub(super) struct Entry {
    pub(super) of: AttemptOf,
    pub(super) number: u32,
    pub(super) json: String,
}

impl Entry {
    pub(super) fn new(of: AttemptOf, number: u32, entry: &impl Serialize) -> Self {
        let json = row::json(entry);
        Self { of, number, json }
    }
}

/// What else is written with a change of a run.
#[derive(Default)]
pub(super) struct With {
    /// If the run ends: its response.
    pub(super) response: Option<StoredResponse>,
    pub(super) entry: Option<Entry>,
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

    /// What claims of this transaction are marked with.
    pub(super) fn fence(&self) -> Fence {
        shared::fence(self.owner)
    }

    /// Notes that a run, or its delivery, is held by this process from now on: before anything of it is committed.
    pub(super) fn take(&self, id: RunId) {
        self.shared.held.lock().insert(id, None);
        self.effects.lock().taken.push(id);
    }

    /// Writes everything that can change of a run, if the run stands as `before` says; `owner` holds it then. False: it
    /// does not stand so.
    pub(super) async fn write(
        &self,
        before: &Mark,
        run: &Run,
        owner: Option<i64>,
        with: With,
    ) -> Result<bool, LinkError> {
        let (applied, is_applied) = oneshot::channel();
        let is_over = run.state.is_final();
        let delivery = run.delivery.as_ref().map(|delivery| delivery.state);
        self.writes.lock().push(Write {
            before: before.clone(),
            to: Columns::of(run),
            owner,
            keeps_secret: !is_over || delivery.is_some_and(|it| it != DeliveryState::Delivered),
            response: with.response,
            entry: with.entry,
            applied,
        });
        if !is_applied.await.map_err(|_| LinkError::Closed)? {
            return Ok(false);
        }
        let is_held = owner.is_some();
        self.effects
            .lock()
            .record(Some(&before.stood), run, is_held);
        Ok(true)
    }

    /// The same of a run that was read for it.
    ///
    /// # Errors
    /// [`LinkError::Crossed`] if another verb of the batch has changed it since.
    pub(super) async fn rewrite(
        &self,
        before: &Mark,
        run: &Run,
        owner: Option<i64>,
        with: With,
    ) -> Result<(), LinkError> {
        if self.write(before, run, owner, with).await? {
            Ok(())
        } else {
            Err(LinkError::Crossed)
        }
    }

    /// Writes an entry of the log of attempts by itself.
    pub(super) async fn log_attempt(&self, id: RunId, entry: &Entry) -> Result<(), LinkError> {
        let sql = "INSERT INTO raincheck.attempt(id, kind, n, json) VALUES($1, $2, $3, $4)
             ON CONFLICT (id, kind, n) DO UPDATE SET json = excluded.json";
        let (kind, number) = (entry.of as i16, entry.number.cast_signed());
        self.execute(
            sql,
            &[
                (&row::uuid(id), Type::UUID),
                (&kind, Type::INT2),
                (&number, Type::INT4),
                (&entry.json, Type::TEXT),
            ],
        )
        .await?;
        Ok(())
    }

    /// A run with something left to do, which nobody else changes before the transaction ends.
    pub(super) async fn lock(&self, id: RunId) -> Result<Option<StoredRun>, LinkError> {
        let id = row::uuid(id);
        let mut found = self
            .select("live WHERE id = $1 FOR UPDATE", &[(&id, Type::UUID)])
            .await?;
        Ok(found.pop())
    }

    /// The runs that `rest` selects with its parameters: a table, and conditions.
    pub(super) async fn select(
        &self,
        rest: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<StoredRun>, LinkError> {
        let sql = format!("SELECT {COLUMNS} FROM raincheck.{rest}");
        let rows = self.query(&sql, params).await?;
        let runs: Result<_, _> = rows.iter().map(row::read).collect();
        Ok(runs?)
    }

    /// Why a change did not apply; none if it has been applied before, by the same batch whose end was not heard of.
    pub(super) async fn why_not(
        &self,
        wanted: &Run,
        of_delivery: bool,
    ) -> Result<Option<SettleError>, LinkError> {
        let id = row::uuid(wanted.id);
        let mut found = self
            .select("every WHERE id = $1", &[(&id, Type::UUID)])
            .await?;
        let Some(StoredRun { run: found, owner }) = found.pop() else {
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
}

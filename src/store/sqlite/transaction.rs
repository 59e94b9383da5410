//! One transaction: the writes that all verbs are made of, and what follows from them once it is committed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use rusqlite::{Connection, OptionalExtension, Result, params};
use serde::Serialize;

use super::{
    names::{NewNames, PolicyIds},
    row::{self, COLUMNS, StoredRun, millis},
    shared::Shared,
};
use crate::{
    model::{
        delivery::{DeliveryError, DeliveryState},
        exchange::{Body, StoredResponse},
        id::RunId,
        policy::Policy,
        retry,
        run::{Reason, Run, RunState},
        time::Timestamp,
    },
    store::{Fence, PendingDelivery, SettleError, ending::receiver_address},
};

/// The transaction under way.
pub(super) struct Tx<'a> {
    pub(super) db: &'a Connection,
    pub(super) shared: &'a Shared,
    pub(super) effects: Effects,
}

/// What follows from a transaction once it is committed.
#[derive(Debug, Clone, Default)]
pub(super) struct Effects {
    /// Whether there is anything to commit.
    pub(super) changed: bool,
    /// Changes of the books, by kind (see the table `tally`), route and state.
    pub(super) tally: BTreeMap<(i64, i64, i64), i64>,
    /// Changes of the numbers of unfinished runs, by route.
    pub(super) unfinished: BTreeMap<i64, (Option<Arc<Policy>>, i64)>,
    /// The numbers of unfinished runs as they were before this transaction, if they were read.
    pub(super) unfinished_anew: Option<HashMap<String, i64>>,
    pub(super) new_names: NewNames,
    /// Runs were queued.
    pub(super) queued: bool,
    /// Deliveries that are pending and that nobody holds.
    pub(super) pending: Vec<PendingDelivery>,
    /// Runs that changed, for those who wait for them.
    pub(super) runs: Vec<RunId>,
    /// Spool files that no row names any more.
    pub(super) orphans: Vec<String>,
}

/// How a run must stand for a change to apply to it; it differs after every change of the run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    state: RunState,
    attempts: u32,
    holder: Option<Fence>,
    delivery: Option<(DeliveryState, u32)>,
}

impl Mark {
    /// How `run` stands, held by `holder`.
    pub(super) fn of(run: &Run, holder: Option<Fence>) -> Self {
        Self {
            state: run.state,
            attempts: run.progress.attempts,
            holder,
            delivery: run.delivery.as_ref().map(|d| (d.state, d.attempts)),
        }
    }

    fn is_unfinished(&self) -> bool {
        !self.state.is_final() || matches!(self.delivery, Some((DeliveryState::Pending, _)))
    }
}

/// Whose attempt it is (see the table `attempt`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptOf {
    Run = 0,
    Delivery = 1,
}

/// What the end of a run removes with its request.
#[derive(Debug, Clone, Default)]
pub(super) struct Leftovers {
    /// The request's spool file.
    pub(super) spool: Option<String>,
    /// Whether there is a webhook secret.
    pub(super) secret: bool,
}

impl Leftovers {
    pub(super) fn of(body: &Body, secret: bool) -> Self {
        let spool = match body {
            Body::Inline(_) => None,
            Body::Spooled { name, .. } => Some(name.clone()),
        };
        Self { spool, secret }
    }
}

impl Tx<'_> {
    /// Writes everything that can change in a run's row, if the run stands as `before` says. False: it does not.
    pub(super) fn write(
        &mut self,
        before: &Mark,
        run: &Run,
        holder: Option<Fence>,
    ) -> Result<bool> {
        let response = run.response.as_ref();
        let delivery = run.delivery.as_ref();
        let delivery_state = |state| row::code(&DeliveryState::ALL, &state);
        let written = self
            .db
            .prepare_cached(
                "UPDATE run SET state=?1, reason=?2, started=?3, finished=?4, due=?5, expires=?6, done=?7, attempts=?8,
                   progress=?9, slot=?10, epoch=?11, r_status=?12, r_type=?13, r_bytes=?14, r_upstream=?15,
                   d_state=?16, d_attempts=?17, d_status=?18, d_error=?19, d_due=?20,
                   d_host=?28, d_since=?29, d_before=?30, d_until=?31
                 WHERE rid=?21 AND state=?22 AND attempts=?23 AND slot IS ?24 AND epoch IS ?25
                   AND d_state IS ?26 AND d_attempts IS ?27",
            )?
            .execute(params![
                row::code(&RunState::ALL, &run.state),
                run.reason.and_then(|reason| row::code(&Reason::ALL, &reason)),
                run.started_at.map(millis),
                run.finished_at.map(millis),
                due(run).map(millis),
                expires(run).map(millis),
                done(run).map(millis),
                run.progress.attempts,
                row::pack(&run.progress),
                holder.map(|fence| fence.slot),
                holder.map(|fence| fence.epoch.cast_signed()),
                response.map(|facts| facts.status),
                response.and_then(|facts| facts.content_type.as_deref()),
                response.map(|facts| facts.bytes.cast_signed()),
                response.map(|facts| facts.from_upstream),
                delivery.and_then(|d| delivery_state(d.state)),
                delivery.map(|d| d.attempts),
                delivery.and_then(|d| d.last_status),
                delivery.and_then(|d| row::code(&DeliveryError::ALL, &d.last_error?)),
                delivery.and_then(|d| d.next_attempt_at).map(millis),
                run.id.key(),
                row::code(&RunState::ALL, &before.state),
                before.attempts,
                before.holder.map(|fence| fence.slot),
                before.holder.map(|fence| fence.epoch.cast_signed()),
                before.delivery.and_then(|(state, _)| delivery_state(state)),
                before.delivery.map(|(_, attempts)| attempts),
                delivery.map(|d| d.host.as_str()),
                since(run).map(millis),
                delivery.map(|d| d.attempts_before).filter(|n| *n > 0),
                until(run).map(millis),
            ])?;
        if written == 0 {
            return Ok(false);
        }
        self.record(Some(before), run, holder)?;
        Ok(true)
    }

    /// Writes what can change in a run's row after its end, as [`Tx::write`] does: fewer columns, so fewer indexes.
    pub(super) fn write_delivery(
        &mut self,
        before: &Mark,
        run: &Run,
        holder: Option<Fence>,
    ) -> Result<bool> {
        let Some(delivery) = &run.delivery else {
            return Ok(false);
        };
        let delivery_state = |state| row::code(&DeliveryState::ALL, &state);
        let written = self
            .db
            .prepare_cached(
                "UPDATE run SET done=?1, slot=?2, epoch=?3, d_state=?4, d_attempts=?5, d_status=?6, d_error=?7, d_due=?8,
                   d_since=?9, d_before=?10, d_until=?11
                 WHERE rid=?12 AND slot IS ?13 AND epoch IS ?14 AND d_state IS ?15 AND d_attempts IS ?16",
            )?
            .execute(params![
                done(run).map(millis),
                holder.map(|fence| fence.slot),
                holder.map(|fence| fence.epoch.cast_signed()),
                delivery_state(delivery.state),
                delivery.attempts,
                delivery.last_status,
                delivery.last_error.and_then(|error| row::code(&DeliveryError::ALL, &error)),
                delivery.next_attempt_at.map(millis),
                since(run).map(millis),
                Some(delivery.attempts_before).filter(|n| *n > 0),
                until(run).map(millis),
                run.id.key(),
                before.holder.map(|fence| fence.slot),
                before.holder.map(|fence| fence.epoch.cast_signed()),
                before.delivery.and_then(|(state, _)| delivery_state(state)),
                before.delivery.map(|(_, attempts)| attempts),
            ])?;
        if written == 0 {
            return Ok(false);
        }
        self.record(Some(before), run, holder)?;
        Ok(true)
    }

    /// Takes a pending delivery that nobody holds.
    pub(super) fn hold(&mut self, run: &Run, fence: Fence) -> Result<bool> {
        let written = self
            .db
            .prepare_cached(
                "UPDATE run SET slot=?2, epoch=?3 WHERE rid=?1 AND slot IS NULL AND d_state=0",
            )?
            .execute((run.id.key(), fence.slot, fence.epoch.cast_signed()))?;
        self.effects.changed |= written > 0;
        Ok(written > 0)
    }

    /// Writes the end of a run: its row, the response in the place of the request, the secret only if a delivery
    /// needs it.
    pub(super) fn write_end(
        &mut self,
        before: &Mark,
        run: &Run,
        response: &StoredResponse,
        leftovers: Leftovers,
        holder: Option<Fence>,
    ) -> Result<bool> {
        if !self.write(before, run, holder)? {
            return Ok(false);
        }
        let (inline, spool, len) = row::body(&response.body);
        self.db
            .prepare_cached(
                "UPDATE body SET head=?2, body=?3, spool=?4, len=?5, client=NULL, tls=NULL WHERE rid=?1",
            )?
            .execute(params![run.id.key(), &response.head[..], inline, spool, len])?;
        if leftovers.secret && run.delivery.is_none() {
            self.forget_secret(run.id)?;
        }
        self.effects.orphans.extend(leftovers.spool);
        Ok(true)
    }

    /// Writes an entry of the log of attempts.
    pub(super) fn log_attempt(
        &self,
        id: RunId,
        kind: AttemptOf,
        number: u32,
        entry: &impl Serialize,
    ) -> Result<()> {
        let json = serde_json::to_string(entry).map_err(row::json_error)?;
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO attempt(rid, kind, n, json) VALUES(?1, ?2, ?3, ?4)",
            )?
            .execute((id.key(), kind as i64, number, json))?;
        Ok(())
    }

    /// Overwrites the caller's webhook secret.
    pub(super) fn forget_secret(&self, id: RunId) -> Result<()> {
        self.db
            .prepare_cached("DELETE FROM webhook_secret WHERE rid = ?1")?
            .execute([id.key()])?;
        Ok(())
    }

    /// Keeps the books of one change; `before` is none for a new run.
    pub(super) fn record(
        &mut self,
        before: Option<&Mark>,
        run: &Run,
        holder: Option<Fence>,
    ) -> Result<()> {
        let after = Mark::of(run, holder);
        let PolicyIds { route, .. } = self.policy_ids(&run.policy)?;
        self.count(before, route, -1);
        self.count(Some(&after), route, 1);
        let change =
            i64::from(after.is_unfinished()) - i64::from(before.is_some_and(Mark::is_unfinished));
        if change != 0 {
            let entry = self.effects.unfinished.entry(route).or_default();
            entry.1 += change;
            entry.0.get_or_insert_with(|| Arc::clone(&run.policy));
        }
        self.effects.changed = true;
        self.effects.runs.push(run.id);
        self.effects.queued |= run.state == RunState::Queued;
        if holder.is_none() {
            self.effects.pending.extend(pending(run));
        }
        Ok(())
    }

    fn count(&mut self, mark: Option<&Mark>, route: i64, change: i64) {
        let Some(mark) = mark else { return };
        let run = row::code(&RunState::ALL, &mark.state).map(|state| (0, route, state));
        let delivery = mark
            .delivery
            .and_then(|(state, _)| row::code(&DeliveryState::ALL, &state))
            .map(|state| (1, route, state));
        for key in run.into_iter().chain(delivery) {
            *self.effects.tally.entry(key).or_default() += change;
        }
    }

    /// Writes what changed in the books, and the batch's number.
    pub(super) fn flush(&mut self, batch: i64) -> Result<()> {
        for ((kind, route, state), change) in &self.effects.tally {
            if *change != 0 {
                self.db
                    .prepare_cached(
                        "INSERT INTO tally(kind, route, state, n) VALUES(?1, ?2, ?3, ?4)
                         ON CONFLICT(kind, route, state) DO UPDATE SET n = n + excluded.n",
                    )?
                    .execute((kind, route, state, change))?;
            }
        }
        let Fence { slot, epoch } = self.shared.fence;
        self.db
            .prepare_cached("UPDATE slot SET batch = ?3, high = ?4 WHERE slot = ?1 AND epoch = ?2")?
            .execute((slot, epoch.cast_signed(), batch, self.shared.ids.high()))?;
        Ok(())
    }

    /// The numbers of a policy, which is stored if it is new.
    pub(super) fn policy_ids(&mut self, policy: &Arc<Policy>) -> Result<PolicyIds> {
        self.shared
            .names
            .ids(self.db, &mut self.effects.new_names, policy)
    }

    /// Looks a run up.
    pub(super) fn find(&self, id: RunId) -> Result<Option<StoredRun>> {
        let sql = selecting(COLUMNS, "WHERE rid = ?1 AND id = ?2");
        self.db
            .prepare_cached(&sql)?
            .query_row(params![id.key(), id.as_bytes()], |row| {
                row::read_run(self.db, &self.shared.names, row)
            })
            .optional()
    }

    /// The runs that `rest` selects with its parameters.
    pub(super) fn select(
        &self,
        rest: &str,
        params: impl rusqlite::Params,
    ) -> Result<Vec<StoredRun>> {
        let sql = selecting(COLUMNS, rest);
        let mut statement = self.db.prepare_cached(&sql)?;
        statement
            .query_map(params, |row| {
                row::read_run(self.db, &self.shared.names, row)
            })?
            .collect()
    }

    /// What the end of an unfinished run will remove.
    pub(super) fn leftovers(&self, id: RunId) -> Result<Leftovers> {
        let spool = self
            .db
            .prepare_cached("SELECT spool FROM body WHERE rid = ?1")?
            .query_row([id.key()], |row| row.get(0))
            .optional()?
            .flatten();
        let secret = row::read_secret(self.db, id.key())?.is_some();
        Ok(Leftovers { spool, secret })
    }

    /// Why a change did not apply.
    pub(super) fn why_not(&self, id: RunId, of_delivery: bool) -> Result<SettleError> {
        let Some(found) = self.find(id)? else {
            return Ok(SettleError::WrongState);
        };
        let over = match found.run.delivery {
            Some(delivery) if of_delivery => delivery.state != DeliveryState::Pending,
            _ => found.run.state.is_final(),
        };
        Ok(if over {
            SettleError::WrongState
        } else {
            SettleError::Fenced
        })
    }
}

fn selecting(columns: &str, rest: &str) -> String {
    format!("SELECT {columns} FROM run {rest}")
}

/// When this round of the delivery began, if it is not the first.
fn since(run: &Run) -> Option<Timestamp> {
    let since = run.delivery.as_ref()?.since;
    (Some(since) != run.finished_at).then_some(since)
}

/// When a pending delivery is dead whatever happens.
fn until(run: &Run) -> Option<Timestamp> {
    let delivery = run.delivery.as_ref()?;
    (delivery.state == DeliveryState::Pending).then(|| delivery.deadline(&run.policy.webhook))
}

fn pending(run: &Run) -> Option<PendingDelivery> {
    let due = run.delivery.as_ref()?.next_attempt_at?;
    let endpoint = run.facts.webhook_endpoint.as_deref()?;
    Some(PendingDelivery {
        id: run.id,
        receiver: receiver_address(endpoint),
        due,
    })
}

fn due(run: &Run) -> Option<Timestamp> {
    (run.state == RunState::Queued).then_some(run.due_at)
}

/// When [`retry::after_waiting`] has something to say about a queued run.
fn expires(run: &Run) -> Option<Timestamp> {
    (run.state == RunState::Queued).then(|| match run.started_at {
        None => retry::queue_end(run),
        Some(_) => retry::grace_end(run),
    })
}

fn done(run: &Run) -> Option<Timestamp> {
    match &run.delivery {
        Some(delivery) => delivery.finished_at,
        None => run.finished_at,
    }
}

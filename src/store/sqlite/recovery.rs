//! What becomes of what dead processes held.

use std::collections::HashMap;

use rusqlite::Result;

use super::{
    row::StoredRun,
    runs::{end_unasked, queue_again},
    transaction::{AttemptOf, Mark, Tx},
};
use crate::{
    metrics::Metrics,
    model::{
        attempt::RunAttempt,
        retry::{self, Next, Outcome},
        run::{Reason, Run, RunState},
        time::Timestamp,
    },
    store::Fence,
};

/// Runs that were under way in a slot are queued again or ended, as the one rule of repeats says; deliveries that were
/// under way are set free. Only for who holds the slot's lock. `ours` is what is held in it now, and left alone.
pub(super) fn recover(
    tx: &mut Tx<'_>,
    slot: u8,
    ours: Option<Fence>,
    now: Timestamp,
) -> Result<()> {
    let ours = ours.map(|fence| fence.epoch.cast_signed());
    let held = tx.select(
        "INDEXED BY run_held WHERE slot = ?1 AND (?2 IS NULL OR epoch < ?2)",
        (slot, ours),
    )?;
    for StoredRun { mut run, holder } in held {
        let before = Mark::of(&run, holder);
        if run.state != RunState::Running {
            tx.write(&before, &run, None)?;
            continue;
        }
        let (number, began) = (run.progress.attempts, run.started_at.unwrap_or(now));
        let next = retry::after_attempt(&mut run, Outcome::Interrupted, now);
        if number > 1 || matches!(next, Next::Again { .. }) {
            // When a later attempt began is not known any more: its entry tells no length.
            let began = if number > 1 { now } else { began };
            let entry = RunAttempt::new(number, began, now, Outcome::Interrupted);
            tx.log_attempt(run.id, AttemptOf::Run, number, &entry)?;
        }
        match next {
            Next::End(end) => {
                tracing::warn!(run = %run.id, "a run was interrupted and may not be repeated");
                end_unasked(tx, &mut run, holder, end, now)?;
                count(&tx.shared.metrics, &run);
            }
            Next::Again { due } => {
                queue_again(&mut run, due, now);
                tx.write(&before, &run, None)?;
            }
        }
    }
    Ok(())
}

/// Counts a run that ended here: nobody else hears of it.
fn count(metrics: &Metrics, run: &Run) {
    let reason = run.reason.map_or("", Reason::as_str);
    metrics
        .runs_finished
        .with_label_values(&[&run.policy.route, run.state.as_str(), reason])
        .inc();
}

/// Reads how many unfinished runs each route has, as committed.
pub(super) fn count_unfinished(tx: &Tx<'_>) -> Result<HashMap<String, i64>> {
    let mut statement = tx.db.prepare_cached(
        "SELECT route.name, sum(n) FROM tally JOIN route ON route.id = tally.route
         WHERE (kind = 0 AND state IN (0, 1)) OR (kind = 1 AND state = 0) GROUP BY route.name",
    )?;
    statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

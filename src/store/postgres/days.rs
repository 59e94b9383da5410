//! The partitions of what is over, by the day on which a run was accepted (its id says so): made ahead, and dropped whole
//! when everything in them has outlived its retention. Nothing is deleted row by row.

use std::time::Duration;

use parking_lot::RwLock;
use tokio::time::timeout;
use tokio_postgres::{Client, types::Type};
use uuid::Uuid;

use super::{
    link::{BEGIN, LinkError},
    row::{self, Param},
    shared::Shared,
};
use crate::model::{id::RunId, time::Timestamp};

/// The partitioned tables.
pub(super) const TABLES: [&str; 4] = ["run", "response", "response_piece", "attempt"];
/// What is kept for less than a day goes by the hour.
const DAY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);
/// How many are made ahead.
const AHEAD: u32 = 3;
/// A day goes so long after its last run has expired: clocks differ a little.
const SLACK: Duration = Duration::from_secs(600);
/// For dropping one: it waits for all transactions that were there before.
const DROPPING: Duration = Duration::from_secs(60);
/// The lock of who makes days: \"Days\".
const LOCK: i64 = i64::from_be_bytes(*b"RainDays");

/// For which ids there are partitions, as far as this process knows: lower bounds and upper ones.
#[derive(Debug, Default)]
pub(super) struct Days(RwLock<Vec<(Uuid, Uuid)>>);

impl Days {
    fn has(&self, id: Uuid) -> bool {
        let known = self.0.read();
        known
            .iter()
            .any(|(lower, upper)| (*lower..*upper).contains(&id))
    }
}

/// Makes sure that there are partitions for this run.
pub(super) async fn cover(shared: &Shared, id: RunId) -> Result<(), LinkError> {
    if shared.days.has(row::uuid(id)) {
        return Ok(());
    }
    make(shared, &[id.made_at()]).await
}

/// Makes those of the days to come.
pub(super) async fn ahead(shared: &Shared) -> Result<(), LinkError> {
    let (now, width) = (shared.now(), width(shared.retention));
    let missing: Vec<Timestamp> = (0..=AHEAD)
        .map(|days| now.after(width * days))
        .filter(|time| !shared.days.has(floor(*time)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    make(shared, &missing).await
}

fn width(retention: Duration) -> Duration {
    if retention < DAY { HOUR } else { DAY }
}

/// The least id of a run that is accepted at `time`.
pub(super) fn floor(time: Timestamp) -> Uuid {
    row::uuid(RunId::from_parts(RunId::first_key_at(time), 0))
}

/// Makes the partitions for these times that are not there yet.
async fn make(shared: &Shared, times: &[Timestamp]) -> Result<(), LinkError> {
    let width = u64::try_from(width(shared.retention).as_millis()).unwrap_or(u64::MAX);
    let made = shared.link.look(async |db| {
        db.batch_execute(BEGIN).await?;
        let lock: [Param<'_>; 1] = [(&LOCK, Type::INT8)];
        db.query_typed("SELECT pg_advisory_xact_lock($1)", &lock)
            .await?;
        let mut days = there(&db).await?;
        for time in times {
            let begin = time.millis() - time.millis() % width;
            let [begin, end] = [begin, begin + width].map(Timestamp::from_millis);
            if let Some((lower, upper)) = gap(&days, floor(*time), (floor(begin), floor(end))) {
                add(&db, lower, upper).await?;
                days.push((lower, upper));
            }
        }
        db.batch_execute("COMMIT").await?;
        Ok(days)
    });
    *shared.days.0.write() = made.await?;
    Ok(())
}

/// What of `wanted` around `id` none of the days has; none if one of them has `id`. (Days may have been hours before.)
fn gap(days: &[(Uuid, Uuid)], id: Uuid, wanted: (Uuid, Uuid)) -> Option<(Uuid, Uuid)> {
    let (mut lower, mut upper) = wanted;
    for (begin, end) in days {
        if (*begin..*end).contains(&id) {
            return None;
        }
        if *end <= id {
            lower = lower.max(*end);
        } else {
            upper = upper.min(*begin);
        }
    }
    Some((lower, upper))
}

async fn add(db: &Client, lower: Uuid, upper: Uuid) -> Result<(), LinkError> {
    let begin = row::id(lower).made_at().to_string();
    let digits: String = begin
        .chars()
        .filter(char::is_ascii_digit)
        .take(10)
        .collect();
    let (day, hour) = digits.split_at(8);
    let name = format!("{day}_{hour}");
    for table in TABLES {
        // Attached when it is made: whoever writes meanwhile is not held up.
        let sql = format!(
            "CREATE TABLE raincheck.{table}_{name} (LIKE raincheck.{table} INCLUDING ALL);
             ALTER TABLE raincheck.{table} ATTACH PARTITION raincheck.{table}_{name}
               FOR VALUES FROM ('{lower}') TO ('{upper}');"
        );
        db.batch_execute(&sql).await?;
    }
    let sql = "INSERT INTO raincheck.day(name, lower, upper) VALUES($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET lower = excluded.lower, upper = excluded.upper, dropped = NULL";
    let params: [Param<'_>; 3] = [
        (&name, Type::TEXT),
        (&lower, Type::UUID),
        (&upper, Type::UUID),
    ];
    db.execute_typed(sql, &params).await?;
    Ok(())
}

/// Drops the days in which nothing is left that is to be kept; says how many runs went, about.
pub(super) async fn drop_old(shared: &Shared) -> Result<u64, LinkError> {
    let over = shared.link.look(async |db| {
        mark(&db, shared).await?;
        let sql = "SELECT name FROM raincheck.day
             WHERE dropped IS NOT NULL AND to_regclass('raincheck.run_' || name) IS NOT NULL ORDER BY name";
        Ok(db.query_typed(sql, &[]).await?)
    });
    let mut runs = 0;
    for day in over.await? {
        let name: &str = day.get(0);
        let db = shared.link.connect().await?;
        let dropped = timeout(DROPPING, drop_day(&db, name)).await;
        let of_day = dropped.map_err(|_elapsed| LinkError::Silent)??;
        tracing::info!(day = name, runs = of_day, "expired runs were dropped");
        runs += of_day;
    }
    let days = shared.link.look(async |db| there(&db).await).await?;
    *shared.days.0.write() = days;
    Ok(runs)
}

/// The bounds of the days that are not dropped.
async fn there(db: &Client) -> Result<Vec<(Uuid, Uuid)>, LinkError> {
    let sql = "SELECT lower, upper FROM raincheck.day WHERE dropped IS NULL ORDER BY lower";
    let rows = db.query_typed(sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Notes which days are over: from now on they are tombstones.
async fn mark(db: &Client, shared: &Shared) -> Result<(), LinkError> {
    let kept_since = row::time(shared.kept_since()).before(SLACK);
    let sql = "SELECT name, lower, upper FROM raincheck.day WHERE dropped IS NULL AND upper <= $1";
    let old = db
        .query_typed(sql, &[(&floor(kept_since), Type::UUID)])
        .await?;
    for day in old {
        let name: &str = day.get(0);
        let [lower, upper]: [Uuid; 2] = [day.get(1), day.get(2)];
        let sql = format!(
            "UPDATE raincheck.day SET dropped = $1 WHERE name = $2 AND dropped IS NULL
               AND NOT EXISTS (SELECT 1 FROM raincheck.live WHERE id >= $3 AND id < $4)
               AND NOT EXISTS (SELECT 1 FROM raincheck.run_{name} WHERE done > $5)"
        );
        let params: [Param<'_>; 5] = [
            (&row::millis(shared.now()), Type::INT8),
            (&name, Type::TEXT),
            (&lower, Type::UUID),
            (&upper, Type::UUID),
            (&row::millis(kept_since), Type::INT8),
        ];
        db.execute_typed(&sql, &params).await?;
    }
    Ok(())
}

/// Drops the tables of a day, as far as they are still there: another replica may be at it, or have died at it. That of
/// the runs goes last.
async fn drop_day(db: &Client, name: &str) -> Result<u64, LinkError> {
    let sql = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass('raincheck.run_' || $1)";
    let rows = db.query_typed(sql, &[(&name, Type::TEXT)]).await?;
    let runs: i64 = rows.first().map_or(0, |row| row.get(0));
    for table in TABLES.iter().rev() {
        let part = format!("raincheck.{table}_{name}");
        let sql = "SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = to_regclass($1)";
        let attached = db.query_typed(sql, &[(&part, Type::TEXT)]).await?;
        if let Some(attached) = attached.first() {
            // One that was cut off midway would hold up all later ones.
            let how = if attached.get(0) {
                "FINALIZE"
            } else {
                "CONCURRENTLY"
            };
            let sql = format!("ALTER TABLE raincheck.{table} DETACH PARTITION {part} {how}");
            db.batch_execute(&sql).await?;
        }
        db.batch_execute(&format!("DROP TABLE IF EXISTS {part}"))
            .await?;
    }
    Ok(runs.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_takes_what_others_have_left() {
        let at = |hour: u64| floor(Timestamp::from_millis(hour * 3_600_000));
        let day = (at(24), at(48));
        assert_eq!(gap(&[], at(30), day), Some(day));
        let days = [(at(0), at(24)), (at(26), at(27)), (at(40), at(41))];
        assert_eq!(gap(&days, at(30), day), Some((at(27), at(40))));
        assert_eq!(gap(&days, at(26), day), None);
        assert_eq!(gap(&days, at(25), day), Some((at(24), at(26))));
        assert_eq!(gap(&days, at(45), day), Some((at(41), at(48))));
    }
}

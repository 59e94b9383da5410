//! The replicas and the days, as their rows say: for the admin API and for the metrics.

use tokio_postgres::{Row, types::Type};

use super::{
    days,
    lease::FRESH,
    link::LinkError,
    row::{self, Param},
    shared::Shared,
};
use crate::model::{
    replica::{Day, DayState, Replica, ReplicaState, Sharing},
    time::Timestamp,
};

/// How a day stands; `$1` is the least id of a run that is accepted now.
const DAY_STATE: &str =
    "CASE WHEN dropped IS NULL AND lower > $1 THEN 'ahead' WHEN dropped IS NULL THEN 'kept'
     WHEN to_regclass('raincheck.run_' || name) IS NOT NULL THEN 'dropping' ELSE 'dropped' END";

/// Who shares the store, and the days that there are.
pub(super) async fn sharing(shared: &Shared) -> Result<Sharing, LinkError> {
    let now = days::floor(shared.now());
    let look = shared.link.look(async |db| {
        let sql = "SELECT r.id, r.name, r.version, r.fenced,
               (extract(epoch FROM r.began) * 1000)::bigint AS began,
               (extract(epoch FROM r.beat_at) * 1000)::bigint AS beat_at,
               (extract(epoch FROM clock_timestamp() - r.beat_at) * 1000)::bigint AS age,
               (SELECT count(*) FROM raincheck.live WHERE owner = r.id AND state = 'running') AS runs,
               (SELECT count(*) FROM raincheck.live WHERE owner = r.id AND state <> 'running') AS deliveries
             FROM raincheck.replica AS r ORDER BY r.id";
        let replicas = db.query_typed(sql, &[]).await?;
        let sql = format!(
            "SELECT d.name, d.lower, d.upper, {DAY_STATE} AS state,
               (SELECT nullif(reltuples, -1)::bigint FROM pg_class
                WHERE oid = to_regclass('raincheck.run_' || d.name)) AS runs,
               (SELECT coalesce(sum(pg_total_relation_size(to_regclass('raincheck.' || part || '_' || d.name))), 0)::bigint
                FROM unnest($2::text[]) AS part) AS bytes
             FROM raincheck.day AS d ORDER BY d.lower"
        );
        let tables = days::TABLES.as_slice();
        let params: [Param<'_>; 2] = [(&now, Type::UUID), (&tables, Type::TEXT_ARRAY)];
        let days = db.query_typed(&sql, &params).await?;
        Ok((replicas, days))
    });
    let (replicas, days) = look.await?;
    let own = shared.owner();
    Ok(Sharing {
        replicas: replicas.iter().map(|row| replica(row, own)).collect(),
        days: days.iter().map(day).collect(),
    })
}

fn replica(row: &Row, own: i64) -> Replica {
    let (id, age): (i64, i64) = (row.get("id"), row.get("age"));
    let time = |column: &str| row::time(row.get(column));
    let number = |column: &str| row.get::<_, i64>(column).cast_unsigned();
    let state = if row.get("fenced") {
        ReplicaState::Fenced
    } else if u128::try_from(age).is_ok_and(|age| age >= FRESH.as_millis()) {
        ReplicaState::Silent
    } else {
        ReplicaState::Alive
    };
    Replica {
        id: id.cast_unsigned(),
        name: row.get("name"),
        version: row.get("version"),
        this_one: id == own,
        state,
        started_at: time("began"),
        heartbeat_at: time("beat_at"),
        runs: number("runs"),
        deliveries: number("deliveries"),
    }
}

fn day(row: &Row) -> Day {
    let time = |column: &str| -> Timestamp { row::id(row.get(column)).made_at() };
    let state: &str = row.get("state");
    let state = DayState::ALL
        .into_iter()
        .find(|known| known.as_str() == state);
    let runs: Option<i64> = row.get("runs");
    let bytes: i64 = row.get("bytes");
    Day {
        name: row.get("name"),
        state: state.unwrap_or(DayState::Dropped),
        begins_at: time("lower"),
        ends_at: time("upper"),
        runs: runs.map(i64::cast_unsigned),
        bytes: bytes.cast_unsigned(),
    }
}

/// Counts the days by state, for the metrics.
pub(super) async fn count_days(shared: &Shared) -> Result<(), LinkError> {
    let sql = format!("SELECT {DAY_STATE} AS state, count(*) FROM raincheck.day GROUP BY 1");
    let now = days::floor(shared.now());
    let rows = shared.link.query(&sql, &[(&now, Type::UUID)]).await?;
    for state in DayState::ALL.map(DayState::as_str) {
        let found = rows.iter().find(|row| row.get::<_, &str>(0) == state);
        let days = found.map_or(0, |row| row.get(1));
        let gauge = shared.metrics.store_days.with_label_values(&[state]);
        gauge.set(days);
    }
    Ok(())
}

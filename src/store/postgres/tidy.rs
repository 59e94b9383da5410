//! Removing what has outlived its retention, whichever replica comes to it.

use tokio_postgres::types::Type;

use super::{days, link::LinkError, row::Param, shared::Shared, sharing};
use crate::store::Tidied;

/// How many keys go in one piece.
const PIECE: i64 = 500;
/// The lock of who sums up the books of the dead: \"Sums\".
const LOCK: i64 = i64::from_be_bytes(*b"RainSums");

/// Drops days that are over, and what belongs to them elsewhere.
pub(super) async fn tidy(shared: &Shared) -> Result<Tidied, LinkError> {
    days::ahead(shared).await?;
    sharing::count_days(shared).await?;
    let runs = days::drop_old(shared).await?;
    let kept_since = shared.kept_since();
    let look = shared.link.look(async |db| {
        let sql = "DELETE FROM raincheck.idempotency WHERE scope IN (
               SELECT scope FROM raincheck.idempotency
               WHERE id < (SELECT lower FROM raincheck.day WHERE dropped IS NULL ORDER BY lower LIMIT 1) LIMIT $1)";
        let keys = db.execute_typed(sql, &[(&PIECE, Type::INT8)]).await?;
        let sql = "DELETE FROM raincheck.day WHERE dropped <= $1
             AND to_regclass('raincheck.run_' || name) IS NULL";
        let gone = db.execute_typed(sql, &[(&kept_since, Type::INT8)]).await?;
        let sql = "WITH mine AS MATERIALIZED (SELECT pg_try_advisory_xact_lock($1) AS it),
             gone AS (
               DELETE FROM raincheck.tally AS t
               WHERE (SELECT it FROM mine) AND owner <> 0
                 AND NOT EXISTS (SELECT 1 FROM raincheck.replica AS r WHERE r.id = t.owner)
               RETURNING kind, route, state, n)
             INSERT INTO raincheck.tally(owner, part, kind, route, state, n)
             SELECT 0, 0, kind, route, state, sum(n) FROM gone GROUP BY kind, route, state
             ON CONFLICT (owner, part, kind, route, state) DO UPDATE SET n = tally.n + excluded.n";
        let lock: [Param<'_>; 1] = [(&LOCK, Type::INT8)];
        db.execute_typed(sql, &lock).await?;
        Ok((keys, gone))
    });
    let (keys, tombstones) = look.await?;
    Ok(Tidied {
        runs,
        tombstones,
        files: 0,
        more: keys == PIECE.cast_unsigned(),
    })
}

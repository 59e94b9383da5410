//! Removing what has outlived its retention, in bounded pieces, whichever replica comes to it.

use async_trait::async_trait;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    committer::Verb,
    link::LinkError,
    row::{self, Param},
    tx::Tx,
};
use crate::{model::time::Timestamp, store::Tidied};

/// How many rows go in one piece.
const PIECE: i64 = 500;

/// Removes one piece.
pub(super) struct Tidy {
    pub(super) now: Timestamp,
}

#[async_trait]
impl Verb for Tidy {
    type Outcome = Tidied;

    async fn apply(&self, tx: &Tx<'_>) -> Result<Tidied, LinkError> {
        let retention = tx.shared.retention;
        let old = row::millis(self.now.before(retention));
        let until = row::millis(self.now.after(retention));
        let sql = "SELECT id FROM raincheck.run WHERE done IS NOT NULL AND done <= $1 ORDER BY done LIMIT $2
             FOR UPDATE SKIP LOCKED";
        let params: [Param<'_>; 2] = [(&old, Type::INT8), (&PIECE, Type::INT8)];
        let rows = tx.query(sql, &params).await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
        for table in ["body", "piece", "idempotency", "attempt", "run"] {
            let sql = format!("DELETE FROM raincheck.{table} WHERE id = ANY($1)");
            tx.execute(&sql, &[(&ids, Type::UUID_ARRAY)]).await?;
        }
        let sql = "INSERT INTO raincheck.tombstone(id, until) SELECT unnest($1::uuid[]), $2 ON CONFLICT DO NOTHING";
        let params: [Param<'_>; 2] = [(&ids, Type::UUID_ARRAY), (&until, Type::INT8)];
        tx.execute(sql, &params).await?;
        let sql = "DELETE FROM raincheck.tombstone WHERE id IN
             (SELECT id FROM raincheck.tombstone WHERE until <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)";
        let params: [Param<'_>; 2] = [(&row::millis(self.now), Type::INT8), (&PIECE, Type::INT8)];
        let tombstones = tx.execute(sql, &params).await?;
        let runs = ids.len() as u64;
        let most = PIECE.cast_unsigned();
        Ok(Tidied {
            runs,
            tombstones,
            files: 0,
            more: runs == most || tombstones == most,
        })
    }
}

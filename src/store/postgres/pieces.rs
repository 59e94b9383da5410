//! Long bodies: rows of a mebibyte each, written before the transaction that names them, and brought into a spool file
//! where they are wanted.

use std::time::Duration;

use bytes::Bytes;
use tokio_postgres::{Client, Row, types::Type};

use super::{link::LinkError, row, shared::Shared, tx::Tx};
use crate::model::{exchange::Body, id::RunId, time::Timestamp};

/// Whose body it is.
pub(super) const REQUEST: i16 = 0;
/// Whose body it is.
pub(super) const RESPONSE: i16 = 1;

/// How old a piece is at least that is removed because no run has it: longer than it takes to store one.
pub(super) const UNNAMED: Duration = Duration::from_secs(24 * 3600);

/// Bytes in a row.
const PIECE: usize = 1024 * 1024;

/// The columns `body`, `len`.
pub(super) fn columns(body: &Body) -> (Option<&[u8]>, Option<i64>) {
    match body {
        Body::Inline(bytes) => (Some(bytes), None),
        Body::Spooled { len, .. } => (None, Some(len.cast_signed())),
    }
}

/// Writes a long body's pieces, whether or not some of them are there already; a short one has none.
pub(super) async fn store(
    db: &Client,
    shared: &Shared,
    body: &Body,
    (id, kind): (RunId, i16),
) -> Result<(), LinkError> {
    if !matches!(body, Body::Spooled { .. }) {
        return Ok(());
    }
    let mut reader = shared.spool.reader(body);
    let (mut piece, mut number) = (Vec::with_capacity(PIECE), 0_i32);
    loop {
        let next = reader.next().await?;
        let is_last = next.is_none();
        piece.extend_from_slice(&next.unwrap_or_default());
        if piece.len() >= PIECE || (is_last && !piece.is_empty()) {
            let sql = "INSERT INTO raincheck.piece(id, kind, n, data) VALUES($1, $2, $3, $4)
                 ON CONFLICT (id, kind, n) DO UPDATE SET data = excluded.data";
            let params: [row::Param<'_>; 4] = [
                (&row::uuid(id), Type::UUID),
                (&kind, Type::INT2),
                (&number, Type::INT4),
                (&piece, Type::BYTEA),
            ];
            db.execute_typed(sql, &params).await?;
            piece.clear();
            number += 1;
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Removes a body's pieces.
pub(super) async fn remove(tx: &Tx<'_>, id: RunId, kind: i16) -> Result<(), LinkError> {
    let sql = "DELETE FROM raincheck.piece WHERE id = $1 AND kind = $2";
    let params: [row::Param<'_>; 2] = [(&row::uuid(id), Type::UUID), (&kind, Type::INT2)];
    tx.execute(sql, &params).await?;
    Ok(())
}

/// Removes pieces of ids made before `old` that no run has: it was refused after they were written.
pub(super) async fn sweep(shared: &Shared, old: Timestamp) -> Result<(), LinkError> {
    let floor = row::uuid(RunId::from_parts(RunId::first_key_at(old), 0));
    let sql = "DELETE FROM raincheck.piece p WHERE p.id < $1
         AND NOT EXISTS (SELECT 1 FROM raincheck.run WHERE run.id = p.id)";
    shared
        .link
        .look(async |db| Ok(db.execute_typed(sql, &[(&floor, Type::UUID)]).await?))
        .await?;
    Ok(())
}

/// The body of a row with the columns `body` and `len`.
pub(super) async fn body(
    db: &Client,
    shared: &Shared,
    row: &Row,
    (id, kind): (RunId, i16),
) -> Result<Body, LinkError> {
    let Some(len) = row.get::<_, Option<i64>>("len") else {
        let inline: Option<Vec<u8>> = row.get("body");
        return Ok(Body::Inline(inline.unwrap_or_default().into()));
    };
    let mut writer = shared.spool.writer(0);
    let (mut number, mut have) = (0_i32, 0_i64);
    while have < len {
        let sql = "SELECT data FROM raincheck.piece WHERE id = $1 AND kind = $2 AND n = $3";
        let params: [row::Param<'_>; 3] = [
            (&row::uuid(id), Type::UUID),
            (&kind, Type::INT2),
            (&number, Type::INT4),
        ];
        let rows = db.query_typed(sql, &params).await?;
        let Some(found) = rows.first() else {
            let missing = std::io::Error::other(format!("piece {number} of {id} is gone"));
            return Err(LinkError::Spool(missing));
        };
        let data: Vec<u8> = found.get(0);
        have += i64::try_from(data.len()).unwrap_or(i64::MAX);
        number += 1;
        writer.write(Bytes::from(data)).await?;
    }
    Ok(writer.finish().await?)
}

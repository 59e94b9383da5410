//! Long bodies: rows of a mebibyte each, written before the transaction that names them, and brought into a spool file
//! where they are wanted.

use std::time::Duration;

use bytes::Bytes;
use tokio_postgres::{Row, types::Type};

use super::{link::LinkError, row, shared::Shared};
use crate::model::{exchange::Body, id::RunId, time::Timestamp};

/// Whose body it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of {
    Request,
    Response,
}

impl Of {
    fn table(self) -> &'static str {
        match self {
            Self::Request => "raincheck.request_piece",
            Self::Response => "raincheck.response_piece",
        }
    }
}

/// How old a piece is at least that is removed because no run has it: longer than it takes to store one.
pub(super) const UNNAMED: Duration = Duration::from_secs(24 * 3600);

/// Bytes in a row.
const PIECE: usize = 1024 * 1024;

/// The column `body`.
pub(super) fn inline(body: &Body) -> Option<&[u8]> {
    match body {
        Body::Inline(bytes) => Some(bytes),
        Body::Spooled { .. } => None,
    }
}

/// The column `len`: of a long body.
pub(super) fn len(body: &Body) -> Option<i64> {
    match body {
        Body::Inline(_) => None,
        Body::Spooled { len, .. } => Some(len.cast_signed()),
    }
}

/// The column `file`: where a long body's pieces came from.
pub(super) fn file(body: &Body) -> Option<&str> {
    match body {
        Body::Inline(_) => None,
        Body::Spooled { name, .. } => Some(name),
    }
}

/// Writes a long body's pieces, whether or not some of them are there already; a short one has none. Each by itself: how
/// long a whole one takes is nobody's guess.
pub(super) async fn store(
    shared: &Shared,
    body: &Body,
    (id, of): (RunId, Of),
) -> Result<(), LinkError> {
    let Some(file) = file(body) else {
        return Ok(());
    };
    let sql = format!(
        "INSERT INTO {}(id, file, n, data) VALUES($1, $2, $3, $4)
         ON CONFLICT (id, file, n) DO UPDATE SET data = excluded.data",
        of.table()
    );
    let mut reader = shared.spool.reader(body);
    let (mut piece, mut number) = (Vec::with_capacity(PIECE), 0_i32);
    loop {
        let next = reader.next().await?;
        let is_last = next.is_none();
        piece.extend_from_slice(&next.unwrap_or_default());
        if piece.len() >= PIECE || (is_last && !piece.is_empty()) {
            let params: [row::Param<'_>; 4] = [
                (&row::uuid(id), Type::UUID),
                (&file, Type::TEXT),
                (&number, Type::INT4),
                (&piece, Type::BYTEA),
            ];
            shared.link.execute(&sql, &params).await?;
            piece.clear();
            number += 1;
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Removes pieces of requests made before `old` that no run has: it was refused after they were written. (Those of
/// responses go with their day.)
pub(super) async fn sweep(shared: &Shared, old: Timestamp) -> Result<(), LinkError> {
    let floor = row::uuid(RunId::from_parts(RunId::first_key_at(old), 0));
    let sql = "DELETE FROM raincheck.request_piece p WHERE p.id < $1
         AND NOT EXISTS (SELECT 1 FROM raincheck.live WHERE live.id = p.id)";
    shared.link.execute(sql, &[(&floor, Type::UUID)]).await?;
    Ok(())
}

/// The body of a row with the columns `body`, `len` and `file`.
///
/// # Errors
/// [`LinkError::Spool`] if it cannot be had; others if the database cannot be read now.
pub(super) async fn body(
    shared: &Shared,
    row: &Row,
    (id, of): (RunId, Of),
) -> Result<Body, LinkError> {
    let Some(len) = row.get::<_, Option<i64>>("len") else {
        let inline: Option<Vec<u8>> = row.get("body");
        return Ok(Body::Inline(inline.unwrap_or_default().into()));
    };
    let file: Option<String> = row.get("file");
    let sql = format!(
        "SELECT data FROM {} WHERE id = $1 AND file = $2 AND n = $3",
        of.table()
    );
    let mut writer = shared.spool.writer(0);
    let (mut number, mut have) = (0_i32, 0_i64);
    while have < len {
        let params: [row::Param<'_>; 3] = [
            (&row::uuid(id), Type::UUID),
            (&file, Type::TEXT),
            (&number, Type::INT4),
        ];
        let rows = shared.link.query(&sql, &params).await?;
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

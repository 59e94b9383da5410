//! Rows of `run` and `body` ↔ the words of `model`.

use rusqlite::{Connection, Error, Result, Row, types::Type};

use super::names::Names;
use crate::{
    model::{
        delivery::{Delivery, DeliveryError, DeliveryState},
        exchange::{Body, StoredRequest, StoredResponse},
        id::RunId,
        run::{Access, Extra, Facts, Progress, Reason, ResponseFacts, Run, RunState},
        secret::Secret,
        time::Timestamp,
    },
    store::{Fence, ending::receiver_host},
};

/// The columns that [`read_run`] wants, in its order.
pub(super) const COLUMNS: &str = "id, state, reason, policy, accepted, started, finished, due, done, attempts, progress, \
    dialect, is_async, name, method, path, has_key, endpoint, depth, traceparent, access, \
    r_status, r_type, r_bytes, r_upstream, d_state, d_attempts, d_status, d_error, d_due, slot, epoch, d_since, d_before, \
    extra";

/// A run, and who holds it.
#[derive(Debug)]
pub(super) struct StoredRun {
    pub(super) run: Run,
    pub(super) holder: Option<Fence>,
}

/// Reads one row of `run`.
pub(super) fn read_run(db: &Connection, names: &Names, row: &Row<'_>) -> Result<StoredRun> {
    let accepted_at = time(row.get(4)?);
    let endpoint: Option<String> = row.get(17)?;
    let finished_at = row.get::<_, Option<i64>>(6)?.map(time);
    let done_at = row.get::<_, Option<i64>>(8)?.map(time);
    let delivery = read_delivery(row, endpoint.as_deref(), finished_at, done_at)?;
    let path: String = row.get(15)?;
    let run = Run {
        id: RunId::from_bytes(row.get(0)?),
        state: pick(&RunState::ALL, row.get(1)?)?,
        reason: row
            .get::<_, Option<i64>>(2)?
            .map(|code| pick(&Reason::ALL, code))
            .transpose()?,
        policy: names.policy(db, row.get(3)?)?,
        facts: Facts {
            dialect: row.get(11)?,
            asynchronous: row.get(12)?,
            name: row
                .get::<_, Option<String>>(13)?
                .unwrap_or_else(|| path.clone()),
            method: row.get(14)?,
            path,
            has_key: row.get(16)?,
            webhook_endpoint: endpoint,
            depth: row.get(18)?,
            traceparent: row.get(19)?,
            access: read_access(row.get(20)?)?,
            extra: read_extra(row.get(34)?)?,
        },
        accepted_at,
        started_at: row.get::<_, Option<i64>>(5)?.map(time),
        finished_at,
        due_at: row.get::<_, Option<i64>>(7)?.map_or(accepted_at, time),
        progress: unpack(row.get(9)?, row.get(10)?),
        response: read_response_facts(row)?,
        delivery,
    };
    let holder = match (row.get(30)?, row.get::<_, Option<i64>>(31)?) {
        (Some(slot), Some(epoch)) => Some(Fence {
            slot,
            epoch: epoch.cast_unsigned(),
        }),
        _ => None,
    };
    Ok(StoredRun { run, holder })
}

fn read_response_facts(row: &Row<'_>) -> Result<Option<ResponseFacts>> {
    let Some(status) = row.get(21)? else {
        return Ok(None);
    };
    Ok(Some(ResponseFacts {
        status,
        content_type: row.get(22)?,
        bytes: row.get::<_, i64>(23)?.cast_unsigned(),
        from_upstream: row.get(24)?,
    }))
}

fn read_delivery(
    row: &Row<'_>,
    endpoint: Option<&str>,
    finished_at: Option<Timestamp>,
    done_at: Option<Timestamp>,
) -> Result<Option<Delivery>> {
    let Some(state) = row.get::<_, Option<i64>>(25)? else {
        return Ok(None);
    };
    Ok(Some(Delivery {
        state: pick(&DeliveryState::ALL, state)?,
        host: endpoint.map(receiver_host).unwrap_or_default(),
        since: row
            .get::<_, Option<i64>>(32)?
            .map(time)
            .or(finished_at)
            .unwrap_or_default(),
        attempts: row.get(26)?,
        attempts_before: row.get::<_, Option<u32>>(33)?.unwrap_or_default(),
        last_status: row.get(27)?,
        last_error: row
            .get::<_, Option<i64>>(28)?
            .map(|code| pick(&DeliveryError::ALL, code))
            .transpose()?,
        next_attempt_at: row.get::<_, Option<i64>>(29)?.map(time),
        finished_at: done_at,
    }))
}

fn read_access(stored: Option<Vec<u8>>) -> Result<Access> {
    match stored {
        None => Ok(Access::Anybody),
        Some(hash) if hash.is_empty() => Ok(Access::TokenOnly),
        Some(hash) => match <[u8; 32]>::try_from(hash) {
            Ok(hash) => Ok(Access::Owner(hash)),
            Err(_) => Err(unreadable("access")),
        },
    }
}

/// How [`read_access`] wants it.
pub(super) fn access(access: &Access) -> Option<&[u8]> {
    match access {
        Access::Anybody => None,
        Access::TokenOnly => Some(&[]),
        Access::Owner(hash) => Some(hash),
    }
}

fn read_extra(stored: Option<String>) -> Result<Extra> {
    stored.map_or(Ok(Extra::default()), |json| {
        serde_json::from_str(&json).map_err(json_error)
    })
}

/// How [`read_extra`] wants it.
pub(super) fn extra(extra: &Extra) -> Result<Option<String>> {
    let json = (!extra.is_empty()).then(|| serde_json::to_string(extra));
    json.transpose().map_err(json_error)
}

/// Reads an unfinished run's request, its secret included.
pub(super) fn read_request(db: &Connection, key: i64) -> Result<StoredRequest> {
    let mut request = db
        .prepare_cached("SELECT head, body, spool, len, client, tls FROM body WHERE rid = ?1")?
        .query_row([key], |row| {
            Ok(StoredRequest {
                head: row.get::<_, Vec<u8>>(0)?.into(),
                body: read_body(row)?,
                client: row
                    .get::<_, Option<String>>(4)?
                    .and_then(|client| client.parse().ok()),
                tls: row.get(5)?,
                webhook_secret: None,
            })
        })?;
    request.webhook_secret = read_secret(db, key)?;
    Ok(request)
}

/// Reads a finished run's response.
pub(super) fn read_response(db: &Connection, key: i64) -> Result<StoredResponse> {
    db.prepare_cached("SELECT head, body, spool, len FROM body WHERE rid = ?1")?
        .query_row([key], |row| {
            Ok(StoredResponse {
                head: row.get::<_, Vec<u8>>(0)?.into(),
                body: read_body(row)?,
            })
        })
}

/// Reads the caller's `X-Webhook-Secret`, if there was one.
pub(super) fn read_secret(db: &Connection, key: i64) -> Result<Option<Secret>> {
    let mut statement = db.prepare_cached("SELECT secret FROM webhook_secret WHERE rid = ?1")?;
    let mut rows = statement.query([key])?;
    match rows.next()? {
        Some(row) => Ok(Some(Secret::new(row.get::<_, Vec<u8>>(0)?))),
        None => Ok(None),
    }
}

fn read_body(row: &Row<'_>) -> Result<Body> {
    match row.get::<_, Option<String>>(2)? {
        Some(name) => Ok(Body::Spooled {
            name,
            len: row.get::<_, i64>(3)?.cast_unsigned(),
        }),
        None => Ok(Body::Inline(
            row.get::<_, Option<Vec<u8>>>(1)?.unwrap_or_default().into(),
        )),
    }
}

/// The columns `body`, `spool`, `len`.
pub(super) fn body(body: &Body) -> (Option<&[u8]>, Option<&str>, Option<i64>) {
    match body {
        Body::Inline(bytes) => (Some(bytes), None, None),
        Body::Spooled { name, len } => (None, Some(name), Some(len.cast_signed())),
    }
}

/// A time as it is stored.
pub(super) fn millis(time: Timestamp) -> i64 {
    time.millis().cast_signed()
}

/// A stored time.
pub(super) fn time(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis.cast_unsigned())
}

/// The place of a value in its `ALL` list.
pub(super) fn code<T: PartialEq>(all: &[T], value: &T) -> Option<i64> {
    all.iter()
        .position(|one| one == value)
        .and_then(|place| i64::try_from(place).ok())
}

fn pick<T: Copy>(all: &[T], code: i64) -> Result<T> {
    usize::try_from(code)
        .ok()
        .and_then(|place| all.get(place).copied())
        .ok_or_else(|| unreadable("a state or reason"))
}

/// All of a progress but `attempts`, which has its own column.
pub(super) fn pack(progress: &Progress) -> i64 {
    let short = |n: u32| i64::from(n.min(0xffff));
    short(progress.counted)
        | short(progress.unsent_in_row) << 16
        | short(progress.interruptions) << 32
        | i64::from(progress.ever_sent) << 48
        | i64::from(progress.stale_forgiven) << 49
}

fn unpack(attempts: u32, packed: i64) -> Progress {
    let short = |shift: u32| u32::from((packed >> shift) as u16);
    Progress {
        attempts,
        counted: short(0),
        unsent_in_row: short(16),
        interruptions: short(32),
        ever_sent: packed >> 48 & 1 == 1,
        stale_forgiven: packed >> 49 & 1 == 1,
    }
}

fn unreadable(what: &str) -> Error {
    Error::FromSqlConversionFailure(
        0,
        Type::Null,
        format!("the store holds {what} that this version does not know").into(),
    )
}

/// A stored JSON text could not be read, or a value not be written as JSON.
pub(super) fn json_error(error: serde_json::Error) -> Error {
    Error::FromSqlConversionFailure(0, Type::Text, Box::new(error))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_progress_comes_back_as_it_was(
            attempts: u32, counted in 0..0x10000_u32, unsent_in_row in 0..0x10000_u32,
            interruptions in 0..0x10000_u32, ever_sent: bool, stale_forgiven: bool,
        ) {
            let progress = Progress { attempts, counted, unsent_in_row, ever_sent, stale_forgiven, interruptions };
            prop_assert_eq!(unpack(attempts, pack(&progress)), progress);
        }
    }
}

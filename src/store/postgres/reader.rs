//! Looks outside of transactions: one run, lists, counts, the books.

use std::collections::HashMap;

use tokio_postgres::{
    Client, Row,
    types::{ToSql, Type},
};

use super::{
    link::LinkError,
    row::{self, COLUMNS, Param},
    shared::Shared,
    tx::AttemptOf,
};
use crate::{
    model::{
        attempt::{Attempts, RunAttempt},
        books::Books,
        delivery::DeliveryState,
        filter::Filter,
        id::RunId,
        run::{Reason, Run, RunState},
    },
    store::{COUNT_MAX, Found, LIST_MAX, Listed, Page, PendingDelivery},
};

/// Looks a run up.
pub(super) async fn find(shared: &Shared, id: RunId) -> Result<Found, LinkError> {
    let look = shared.link.look(async |db| found(&db, shared, id).await);
    look.await
}

/// The same, in or outside of a transaction.
pub(super) async fn found(db: &Client, shared: &Shared, id: RunId) -> Result<Found, LinkError> {
    let uuid = row::uuid(id);
    let sql = format!("SELECT {COLUMNS}, done FROM raincheck.every WHERE id = $1");
    let rows = db.query_typed(&sql, &[(&uuid, Type::UUID)]).await?;
    if let Some(found) = rows.first() {
        let done: Option<i64> = found.get("done");
        if done.is_some_and(|done| done <= shared.kept_since()) {
            return Ok(Found::Expired);
        }
        return Ok(Found::Run(Box::new(row::read(found)?.run)));
    }
    let sql =
        "SELECT 1 FROM raincheck.day WHERE dropped IS NOT NULL AND lower <= $1 AND upper > $1";
    let dropped = db.query_typed(sql, &[(&uuid, Type::UUID)]).await?;
    Ok(if dropped.is_empty() {
        Found::Unknown
    } else {
        Found::Expired
    })
}

/// The attempts of a run and of its delivery.
pub(super) async fn attempts(shared: &Shared, id: RunId) -> Result<Attempts, LinkError> {
    let Found::Run(run) = find(shared, id).await? else {
        return Ok(Attempts::default());
    };
    let mut attempts = logs(shared, &[id]).await?.remove(&id).unwrap_or_default();
    if attempts.of_run.is_empty() {
        attempts.of_run.extend(RunAttempt::only(&run));
    }
    Ok(attempts)
}

/// What the log of attempts has of some runs and their deliveries.
pub(super) async fn logs(
    shared: &Shared,
    ids: &[RunId],
) -> Result<HashMap<RunId, Attempts>, LinkError> {
    let sql =
        "SELECT id, kind, json FROM raincheck.attempt WHERE id = ANY($1) ORDER BY id, kind, n";
    let mut all: HashMap<RunId, Attempts> = HashMap::new();
    for row in of(shared, sql, ids).await? {
        let attempts = all.entry(row::id(row.get(0))).or_default();
        let (kind, json): (i16, &str) = (row.get(1), row.get(2));
        // An entry of another version that cannot be read is left out.
        if kind == AttemptOf::Run as i16 {
            attempts
                .of_run
                .extend(serde_json::from_str::<RunAttempt>(json));
        } else {
            attempts.of_delivery.extend(serde_json::from_str(json));
        }
    }
    Ok(all)
}

/// What a query, whose only parameter they are, finds for some runs.
pub(super) async fn of(shared: &Shared, sql: &str, ids: &[RunId]) -> Result<Vec<Row>, LinkError> {
    let ids: Vec<_> = ids.iter().map(|id| row::uuid(*id)).collect();
    shared.link.query(sql, &[(&ids, Type::UUID_ARRAY)]).await
}

/// Pending deliveries that nobody holds.
pub(super) async fn pending(
    shared: &Shared,
    after: Option<RunId>,
    limit: usize,
) -> Result<Vec<PendingDelivery>, LinkError> {
    let after = after.map_or(uuid::Uuid::nil(), row::uuid);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let sql = format!(
        "SELECT {COLUMNS} FROM raincheck.live WHERE d_state = 'pending' AND owner IS NULL AND id > $1
         ORDER BY id LIMIT $2"
    );
    let params: [Param<'_>; 2] = [(&after, Type::UUID), (&limit, Type::INT8)];
    let rows = shared.link.query(&sql, &params).await?;
    let mut pending = Vec::with_capacity(rows.len());
    for found in &rows {
        pending.extend(row::pending(&row::read(found)?.run));
    }
    Ok(pending)
}

/// Which of these runs are cancelled.
pub(super) async fn cancelled(shared: &Shared, ids: &[RunId]) -> Result<Vec<RunId>, LinkError> {
    let sql = "SELECT id FROM raincheck.every WHERE id = ANY($1) AND state = 'cancelled'";
    let rows = of(shared, sql, ids).await?;
    Ok(rows.iter().map(|row| super::row::id(row.get(0))).collect())
}

/// Reads one page of a list.
pub(super) async fn page(
    shared: &Shared,
    filter: &Filter,
    page: Page,
) -> Result<Listed, LinkError> {
    let mut query = Query::of(shared, filter);
    if let Some(before) = page.before {
        query.first("id <", row::uuid(before), Type::UUID);
    }
    let most = LIST_MAX.saturating_add(page.skip);
    let inner = query.rows(most);
    let sql = format!(
        "SELECT {COLUMNS} FROM ({inner}) AS r {} ORDER BY id DESC LIMIT {} OFFSET {}",
        query.clause(),
        page.limit.saturating_add(1),
        page.skip
    );
    let last = format!(
        "SELECT id FROM ({inner}) AS r ORDER BY id DESC LIMIT 1 OFFSET {}",
        most - 1
    );
    let params = query.params();
    shared
        .link
        .look(async |db| {
            let rows = db.query_typed(&sql, &params).await?;
            let mut runs = Vec::with_capacity(rows.len());
            for found in &rows {
                runs.push(row::read(found)?.run);
            }
            if runs.len() > page.limit {
                runs.truncate(page.limit);
                let next = runs.last().map(|run: &Run| run.id);
                return Ok(Listed { runs, next });
            }
            // Whether reading stopped at the bound. Parameters of the outer conditions would not be used.
            let next = db.query_typed(&last, &params[..query.of_first]).await?;
            let next = next.first().map(|row| super::row::id(row.get(0)));
            Ok(Listed { runs, next })
        })
        .await
}

/// Counts, up to a bound.
pub(super) async fn count(shared: &Shared, filter: &Filter) -> Result<u64, LinkError> {
    let query = Query::of(shared, filter);
    let (inner, then) = (query.rows(COUNT_MAX), query.clause());
    let sql = format!("SELECT count(*) FROM ({inner}) AS r {then}");
    let params = query.params();
    let rows = shared.link.query(&sql, &params).await?;
    let count: i64 = rows.first().map_or(0, |row| row.get(0));
    Ok(count.max(0).cast_unsigned())
}

/// The books.
pub(super) async fn books(shared: &Shared) -> Result<Books, LinkError> {
    let (rows, sizes) = shared
        .link
        .look(async |db| {
            let sql = "SELECT kind, state, sum(n)::bigint FROM raincheck.tally GROUP BY kind, state";
            let rows = db.query_typed(sql, &[]).await?;
            let sql = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c
                 JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'raincheck' AND c.relkind = 'r'";
            let sizes = db.query_typed(sql, &[]).await?;
            Ok((rows, sizes))
        })
        .await?;
    let mut books = Books::default();
    for row in rows {
        let (kind, state, n): (i16, &str, i64) = (row.get(0), row.get(1), row.get(2));
        let n = n.max(0).cast_unsigned();
        if kind == 0
            && let Some(state) = RunState::ALL.iter().find(|known| known.as_str() == state)
        {
            books.runs.insert(state.as_str(), n);
            books.accepted += n;
        } else if let Some(state) = DeliveryState::ALL.iter().find(|one| one.as_str() == state) {
            books.deliveries.insert(state.as_str(), n);
        }
    }
    let size: i64 = sizes.first().map_or(0, |row| row.get(0));
    books.bytes.extend([
        ("database", size.max(0).cast_unsigned()),
        ("spool", shared.spool.bytes()),
    ]);
    Ok(books)
}

/// A filter as SQL: what an index answers, and what is asked of each row that it yields.
#[derive(Default)]
struct Query {
    first: Vec<String>,
    then: Vec<String>,
    values: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
    /// How many of the values belong to `first`.
    of_first: usize,
}

impl Query {
    fn of(shared: &Shared, filter: &Filter) -> Self {
        let mut query = Self::default();
        query.then(
            "coalesce(done, 9223372036854775807) >",
            shared.kept_since(),
            Type::INT8,
        );
        if let Some(route) = &filter.route {
            query.first("route =", route.clone(), Type::TEXT);
        }
        match filter.states[..] {
            [state @ (RunState::Failed | RunState::Cancelled)] => {
                query.first.push(format!("state = '{}'", state.as_str()));
            }
            [] => {}
            _ => {
                let states: Vec<_> = filter.states.iter().map(|it| it.as_str()).collect();
                query.then("state = ANY", states, Type::TEXT_ARRAY);
            }
        }
        match filter.delivery {
            Some(DeliveryState::Dead) => query.first.push("d_state = 'dead'".to_owned()),
            Some(state) => query.then("d_state =", state.as_str(), Type::TEXT),
            None => {}
        }
        if !filter.reasons.is_empty() {
            let reasons = filter.reasons.iter().copied();
            let reasons: Vec<_> = reasons.map(Reason::as_str).collect();
            query.then("reason = ANY", reasons, Type::TEXT_ARRAY);
        }
        for (column, text) in [
            ("name =", &filter.name),
            ("dialect =", &filter.dialect),
            ("d_host =", &filter.host),
        ] {
            if let Some(text) = text {
                query.then(column, text.clone(), Type::TEXT);
            }
        }
        for (column, time) in [
            ("accepted >=", filter.since),
            ("accepted <=", filter.until),
            ("coalesce(started, accepted) >=", filter.started_since),
            ("coalesce(started, accepted) <=", filter.started_until),
        ] {
            if let Some(time) = time {
                query.then(column, row::millis(time), Type::INT8);
            }
        }
        query
    }

    /// Conditions that an index answers come before all others: so do their values.
    fn first(&mut self, text: &str, value: impl ToSql + Sync + Send + 'static, kind: Type) {
        self.values.insert(self.of_first, (Box::new(value), kind));
        self.of_first += 1;
        self.first.push(format!("{text} (${})", self.of_first));
    }

    fn then(&mut self, text: &str, value: impl ToSql + Sync + Send + 'static, kind: Type) {
        self.values.push((Box::new(value), kind));
        self.then.push(text.to_owned());
    }

    /// The rows that are read.
    fn rows(&self, limit: usize) -> String {
        let first = if self.first.is_empty() {
            String::new()
        } else {
            format!("WHERE {}", self.first.join(" AND "))
        };
        format!("SELECT * FROM raincheck.every {first} ORDER BY id DESC LIMIT {limit}")
    }

    /// What is asked of them; each condition has one value.
    fn clause(&self) -> String {
        let numbered = self.then.iter().enumerate();
        let texts: Vec<_> = numbered
            .map(|(at, text)| format!("{text} (${})", self.of_first + at + 1))
            .collect();
        if texts.is_empty() {
            return String::new();
        }
        format!("WHERE {}", texts.join(" AND "))
    }

    fn params(&self) -> Vec<Param<'_>> {
        let values = self.values.iter();
        values
            .map(|(value, kind)| (value.as_ref() as &(dyn ToSql + Sync), kind.clone()))
            .collect()
    }
}

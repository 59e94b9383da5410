//! Lists of runs, the newest first: an index where one fits, the rest of the filter row by row, within a bound.

use rusqlite::{Connection, OptionalExtension, Result, ToSql, types::Value};

use super::{
    names::Names,
    row::{self, COLUMNS, code, millis},
};
use crate::{
    model::{
        delivery::DeliveryState,
        filter::Filter,
        id::RunId,
        run::{Reason, RunState},
    },
    store::{COUNT_MAX, LIST_MAX, Listed, Page},
};

/// Reads one page.
pub(super) fn page(db: &Connection, names: &Names, filter: &Filter, page: Page) -> Result<Listed> {
    let snapshot = db.unchecked_transaction()?;
    let mut query = Query::of(&snapshot, filter)?;
    if let Some(before) = page.before {
        query.first("rid < ?", before.key());
    }
    let wanted = page.limit.saturating_add(1);
    let most = LIST_MAX.saturating_add(page.skip);
    let sql = format!(
        "SELECT {COLUMNS} FROM ({}) AS run {} LIMIT {wanted} OFFSET {}",
        query.rows("*", most),
        query.conditions(),
        page.skip
    );
    let mut runs = snapshot
        .prepare_cached(&sql)?
        .query_map(&*query.parameters(), |row| {
            row::read_run(&snapshot, names, row).map(|stored| stored.run)
        })?
        .collect::<Result<Vec<_>>>()?;
    if runs.len() > page.limit {
        runs.truncate(page.limit);
        let next = runs.last().map(|run| run.id);
        return Ok(Listed { runs, next });
    }
    let next = query.last_read(&snapshot, most)?;
    Ok(Listed { runs, next })
}

/// Counts, up to a bound.
pub(super) fn count(db: &Connection, filter: &Filter) -> Result<u64> {
    let query = Query::of(db, filter)?;
    let sql = format!(
        "SELECT count(*) FROM ({}) AS run {}",
        query.rows("*", COUNT_MAX),
        query.conditions()
    );
    let count: i64 = db
        .prepare_cached(&sql)?
        .query_row(&*query.parameters(), |row| row.get(0))?;
    Ok(count.max(0).cast_unsigned())
}

/// A filter as SQL: what an index answers, and what is asked of each row that it yields.
struct Query {
    index: &'static str,
    first: Conditions,
    then: Conditions,
}

#[derive(Default)]
struct Conditions {
    texts: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    fn add(&mut self, text: impl Into<String>, value: impl Into<Value>) {
        self.texts.push(text.into());
        self.values.push(value.into());
    }

    fn one_of<T: PartialEq>(&mut self, column: &str, all: &[T], wanted: &[T]) {
        if wanted.is_empty() {
            return;
        }
        let codes: Vec<String> = wanted
            .iter()
            .filter_map(|one| code(all, one))
            .map(|code| code.to_string())
            .collect();
        self.texts
            .push(format!("{column} IN ({})", codes.join(",")));
    }

    fn clause(&self) -> String {
        if self.texts.is_empty() {
            String::new()
        } else {
            format!("WHERE {}", self.texts.join(" AND "))
        }
    }
}

impl Query {
    fn of(db: &Connection, filter: &Filter) -> Result<Self> {
        let mut query = Self {
            index: "",
            first: Conditions::default(),
            then: Conditions::default(),
        };
        query.choose_index(filter, Self::route(db, filter)?);
        // The key is made of the time of acceptance, give or take the ids that were issued in the same millisecond.
        if let Some(since) = filter.since {
            query.first("rid >= ?", RunId::first_key_at(since.before(SLACK)));
            query.then.add("accepted >= ?", millis(since));
        }
        if let Some(until) = filter.until {
            query.first("rid < ?", RunId::first_key_at(until.after(SLACK)));
            query.then.add("accepted <= ?", millis(until));
        }
        if let Some(since) = filter.started_since {
            query
                .then
                .add("coalesce(started, accepted) >= ?", millis(since));
        }
        if let Some(until) = filter.started_until {
            query
                .then
                .add("coalesce(started, accepted) <= ?", millis(until));
        }
        query.then.one_of("state", &RunState::ALL, &filter.states);
        query.then.one_of("reason", &Reason::ALL, &filter.reasons);
        if let Some(dialect) = &filter.dialect {
            query.then.add("dialect = ?", dialect.clone());
        }
        if let Some(state) = filter.delivery {
            query.then.one_of("d_state", &DeliveryState::ALL, &[state]);
        }
        if let Some(host) = &filter.host {
            query.then.add("d_host = ?", host.clone());
        }
        Ok(query)
    }

    /// The number of the route that is asked for; one that no run ever had is -1.
    fn route(db: &Connection, filter: &Filter) -> Result<Option<i64>> {
        match &filter.route {
            None => Ok(None),
            Some(name) => Ok(Some(Names::route(db, name)?.unwrap_or(-1))),
        }
    }

    fn choose_index(&mut self, filter: &Filter, route: Option<i64>) {
        match (route, &filter.name) {
            // Names that are paths have no index of their own, so their column is null.
            (Some(route), Some(name)) if !name.starts_with('/') => {
                self.index = "INDEXED BY run_name";
                self.first("route = ?", route);
                self.first("name = ?", name.clone());
                return;
            }
            (route, name) => {
                if let Some(route) = route {
                    self.then.add("route = ?", route);
                }
                if let Some(name) = name {
                    self.then.add("coalesce(name, path) = ?", name.clone());
                }
            }
        }
        if filter.delivery == Some(DeliveryState::Dead) {
            self.index = "INDEXED BY run_dead";
            self.first.texts.push("d_state = 2".into());
        } else if filter.states == [RunState::Failed] {
            self.index = "INDEXED BY run_failed";
            self.first.texts.push("state = 3".into());
        } else if let Some(route) = route {
            self.index = "INDEXED BY run_route";
            self.first("route = ?", route);
        }
    }

    fn first(&mut self, text: &str, value: impl Into<Value>) {
        self.first.add(text, value);
    }

    /// The rows that are read.
    fn rows(&self, columns: &str, limit: usize) -> String {
        let (index, clause) = (self.index, self.first.clause());
        format!("SELECT {columns} FROM run {index} {clause} ORDER BY rid DESC LIMIT {limit}")
    }

    /// What is asked of them.
    fn conditions(&self) -> String {
        self.then.clause()
    }

    fn parameters(&self) -> Vec<&dyn ToSql> {
        let values = self.first.values.iter().chain(&self.then.values);
        values.map(|value| value as &dyn ToSql).collect()
    }

    /// The last row that was read, if reading stopped at the bound.
    fn last_read(&self, db: &Connection, most: usize) -> Result<Option<RunId>> {
        let sql = format!("{} OFFSET {}", self.rows("id", 1), most - 1);
        let values: Vec<&dyn ToSql> = self.first.values.iter().map(|v| v as &dyn ToSql).collect();
        db.prepare_cached(&sql)?
            .query_row(&*values, |row| row.get(0).map(RunId::from_bytes))
            .optional()
    }
}

/// How far a run's key may be from its acceptance: the body comes between, and the clock may step.
const SLACK: std::time::Duration = std::time::Duration::from_secs(3600);

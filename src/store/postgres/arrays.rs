//! Rows as arrays, one for each column: many go in one statement, since most of what a row costs the database is its
//! statement.

use tokio_postgres::types::{ToSql, Type};

use super::row::Param;

type Value<'a> = (Box<dyn ToSql + Sync + Send + 'a>, Type);

/// The arguments of a function that takes rows by their columns.
#[derive(Default)]
pub(super) struct Arrays<'a>(Vec<Value<'a>>);

impl<'a> Arrays<'a> {
    /// With an argument before the columns.
    pub(super) fn after(first: Value<'a>) -> Self {
        Self(vec![first])
    }

    /// Adds a column; `kind` is the type of its array.
    pub(super) fn with<T>(mut self, kind: Type, values: impl Iterator<Item = T>) -> Self
    where
        T: ToSql + Sync + Send + 'a,
    {
        let values: Vec<T> = values.collect();
        self.0.push((Box::new(values), kind));
        self
    }

    /// The statement that calls the function.
    pub(super) fn call(&self, function: &str) -> String {
        let numbers: Vec<String> = (1..=self.0.len()).map(|it| format!("${it}")).collect();
        format!("SELECT * FROM raincheck.{function}({})", numbers.join(", "))
    }

    /// The parameters of the statement.
    pub(super) fn params(&self) -> Vec<Param<'_>> {
        let values = self.0.iter();
        values
            .map(|(value, kind)| (value.as_ref() as &(dyn ToSql + Sync), kind.clone()))
            .collect()
    }
}

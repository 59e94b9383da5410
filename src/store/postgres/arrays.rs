//! Rows as arrays, one for each column: many go in one statement (`unnest`), since most of what a row costs the database is
//! its statement.

use tokio_postgres::types::{ToSql, Type};

use super::row::Param;

/// Columns of rows that are to be written, each an array.
#[derive(Default)]
pub(super) struct Arrays<'a> {
    names: Vec<&'static str>,
    values: Vec<(Box<dyn ToSql + Sync + Send + 'a>, Type)>,
}

impl<'a> Arrays<'a> {
    /// Adds a column; `kind` is the type of its array.
    pub(super) fn with<T>(
        mut self,
        name: &'static str,
        kind: Type,
        values: impl Iterator<Item = T>,
    ) -> Self
    where
        T: ToSql + Sync + Send + 'a,
    {
        let values: Vec<T> = values.collect();
        self.names.push(name);
        self.values.push((Box::new(values), kind));
        self
    }

    /// The rows, as a statement reads them.
    pub(super) fn rows(&self) -> String {
        let numbers: Vec<String> = (1..=self.names.len())
            .map(|number| format!("${number}"))
            .collect();
        format!(
            "SELECT * FROM unnest({}) AS u({})",
            numbers.join(", "),
            self.names.join(", ")
        )
    }

    /// The parameters of the statement.
    pub(super) fn params(&self) -> Vec<Param<'_>> {
        let values = self.values.iter();
        values
            .map(|(value, kind)| (value.as_ref() as &(dyn ToSql + Sync), kind.clone()))
            .collect()
    }
}

//! The tables, step by step: a new database takes all steps, an older one those that it lacks. Under an advisory lock, so
//! that of several replicas which start at once one does it and the others wait.

use tokio_postgres::{Client, Error, types::Type};

use super::row::Param;

/// How many of the [`STEPS`] this program knows.
pub(super) const VERSION: i32 = STEPS.len() as i32;

/// Everything is in a schema of our own, whatever else is in the database.
const BEGINNING: &str = "CREATE SCHEMA IF NOT EXISTS raincheck;
    CREATE TABLE IF NOT EXISTS raincheck.version(version int NOT NULL);";

/// The lock of who changes the tables: \"Rain\".
const LOCK: i64 = i64::from_be_bytes(*b"\0\0\0\0Rain");

/// The way to each version from the one before. Times are milliseconds since 1970. What a program of the version before
/// cannot write to is never added: replicas are restarted one by one.
const STEPS: [&str; 3] = [
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
];

/// What became of bringing the tables to our version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Migrated {
    /// They are there.
    Ready,
    /// A later program has changed them.
    Newer(i32),
    /// They are another program's.
    Foreign,
}

/// The version of the tables; 0 if there are none; none if there are some, and not of ours.
pub(super) async fn version(db: &Client) -> Result<Option<i32>, Error> {
    // Not by to_regclass: a connection remembers what was not there, and waiting for our lock does not remind it.
    let tables = "SELECT c.relname::text FROM pg_catalog.pg_class AS c
         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'raincheck' AND c.relkind = 'r'";
    let tables = db.query_typed(tables, &[]).await?;
    if tables.is_empty() {
        return Ok(Some(0));
    }
    let has = |name: &str| tables.iter().any(|row| row.get::<_, &str>(0) == name);
    if !(has("version") && has("identity") && has("live")) {
        return Ok(None);
    }
    let rows = db
        .query_typed("SELECT max(version)::int FROM raincheck.version", &[])
        .await?;
    Ok(rows.first().and_then(|row| row.get(0)))
}

/// Until the end of this transaction nobody else changes the tables, or begins on them.
pub(super) async fn lock(db: &Client) -> Result<(), Error> {
    let lock: [Param<'_>; 1] = [(&LOCK, Type::INT8)];
    db.query_typed("SELECT pg_advisory_xact_lock($1)", &lock)
        .await?;
    Ok(())
}

/// Brings the tables to our version.
pub(super) async fn migrate(db: &Client) -> Result<Migrated, Error> {
    match version(db).await? {
        None => return Ok(Migrated::Foreign),
        Some(found) if found > VERSION => return Ok(Migrated::Newer(found)),
        Some(VERSION) => return Ok(Migrated::Ready),
        Some(_) => {}
    }
    db.batch_execute("BEGIN").await?;
    lock(db).await?;
    // Another replica may have done it meanwhile.
    let Some(found) = version(db).await? else {
        return Ok(Migrated::Foreign);
    };
    if found == 0 {
        db.batch_execute(BEGINNING).await?;
    }
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        db.batch_execute(step).await?;
    }
    let sql = format!(
        "DELETE FROM raincheck.version; INSERT INTO raincheck.version VALUES ({VERSION}); COMMIT"
    );
    db.batch_execute(&sql).await?;
    Ok(Migrated::Ready)
}

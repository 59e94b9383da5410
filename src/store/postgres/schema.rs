//! The tables, step by step: a new database takes all steps, an older one those that it lacks. Under an advisory lock, so
//! that of several replicas which start at once one does it and the others wait.

use tokio_postgres::{Client, Error, types::Type};

/// How many of the [`STEPS`] this program knows.
pub(super) const VERSION: i32 = STEPS.len() as i32;

/// Everything is in a schema of our own, whatever else is in the database.
const BEGINNING: &str = "CREATE SCHEMA IF NOT EXISTS raincheck;
    CREATE TABLE IF NOT EXISTS raincheck.version(version int NOT NULL);";

/// The lock of who changes the tables: \"Rain\".
const LOCK: i64 = i64::from_be_bytes(*b"\0\0\0\0Rain");

/// The way to each version from the one before. Times are milliseconds since 1970. What a program of the version before
/// cannot write to is never added: replicas are restarted one by one.
const STEPS: [&str; 1] = [FIRST];

const FIRST: &str = "
CREATE TABLE raincheck.identity(loop_id text NOT NULL, key bytea NOT NULL);

-- One row for each process that is alive, or whose runs are not all taken over yet. Fenced, it can change nothing.
CREATE TABLE raincheck.replica(
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,
  beat bigint NOT NULL DEFAULT 0, beat_at timestamptz NOT NULL DEFAULT now(), fenced boolean NOT NULL DEFAULT false);

CREATE TABLE raincheck.run(
  id uuid PRIMARY KEY,
  state text NOT NULL, reason text, route text NOT NULL, name text NOT NULL, dialect text NOT NULL,
  accepted bigint NOT NULL, started bigint, finished bigint,
  due bigint,                     -- queued: the earliest next attempt
  expires bigint,                 -- queued: when it has waited too long
  done bigint,                    -- nothing is left to do since then; retention counts from it
  attempts int NOT NULL,
  owner bigint,                   -- the replica that holds the run, or then its delivery; null: nobody
  d_state text, d_attempts int, d_due bigint, d_until bigint, d_host text,
  fixed text NOT NULL,            -- what was asked for and promised, as JSON
  doc text NOT NULL,              -- what else can change, as JSON
  secret bytea) WITH (fillfactor = 80);
CREATE INDEX run_queued ON raincheck.run(route, due, id) WHERE state = 'queued';
CREATE INDEX run_expires ON raincheck.run(expires) WHERE state = 'queued';
CREATE INDEX run_owned ON raincheck.run(owner) WHERE owner IS NOT NULL;
CREATE INDEX run_pending ON raincheck.run(id) WHERE d_state = 'pending';
CREATE INDEX run_overdue ON raincheck.run(d_until) WHERE d_state = 'pending';
CREATE INDEX run_done ON raincheck.run(done) WHERE done IS NOT NULL;
CREATE INDEX run_state ON raincheck.run(state, id) WHERE state IN ('failed', 'cancelled');
CREATE INDEX run_dead ON raincheck.run(id) WHERE d_state = 'dead';
CREATE INDEX run_route ON raincheck.run(route, id);
CREATE INDEX run_name ON raincheck.run(route, name, id) WHERE name NOT LIKE '/%';

-- The request until the run ends; then, in its place, the response. Long bodies are in pieces.
CREATE TABLE raincheck.body(
  id uuid PRIMARY KEY, head bytea NOT NULL, body bytea, len bigint, client text, tls boolean) WITH (fillfactor = 80);
CREATE TABLE raincheck.piece(id uuid, kind smallint, n int, data bytea NOT NULL, PRIMARY KEY(id, kind, n));
ALTER TABLE raincheck.piece ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE raincheck.idempotency(scope bytea PRIMARY KEY, id uuid NOT NULL, fingerprint bytea NOT NULL);
CREATE INDEX idempotency_id ON raincheck.idempotency(id);

-- Each attempt but a run's only one: kind 0 of the run, 1 of its delivery.
CREATE TABLE raincheck.attempt(id uuid, kind smallint, n int, json text NOT NULL, PRIMARY KEY(id, kind, n));

CREATE TABLE raincheck.tombstone(id uuid PRIMARY KEY, until bigint NOT NULL);
CREATE INDEX tombstone_until ON raincheck.tombstone(until);

-- The books, apart for each writer, so that none waits for another: the sum counts. Kind 0 runs, 1 deliveries.
CREATE TABLE raincheck.tally(
  owner bigint, part int, kind smallint, route text, state text, n bigint NOT NULL,
  PRIMARY KEY(owner, part, kind, route, state)) WITH (fillfactor = 50);
";

/// What became of bringing the tables to our version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Migrated {
    /// They are there.
    Ready,
    /// A later program has changed them.
    Newer(i32),
}

/// The version of the tables; 0 if there are none.
pub(super) async fn version(db: &Client) -> Result<i32, Error> {
    let there = db
        .query_typed("SELECT to_regclass('raincheck.version') IS NOT NULL", &[])
        .await?;
    if !there.first().is_some_and(|row| row.get(0)) {
        return Ok(0);
    }
    let sql = "SELECT coalesce(max(version), 0) FROM raincheck.version";
    let rows = db.query_typed(sql, &[]).await?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}

/// Brings the tables to our version.
pub(super) async fn migrate(db: &Client) -> Result<Migrated, Error> {
    let found = version(db).await?;
    if found > VERSION {
        return Ok(Migrated::Newer(found));
    }
    if found == VERSION {
        return Ok(Migrated::Ready);
    }
    db.batch_execute("BEGIN").await?;
    let lock: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 1] = [(&LOCK, Type::INT8)];
    db.query_typed("SELECT pg_advisory_xact_lock($1)", &lock)
        .await?;
    // Another replica may have done it meanwhile.
    let found = version(db).await?;
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

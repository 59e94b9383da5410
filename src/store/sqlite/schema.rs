//! The tables, step by step: a new store takes all steps, an older one those that it lacks.

/// Marks the file as ours (`PRAGMA application_id`): "Rain".
pub(super) const APPLICATION_ID: i32 = i32::from_be_bytes(*b"Rain");

/// The version of the tables (`PRAGMA user_version`): how many of the [`STEPS`] were taken.
pub(super) const VERSION: i32 = STEPS.len() as i32;

/// A program of this version or a later one can go on writing while the tables are brought to ours: an upgrade beside it
/// may do so. Raise it with a step that only programs which know it can write to.
pub(super) const OLDEST_BESIDE: i32 = 2;

/// The way to each version from the one before. Numbers of states and reasons are their places in the `ALL` lists of
/// `model`; times are milliseconds since 1970; the view `runs` says it in words, for people with `sqlite3 -readonly`.
pub(super) const STEPS: [&str; 2] = [FIRST, DELIVERIES_AND_LISTS];

const FIRST: &str = "
CREATE TABLE identity(loop_id TEXT NOT NULL, key BLOB NOT NULL);

-- One row for each process that may be alive: its epoch, its latest batch, the highest key it has issued.
CREATE TABLE slot(slot INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, batch INTEGER NOT NULL, high INTEGER NOT NULL);

CREATE TABLE route(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE policy(id INTEGER PRIMARY KEY, route INTEGER NOT NULL, json TEXT NOT NULL UNIQUE);

CREATE TABLE run(
  rid INTEGER PRIMARY KEY,        -- time-ordered, made of the id by arithmetic
  id BLOB NOT NULL,
  state INTEGER NOT NULL,         -- 0 queued 1 running 2 succeeded 3 failed 4 cancelled
  reason INTEGER,
  route INTEGER NOT NULL,
  policy INTEGER NOT NULL,
  accepted INTEGER NOT NULL,
  started INTEGER,
  finished INTEGER,
  due INTEGER,                    -- queued: the earliest next attempt
  expires INTEGER,                -- queued: when it has waited too long
  done INTEGER,                   -- nothing is left to do since then; retention counts from it
  attempts INTEGER NOT NULL,
  progress INTEGER NOT NULL,      -- what attempts have used up, in bits
  slot INTEGER,                   -- who holds the run, or then its delivery; null: nobody
  epoch INTEGER,
  dialect TEXT NOT NULL,
  is_async INTEGER NOT NULL,
  name TEXT,                      -- null: the path
  method TEXT NOT NULL,
  path TEXT NOT NULL,
  has_key INTEGER NOT NULL,
  endpoint TEXT,
  depth INTEGER NOT NULL,
  traceparent TEXT,
  access BLOB,                    -- null: anybody; empty: token only; otherwise the owner's hash
  r_status INTEGER,
  r_type TEXT,
  r_bytes INTEGER,
  r_upstream INTEGER,
  d_state INTEGER,                -- 0 pending 1 delivered 2 dead
  d_attempts INTEGER,
  d_status INTEGER,
  d_error INTEGER,
  d_due INTEGER);
CREATE INDEX run_queued ON run(route, due) WHERE state = 0;
CREATE INDEX run_expires ON run(expires) WHERE state = 0;
CREATE INDEX run_held ON run(slot) WHERE slot IS NOT NULL;
CREATE INDEX run_pending ON run(d_due) WHERE d_state = 0 AND slot IS NULL;
CREATE INDEX run_done ON run(done) WHERE done IS NOT NULL;

-- The request until the run ends; then, in its place, the response.
CREATE TABLE body(rid INTEGER PRIMARY KEY, head BLOB NOT NULL, body BLOB, spool TEXT, len INTEGER, client TEXT, tls INTEGER);
CREATE INDEX body_spool ON body(spool) WHERE spool IS NOT NULL;

CREATE TABLE webhook_secret(rid INTEGER PRIMARY KEY, secret BLOB NOT NULL);

CREATE TABLE idempotency(scope BLOB PRIMARY KEY, rid INTEGER NOT NULL, fingerprint BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX idempotency_rid ON idempotency(rid);

CREATE TABLE tombstone(rid INTEGER PRIMARY KEY, id BLOB NOT NULL, until INTEGER NOT NULL);
CREATE INDEX tombstone_until ON tombstone(until);

-- The books: kind 0 runs, 1 deliveries; never lowered by retention.
CREATE TABLE tally(kind INTEGER, route INTEGER, state INTEGER, n INTEGER NOT NULL, PRIMARY KEY(kind, route, state)) WITHOUT ROWID;

CREATE VIEW runs AS SELECT
  lower(substr(hex(run.id),1,8)||'-'||substr(hex(run.id),9,4)||'-'||substr(hex(run.id),13,4)||'-'||substr(hex(run.id),17,4)||'-'||substr(hex(run.id),21)) AS run_id,
  CASE state WHEN 0 THEN 'queued' WHEN 1 THEN 'running' WHEN 2 THEN 'succeeded' WHEN 3 THEN 'failed' ELSE 'cancelled' END AS state,
  CASE reason WHEN 0 THEN 'upstream_status' WHEN 1 THEN 'timeout' WHEN 2 THEN 'unreachable' WHEN 3 THEN 'broken'
    WHEN 4 THEN 'response_too_large' WHEN 5 THEN 'interrupted' WHEN 6 THEN 'expired' WHEN 7 THEN 'internal' END AS reason,
  route.name AS route, coalesce(run.name, path) AS name, method, path,
  strftime('%Y-%m-%dT%H:%M:%fZ', accepted / 1000.0, 'unixepoch') AS accepted_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', started / 1000.0, 'unixepoch') AS started_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', finished / 1000.0, 'unixepoch') AS finished_at,
  attempts, r_status AS response_status, r_bytes AS response_bytes,
  CASE d_state WHEN 0 THEN 'pending' WHEN 1 THEN 'delivered' WHEN 2 THEN 'dead' END AS delivery, d_attempts AS delivery_attempts
  FROM run JOIN route ON route.id = run.route ORDER BY rid DESC;
";

/// Rounds of a delivery, the log of attempts, and what lists and schedules are read by.
const DELIVERIES_AND_LISTS: &str = "
ALTER TABLE run ADD COLUMN d_host TEXT;        -- the receiver's host
ALTER TABLE run ADD COLUMN d_since INTEGER;    -- when this round began; null: with the run's end
ALTER TABLE run ADD COLUMN d_before INTEGER;   -- attempts before this round; null: none
ALTER TABLE run ADD COLUMN d_until INTEGER;    -- pending: when it is dead whatever happens
ALTER TABLE run ADD COLUMN extra TEXT;         -- what only some dialects know of a run, as JSON

DROP INDEX run_pending;
CREATE INDEX run_unheld ON run(rid) WHERE d_state = 0 AND slot IS NULL;
CREATE INDEX run_overdue ON run(d_until) WHERE d_state = 0 AND slot IS NULL;
CREATE INDEX run_route ON run(route, rid);
CREATE INDEX run_name ON run(route, name, rid) WHERE name IS NOT NULL;
CREATE INDEX run_failed ON run(rid) WHERE state = 3;
CREATE INDEX run_dead ON run(rid) WHERE d_state = 2;

-- kind 0: of the run's upstream call (a run's only one is not written: its row says the same); 1: of its delivery.
CREATE TABLE attempt(rid INTEGER, kind INTEGER, n INTEGER, json TEXT NOT NULL, PRIMARY KEY(rid, kind, n)) WITHOUT ROWID;
";

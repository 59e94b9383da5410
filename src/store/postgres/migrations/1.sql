-- Version 1. Times are milliseconds since 1970.

CREATE TABLE raincheck.identity(loop_id text NOT NULL, key bytea NOT NULL);

-- One row for each process that is alive, or whose runs are not all taken over yet. Fenced, it can change nothing.
CREATE TABLE raincheck.replica(
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, version text NOT NULL,
  began timestamptz NOT NULL DEFAULT now(),
  beat bigint NOT NULL DEFAULT 0, beat_at timestamptz NOT NULL DEFAULT now(), fenced boolean NOT NULL DEFAULT false);

-- Runs of which anything is left to do. A row goes to `run` when the run and its delivery have ended.
CREATE TABLE raincheck.live(
  id uuid PRIMARY KEY,
  state text NOT NULL, reason text, route text NOT NULL, name text NOT NULL, dialect text NOT NULL,
  accepted bigint NOT NULL, started bigint, finished bigint,
  due bigint,                     -- queued: the earliest next attempt
  expires bigint,                 -- queued: when it has waited too long
  attempts int NOT NULL,
  owner bigint,                   -- the replica that holds the run, or then its delivery; null: nobody
  d_state text, d_attempts int, d_due bigint, d_until bigint, d_host text,
  fixed text NOT NULL,            -- what was asked for and promised, as JSON
  doc text NOT NULL,              -- what else can change, as JSON
  secret bytea)
  WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0);
CREATE INDEX live_queued ON raincheck.live(route, due, id) WHERE state = 'queued';
CREATE INDEX live_expires ON raincheck.live(expires) WHERE state = 'queued';
CREATE INDEX live_owned ON raincheck.live(owner) WHERE owner IS NOT NULL;
CREATE INDEX live_pending ON raincheck.live(id) WHERE d_state = 'pending' AND owner IS NULL;
CREATE INDEX live_overdue ON raincheck.live(d_until) WHERE d_state = 'pending' AND owner IS NULL;

-- Runs that are over. Each row is written once; whole days of them go (see `day`).
CREATE TABLE raincheck.run(
  id uuid PRIMARY KEY,
  state text NOT NULL, reason text, route text NOT NULL, name text NOT NULL, dialect text NOT NULL,
  accepted bigint NOT NULL, started bigint, finished bigint,
  done bigint NOT NULL,           -- nothing is left to do since then; retention counts from it
  attempts int NOT NULL, d_state text, d_attempts int, d_host text,
  fixed text NOT NULL, doc text NOT NULL, secret bytea) PARTITION BY RANGE (id);
CREATE INDEX run_done ON raincheck.run USING brin(done) WITH (autosummarize = on);
CREATE INDEX run_state ON raincheck.run(state, id) WHERE state IN ('failed', 'cancelled');
CREATE INDEX run_dead ON raincheck.run(id) WHERE d_state = 'dead';
CREATE INDEX run_route ON raincheck.run(route, id);
CREATE INDEX run_name ON raincheck.run(route, name, id) WHERE name NOT LIKE '/%';

CREATE VIEW raincheck.every AS
  SELECT id, state, reason, route, name, dialect, accepted, started, finished, due, attempts, owner, d_state, d_host,
    fixed, doc, NULL::bigint AS done FROM raincheck.live
  UNION ALL
  SELECT id, state, reason, route, name, dialect, accepted, started, finished, NULL, attempts, NULL, d_state, d_host,
    fixed, doc, done FROM raincheck.run;

-- What is sent, until the run ends; and what came. Long bodies are in pieces, under the name of the file from which they
-- were written: what a replica writes that was taken for dead meanwhile is not mixed with another's.
CREATE TABLE raincheck.request(
  id uuid PRIMARY KEY, head bytea NOT NULL, body bytea, len bigint, file text, client text, tls boolean NOT NULL)
  WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
CREATE TABLE raincheck.request_piece(id uuid, file text, n int, data bytea NOT NULL, PRIMARY KEY(id, file, n));
ALTER TABLE raincheck.request_piece ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE TABLE raincheck.response(id uuid PRIMARY KEY, head bytea NOT NULL, body bytea, len bigint, file text)
  PARTITION BY RANGE (id);
CREATE TABLE raincheck.response_piece(id uuid, file text, n int, data bytea NOT NULL, PRIMARY KEY(id, file, n))
  PARTITION BY RANGE (id);
ALTER TABLE raincheck.response_piece ALTER COLUMN data SET STORAGE EXTERNAL;

-- Each attempt but a run's only one: kind 0 of the run, 1 of its delivery.
CREATE TABLE raincheck.attempt(id uuid, kind smallint, n int, json text NOT NULL, PRIMARY KEY(id, kind, n))
  PARTITION BY RANGE (id);

-- The partitions of the four tables above: which ids, and since when they are dropped. Then the row is a tombstone.
CREATE TABLE raincheck.day(name text PRIMARY KEY, lower uuid NOT NULL UNIQUE, upper uuid NOT NULL, dropped bigint);

CREATE TABLE raincheck.idempotency(scope bytea PRIMARY KEY, id uuid NOT NULL, fingerprint bytea NOT NULL);
CREATE INDEX idempotency_id ON raincheck.idempotency(id);

-- The books, apart for each writer, so that none waits for another: the sum counts. Kind 0 runs, 1 deliveries.
CREATE TABLE raincheck.tally(
  owner bigint, part int, kind smallint, route text, state text, n bigint NOT NULL,
  PRIMARY KEY(owner, part, kind, route, state)) WITH (fillfactor = 50);

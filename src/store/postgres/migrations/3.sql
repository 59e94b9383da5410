-- Version 3. The statements of a commit again, for small batches, in which to call and to begin a statement costs more than
-- its rows: each takes its rows as one argument, and what a batch does not need is not begun. What is said of plans at
-- version 2 holds here too; so that they reach tables by `id = ANY(…)`, the ids of the rows are an argument of their own.

-- A new run.
CREATE TYPE raincheck.new_2 AS (
  id uuid, state text, route text, name text, dialect text, accepted bigint, started bigint, due bigint, expires bigint,
  attempts int, owner bigint, fixed text, doc text, secret bytea,
  head bytea, body bytea, len bigint, file text, client text, tls boolean);

-- A change of a run, if it stands as it was (was_…). One that ends has a response; there may be an entry of the log of
-- attempts.
CREATE TYPE raincheck.write_2 AS (
  id uuid, was_state text, was_attempts int, was_owner bigint, was_d_state text, was_d_attempts int,
  state text, reason text, started bigint, finished bigint, due bigint, expires bigint, done bigint, attempts int,
  owner bigint, d_state text, d_attempts int, d_due bigint, d_until bigint, d_host text, doc text, keeps_secret boolean,
  ends boolean, head bytea, body bytea, len bigint, file text, e_kind smallint, e_n int, e_json text);

-- Stores new runs, but for those that are there already; returns which. The first argument: whether any may be, and be over.
CREATE FUNCTION raincheck.accept_2(boolean, uuid[], raincheck.new_2[]) RETURNS uuid[] LANGUAGE plpgsql
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $f$
#variable_conflict use_column
DECLARE
  over uuid[];
  stored uuid[];
BEGIN
  IF $1 THEN
    SELECT array_agg(id) INTO over FROM raincheck.run WHERE id = ANY($2);
  END IF;
  WITH new AS (
    INSERT INTO raincheck.live(id, state, route, name, dialect, accepted, started, due, expires, attempts, owner, fixed, doc,
      secret)
    SELECT id, state, route, name, dialect, accepted, started, due, expires, attempts, owner, fixed, doc, secret
    FROM unnest($3) WHERE over IS NULL OR id <> ALL(over)
    ON CONFLICT DO NOTHING RETURNING id)
  SELECT array_agg(id) INTO stored FROM new;
  INSERT INTO raincheck.request(id, head, body, len, file, client, tls)
  SELECT id, head, body, len, file, client, tls FROM unnest($3) WHERE id = ANY(stored);
  RETURN stored;
END $f$;

-- Of changed runs, the first argument: puts the response of one that ends in its request's place, and logs attempts.
CREATE FUNCTION raincheck.follow_2(uuid[], raincheck.write_2[], has_ends boolean, has_entries boolean)
RETURNS void LANGUAGE plpgsql
AS $f$
#variable_conflict use_column
DECLARE
  ended uuid[];
  in_pieces uuid[];
BEGIN
  IF has_ends THEN
    WITH answered AS (
      INSERT INTO raincheck.response(id, head, body, len, file)
      SELECT id, head, body, len, file FROM unnest($2) WHERE ends AND id = ANY($1) RETURNING id)
    SELECT array_agg(id) INTO ended FROM answered;
    WITH asked AS (DELETE FROM raincheck.request WHERE id = ANY(ended) RETURNING id, file)
    SELECT array_agg(id) INTO in_pieces FROM asked WHERE file IS NOT NULL;
    IF in_pieces IS NOT NULL THEN
      DELETE FROM raincheck.request_piece WHERE id = ANY(in_pieces);
    END IF;
  END IF;
  IF has_entries THEN
    INSERT INTO raincheck.attempt(id, kind, n, json)
    SELECT id, e_kind, e_n, e_json FROM unnest($2) WHERE e_json IS NOT NULL AND id = ANY($1)
    ON CONFLICT (id, kind, n) DO UPDATE SET json = excluded.json;
  END IF;
END $f$;

-- Changes runs with something left to do; returns which. The last arguments: whether any of them ends, or has an entry.
CREATE FUNCTION raincheck.change_2(uuid[], raincheck.write_2[], has_ends boolean, has_entries boolean)
RETURNS uuid[] LANGUAGE plpgsql
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $f$
#variable_conflict use_column
DECLARE changed uuid[];
BEGIN
  WITH written AS (
    UPDATE raincheck.live AS l SET state = w.state, reason = w.reason, started = w.started, finished = w.finished,
      due = w.due, expires = w.expires, attempts = w.attempts, owner = w.owner, d_state = w.d_state,
      d_attempts = w.d_attempts, d_due = w.d_due, d_until = w.d_until, d_host = w.d_host, doc = w.doc,
      secret = CASE WHEN w.keeps_secret THEN l.secret END
    FROM unnest($2) AS w WHERE l.id = ANY($1) AND l.id = w.id AND l.state = w.was_state AND l.attempts = w.was_attempts
      AND l.owner IS NOT DISTINCT FROM w.was_owner AND l.d_state IS NOT DISTINCT FROM w.was_d_state
      AND l.d_attempts IS NOT DISTINCT FROM w.was_d_attempts
    RETURNING l.id)
  SELECT array_agg(id) INTO changed FROM written;
  IF has_ends OR has_entries THEN
    PERFORM raincheck.follow_2(changed, $2, has_ends, has_entries);
  END IF;
  RETURN changed;
END $f$;

-- The same of runs of which nothing is left to do then: their rows go to `run`.
CREATE FUNCTION raincheck.finish_2(uuid[], raincheck.write_2[], has_ends boolean, has_entries boolean)
RETURNS uuid[] LANGUAGE plpgsql
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $f$
#variable_conflict use_column
DECLARE changed uuid[];
BEGIN
  WITH gone AS (
    DELETE FROM raincheck.live AS l USING unnest($2) AS w
    WHERE l.id = ANY($1) AND l.id = w.id AND l.state = w.was_state AND l.attempts = w.was_attempts
      AND l.owner IS NOT DISTINCT FROM w.was_owner AND l.d_state IS NOT DISTINCT FROM w.was_d_state
      AND l.d_attempts IS NOT DISTINCT FROM w.was_d_attempts
    RETURNING l.id, w.state, w.reason, l.route, l.name, l.dialect, l.accepted, w.started, w.finished, w.done, w.attempts,
      w.d_state, w.d_attempts, w.d_host, l.fixed, w.doc, CASE WHEN w.keeps_secret THEN l.secret END AS secret),
  stored AS (
    INSERT INTO raincheck.run(id, state, reason, route, name, dialect, accepted, started, finished, done, attempts, d_state,
      d_attempts, d_host, fixed, doc, secret)
    SELECT * FROM gone RETURNING id)
  SELECT array_agg(id) INTO changed FROM stored;
  IF has_ends OR has_entries THEN
    PERFORM raincheck.follow_2(changed, $2, has_ends, has_entries);
  END IF;
  RETURN changed;
END $f$;

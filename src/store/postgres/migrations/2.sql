-- Version 2. The statements of a commit. As functions, their plans are kept by each connection to the server, also behind
-- a pooler. A plan must be good whatever the tables grow to, and however empty they were when it was made: so each table is
-- reached by `id = ANY(…)`, even where a join says the same, and conditions are such that no partial index fits them. A
-- program calls the functions of its own version.

-- New runs, for which nothing is done if they are there already. The first argument: whether they may be, and be over.
CREATE FUNCTION raincheck.accept_1(boolean, uuid[], text[], text[], text[], text[], bigint[], bigint[], bigint[], bigint[],
  int[], bigint[], text[], text[], bytea[], bytea[], bytea[], bigint[], text[], text[], boolean[])
RETURNS SETOF uuid LANGUAGE plpgsql
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $f$
#variable_conflict use_column
BEGIN RETURN QUERY
  WITH new AS MATERIALIZED (
    SELECT * FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
    AS u(id, state, route, name, dialect, accepted, started, due, expires, attempts, owner, fixed, doc, secret, head, body,
      len, file, client, tls)),
  stored AS (
    INSERT INTO raincheck.live(id, state, route, name, dialect, accepted, started, due, expires, attempts, owner, fixed, doc,
      secret)
    SELECT id, state, route, name, dialect, accepted, started, due, expires, attempts, owner, fixed, doc, secret FROM new
    WHERE NOT $1 OR id NOT IN (SELECT run.id FROM raincheck.run WHERE run.id = ANY($2))
    ON CONFLICT DO NOTHING RETURNING live.id),
  requests AS (
    INSERT INTO raincheck.request(id, head, body, len, file, client, tls)
    SELECT id, head, body, len, file, client, tls FROM new WHERE id IN (SELECT stored.id FROM stored))
  SELECT stored.id FROM stored;
END $f$;

-- Changes of runs with something left to do, as far as they stand as they were (was_…). One that ends has its response put
-- in its request's place. Returns which were changed.
CREATE FUNCTION raincheck.change_1(
  uuid[], text[], int[], bigint[], text[], int[], text[], text[], bigint[], bigint[], bigint[], bigint[], bigint[],
  int[], bigint[], text[], int[], bigint[], bigint[], text[], text[], boolean[], boolean[], bytea[], bytea[],
  bigint[], text[], smallint[], int[], text[])
RETURNS SETOF uuid LANGUAGE plpgsql
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $f$
#variable_conflict use_column
BEGIN RETURN QUERY
  WITH w AS MATERIALIZED (SELECT * FROM unnest(
      $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
      $24, $25, $26, $27, $28, $29, $30) AS u(
      id, was_state, was_attempts, was_owner, was_d_state, was_d_attempts, state, reason, started, finished, due,
      expires, done, attempts, owner, d_state, d_attempts, d_due, d_until, d_host, doc, keeps_secret, ends, head,
      body, len, file, e_kind, e_n, e_json)),
  changed AS (
    UPDATE raincheck.live AS l SET state = w.state, reason = w.reason, started = w.started, finished = w.finished,
      due = w.due, expires = w.expires, attempts = w.attempts, owner = w.owner, d_state = w.d_state,
      d_attempts = w.d_attempts, d_due = w.d_due, d_until = w.d_until, d_host = w.d_host, doc = w.doc,
      secret = CASE WHEN w.keeps_secret THEN l.secret END
    FROM w WHERE l.id = ANY($1) AND l.id = w.id AND l.state = w.was_state AND l.attempts = w.was_attempts
      AND l.owner IS NOT DISTINCT FROM w.was_owner AND l.d_state IS NOT DISTINCT FROM w.was_d_state
      AND l.d_attempts IS NOT DISTINCT FROM w.was_d_attempts
    RETURNING w.id, w.ends, w.head, w.body, w.len, w.file, w.e_kind, w.e_n, w.e_json),
  answered AS (
    INSERT INTO raincheck.response(id, head, body, len, file)
    SELECT id, head, body, len, file FROM changed WHERE ends),
  asked AS (DELETE FROM raincheck.request AS r USING changed AS c WHERE r.id = ANY($1) AND r.id = c.id AND c.ends),
  pieces AS (
    DELETE FROM raincheck.request_piece AS p USING changed AS c WHERE p.id = ANY($1) AND p.id = c.id AND c.ends),
  logged AS (
    INSERT INTO raincheck.attempt(id, kind, n, json)
    SELECT id, e_kind, e_n, e_json FROM changed WHERE e_json IS NOT NULL
    ON CONFLICT (id, kind, n) DO UPDATE SET json = excluded.json)
  SELECT changed.id FROM changed;
END $f$;

-- The same of runs of which nothing is left to do then: their rows go to `run`.
CREATE FUNCTION raincheck.finish_1(
  uuid[], text[], int[], bigint[], text[], int[], text[], text[], bigint[], bigint[], bigint[], bigint[], bigint[],
  int[], bigint[], text[], int[], bigint[], bigint[], text[], text[], boolean[], boolean[], bytea[], bytea[],
  bigint[], text[], smallint[], int[], text[])
RETURNS SETOF uuid LANGUAGE plpgsql
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $f$
#variable_conflict use_column
BEGIN RETURN QUERY
  WITH w AS MATERIALIZED (SELECT * FROM unnest(
      $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
      $24, $25, $26, $27, $28, $29, $30) AS u(
      id, was_state, was_attempts, was_owner, was_d_state, was_d_attempts, state, reason, started, finished, due,
      expires, done, attempts, owner, d_state, d_attempts, d_due, d_until, d_host, doc, keeps_secret, ends, head,
      body, len, file, e_kind, e_n, e_json)),
  changed AS (
    DELETE FROM raincheck.live AS l USING w WHERE l.id = ANY($1) AND l.id = w.id AND l.state = w.was_state
      AND l.attempts = w.was_attempts AND l.owner IS NOT DISTINCT FROM w.was_owner AND l.d_state IS NOT DISTINCT FROM w.was_d_state
      AND l.d_attempts IS NOT DISTINCT FROM w.was_d_attempts
    RETURNING w.*, l.route, l.name, l.dialect, l.accepted, l.fixed, CASE WHEN w.keeps_secret THEN l.secret END AS secret),
  stored AS (
    INSERT INTO raincheck.run(id, state, reason, route, name, dialect, accepted, started, finished, done, attempts, d_state,
      d_attempts, d_host, fixed, doc, secret)
    SELECT id, state, reason, route, name, dialect, accepted, started, finished, done, attempts, d_state, d_attempts, d_host,
      fixed, doc, secret FROM changed),
  answered AS (
    INSERT INTO raincheck.response(id, head, body, len, file)
    SELECT id, head, body, len, file FROM changed WHERE ends),
  asked AS (DELETE FROM raincheck.request AS r USING changed AS c WHERE r.id = ANY($1) AND r.id = c.id AND c.ends),
  pieces AS (
    DELETE FROM raincheck.request_piece AS p USING changed AS c WHERE p.id = ANY($1) AND p.id = c.id AND c.ends),
  logged AS (
    INSERT INTO raincheck.attempt(id, kind, n, json)
    SELECT id, e_kind, e_n, e_json FROM changed WHERE e_json IS NOT NULL
    ON CONFLICT (id, kind, n) DO UPDATE SET json = excluded.json)
  SELECT changed.id FROM changed;
END $f$;

-- Takes deliveries that are due by then and that nobody holds or changes at this moment, for a replica.
CREATE FUNCTION raincheck.hold_1(uuid[], bigint, bigint)
RETURNS SETOF raincheck.live LANGUAGE plpgsql
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $f$
#variable_conflict use_column
BEGIN RETURN QUERY
  WITH free AS MATERIALIZED (
    SELECT id FROM raincheck.live
    WHERE id = ANY($1) AND coalesce(d_state, '') = 'pending' AND d_due <= $2 AND coalesce(owner, 0) = 0
    FOR UPDATE SKIP LOCKED)
  UPDATE raincheck.live SET owner = $3 FROM free WHERE live.id = ANY($1) AND live.id = free.id RETURNING live.*;
END $f$;

-- Changes of the books, by one writer.
CREATE FUNCTION raincheck.count_1(bigint, smallint[], text[], text[], bigint[])
RETURNS void LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan
AS $f$
#variable_conflict use_column
BEGIN
  INSERT INTO raincheck.tally(owner, part, kind, route, state, n) SELECT $1, 0, * FROM unnest($2, $3, $4, $5)
  ON CONFLICT (owner, part, kind, route, state) DO UPDATE SET n = tally.n + excluded.n;
END $f$;

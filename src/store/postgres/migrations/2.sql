-- Version 2. The statements of a commit. As functions, their plans are kept by each connection to the server, also behind
-- a pooler. A plan must be good whatever the tables grow to, and however empty they were when it was made: so each table is
-- reached by `id = ANY(…)`, even where a join says the same, and conditions are such that no partial index fits them. A
-- program calls the functions of its own version.

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

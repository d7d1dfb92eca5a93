-- Deploy shop:worker to pg
-- requires: job_queue
-- requires: field
--
-- Workers that are heard of whether they have anything to do or not: each says every five seconds that it is there, and what
-- it does. Nothing depends on it but what people and load balancers are told; jobs are anybody's who claims them.
--
-- Locks: that of the worker's own row.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE TABLE shop.worker (
    name       text        COLLATE "C" NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    stopped_at timestamptz,
    pid        integer,
    host       text,
    version    text,
    kinds      text[]      NOT NULL DEFAULT '{}',
    work       jsonb       NOT NULL DEFAULT '[]',
    CONSTRAINT worker_pkey PRIMARY KEY (name),
    CONSTRAINT worker_name_check CHECK (length(name) BETWEEN 1 AND 200)
) WITH (fillfactor = 50);
COMMENT ON TABLE shop.worker IS 'The processes of workers that have said lately that they are there. Forgotten after a day.';
COMMENT ON COLUMN shop.worker.started_at IS 'When it was first heard of, or last said that it starts.';
COMMENT ON COLUMN shop.worker.stopped_at IS 'Since when it begins nothing any more, because it was told to end.';
COMMENT ON COLUMN shop.worker.kinds IS 'The kinds of jobs that it does.';
COMMENT ON COLUMN shop.worker.work IS 'What it does, since it began: an array of {label, kinds, most, running, finished, failed, away}. Calls of providers have no kinds.';

CREATE FUNCTION shop.is_alive(p_worker shop.worker) RETURNS boolean
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT p_worker.stopped_at IS NULL AND p_worker.seen_at > statement_timestamp() - interval '20 s';
    END;
COMMENT ON FUNCTION shop.is_alive(shop.worker) IS 'Whether a worker was heard of within 20 seconds, and was not told to end.';
GRANT EXECUTE ON FUNCTION shop.is_alive(shop.worker) TO pg_monitor;

CREATE FUNCTION shop.beat(p_worker text, p_state json) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_state CONSTANT jsonb := p_state;
    v_kinds text[];
    v_work jsonb;
BEGIN
    IF p_worker IS NULL OR length(p_worker) NOT BETWEEN 1 AND 200 THEN
        PERFORM shop.refuse('HS012', '/worker', 'wanted: 1 to 200 characters');
    ELSIF length(p_state::text) > 20000 THEN
        PERFORM shop.refuse('HS012', '/state', 'wanted: up to 20000 characters');
    END IF;
    PERFORM shop.check_fields(v_state, '{host,pid,version,starting,stopping,work}', '/state');
    v_work := coalesce(shop.field(v_state, 'work', 'array', false, '/state'), '[]');
    PERFORM count((w ->> 'finished')::bigint), count((w ->> 'failed')::bigint) FROM jsonb_array_elements(v_work) AS w;
    SELECT coalesce(array_agg(DISTINCT k.kind ORDER BY k.kind), '{}') INTO v_kinds
    FROM jsonb_array_elements(v_work) AS w, jsonb_array_elements_text(w -> 'kinds') AS k (kind);
    INSERT INTO shop.worker AS w (name, pid, host, version, kinds, work, stopped_at)
    VALUES (p_worker, (v_state ->> 'pid')::integer, left(v_state ->> 'host', 255), left(v_state ->> 'version', 100), v_kinds, v_work,
            CASE WHEN (v_state ->> 'stopping')::boolean THEN clock_timestamp() END)
    ON CONFLICT ON CONSTRAINT worker_pkey DO UPDATE
    SET started_at = CASE WHEN (v_state ->> 'starting')::boolean THEN EXCLUDED.started_at ELSE w.started_at END, seen_at = EXCLUDED.seen_at, pid = EXCLUDED.pid, host = EXCLUDED.host, version = EXCLUDED.version, kinds = EXCLUDED.kinds, work = EXCLUDED.work,
        stopped_at = CASE WHEN EXCLUDED.stopped_at IS NOT NULL THEN coalesce(w.stopped_at, EXCLUDED.stopped_at) END;
    DELETE FROM shop.worker AS w
    WHERE w.name = ANY (ARRAY(SELECT o.name FROM shop.worker AS o WHERE o.seen_at < clock_timestamp() - interval '1 day' ORDER BY o.name FOR UPDATE SKIP LOCKED));
END $$;
COMMENT ON FUNCTION shop.beat(text, json) IS
'Says that a worker is there, and what it does: {host, pid, version, starting, stopping, work: [{label, kinds, most, running, finished, failed, away}]}, of which all may be missing. Every five seconds; who is not heard of for 20 is taken for dead. Definer''s rights: workers have none of their own. Errors: HS009 to HS012; 22P02 what cannot be read.';
GRANT EXECUTE ON FUNCTION shop.beat(text, json) TO shop_worker;

COMMIT;

-- Deploy shop:job_queue to pg
-- requires: job_history
--
-- Putting jobs into the queue and taking them out: at least once. enqueue() is part of its caller's transaction. A worker
-- claims jobs, extends its lease while it works (heartbeat_jobs), and says how they went (finish_jobs, fail_jobs,
-- release_jobs), each for many jobs at once and each in a transaction of its own. Only who shows the lease that a claim
-- has returned may say so: one that came too late is told that the job is no longer his. A job whose lease has run out is
-- tried again, or dead if it has been claimed often enough.
--
-- The clock: once a second a claim tends the queue (tend_jobs: leases that have run out, slots; see the change job for
-- the slots and marks) and looks at each lane from its beginning; run_periodic() tends it too, for when nobody claims.
--
-- Locks: a row lock on each job claimed, skipping those of others. Those on the head, to tend, and on a kind of which only
-- so many may run are only tried, never waited for.
-- Enqueueing a key waits for another transaction that has just enqueued or finished the same key; a transaction that
-- enqueues several keys takes them in ascending order.
--
-- Plans: statistics of tables that are truncated all the time, or full of dead rows, are worse than none. To a planner who
-- believes a slot empty, to walk a whole index costs no more than to look up an id. So he is left no such choice: ids are
-- looked up by = ANY and joined with nothing, a lease is compared by IS NOT DISTINCT FROM, which the partial indexes cannot
-- use, and rows just locked are found by their place.

BEGIN;
SET LOCAL ROLE shop_owner;

-- Only after a conflict, so that all of the transaction that has made the key is visible. It compares with the job that it
-- has read, for while it waits the key may become that of a job newer than its snapshot.
CREATE FUNCTION shop.take_job_key(p_key text, p_id uuid) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_job uuid;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RETURN false;
    END IF;
    SELECT u.job_id INTO v_job FROM shop.job_key AS u WHERE u.key = p_key;
    IF NOT FOUND OR EXISTS (SELECT FROM shop.job AS j WHERE j.id = ANY (ARRAY[v_job])) THEN
        RETURN false;
    END IF;
    UPDATE shop.job_key AS u SET job_id = p_id WHERE u.key = p_key AND u.job_id = v_job;
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION shop.take_job_key(text, uuid) IS
'Gives a key whose job is nowhere to another job. False if there is such a job, or the snapshot may be too old to tell.';

CREATE FUNCTION shop.enqueue(p_kind text, p_payload jsonb, p_key text DEFAULT NULL, p_due_at timestamptz DEFAULT NULL, p_priority integer DEFAULT 0) RETURNS uuid
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_id CONSTANT uuid := holdfast.uuid7();
    v_now CONSTANT timestamptz := clock_timestamp();
BEGIN
    IF p_due_at = 'infinity' THEN
        PERFORM shop.refuse('HS014', '/due_at');
    ELSIF p_key IS NOT NULL THEN
        IF length(p_key) NOT BETWEEN 1 AND 255 THEN
            PERFORM shop.refuse('HS012', '/key', 'wanted: 1 to 255 characters');
        END IF;
        INSERT INTO shop.job_key (key, job_id) VALUES (p_key, v_id) ON CONFLICT (key) DO NOTHING;
        IF NOT FOUND AND NOT shop.take_job_key(p_key, v_id) THEN
            RETURN NULL;
        END IF;
    END IF;
    FOR v_try IN 1 .. 2 LOOP
        INSERT INTO shop.job (id, due_at, enqueued_at, priority, slot, kind, key, payload)
        SELECT v_id, greatest(p_due_at, v_now), v_now, l.priority, CASE WHEN h.later AND p_due_at > v_now + interval '10 min' THEN 0 ELSE h.slot END,
               l.kind, p_key, coalesce(p_payload, '{}')
        FROM shop.job_lane AS l, shop.job_head AS h
        WHERE l.kind = p_kind AND l.priority = p_priority;
        IF FOUND THEN
            RETURN v_id;
        ELSIF p_priority IS NULL OR p_priority NOT BETWEEN -9 AND 9 THEN
            PERFORM shop.refuse('HS014', '/priority', 'wanted: -9 to 9');
        ELSIF p_kind IS NULL OR NOT EXISTS (SELECT FROM shop.job_kind AS k WHERE k.kind = p_kind) THEN
            PERFORM shop.refuse('HS501', '/kind');
        END IF;
        INSERT INTO shop.job_lane (kind, priority) VALUES (p_kind, p_priority) ON CONFLICT DO NOTHING;
    END LOOP;
    RAISE serialization_failure USING MESSAGE = 'the lane of the job is newer than the snapshot';
END $$;
COMMENT ON FUNCTION shop.enqueue(text, jsonb, text, timestamptz, integer) IS
'Puts a job into the queue, in the caller''s transaction, and returns its id. p_key: unique while the job is not finished; NULL is returned if such a job is there already, waiting or running. p_due_at: not before then. p_priority: -9 to 9, higher first. Errors: HS012 key, HS014 priority or time, HS501 unknown kind.';

-- Leaves no job behind: what is left of a slot moves to slot 0 (of slot 0 to the head), in pieces. When nothing is left, that
-- is noted by another call, which sees all that has become of the jobs committed; a minute later the slot is truncated.
CREATE FUNCTION shop.empty_job_slot(p_slot integer, p_head integer, p_force boolean) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '250ms' AS $$
DECLARE
    v_piece CONSTANT integer := 5000;
    v_patience CONSTANT interval := interval '60 s';
    v_emptied_at timestamptz;
    v_left integer;
BEGIN
    SELECT s.emptied_at INTO v_emptied_at FROM shop.job_slot AS s WHERE s.slot = p_slot;
    IF v_emptied_at > clock_timestamp() - v_patience THEN
        RETURN false;
    END IF;
    IF v_emptied_at IS NULL THEN
        EXECUTE format('SELECT count(*) FROM (SELECT FROM shop.job_%s LIMIT $1 + 1) AS j', p_slot) INTO v_left USING v_piece;
        IF v_left = 0 THEN
            UPDATE shop.job_slot AS s SET emptied_at = clock_timestamp() WHERE s.slot = p_slot;
            RETURN false;
        ELSIF v_left > v_piece AND NOT p_force THEN
            RETURN false;
        END IF;
    END IF;
    EXECUTE format('LOCK TABLE ONLY shop.job_%s IN ACCESS EXCLUSIVE MODE', p_slot);
    EXECUTE format('WITH moved AS (DELETE FROM shop.job_%1$s WHERE ctid = ANY (ARRAY(SELECT ctid FROM shop.job_%1$s LIMIT $1)) RETURNING *)
        INSERT INTO shop.job (id, due_at, enqueued_at, claimed_at, leased_until, lease, priority, attempts, slot, kind, key, worker, error, failures, payload)
        SELECT id, due_at, enqueued_at, claimed_at, leased_until, lease, priority, attempts, $2, kind, key, worker, error, failures, payload FROM moved', p_slot)
    USING v_piece, CASE WHEN p_slot > 0 AND (SELECT h.later FROM shop.job_head AS h) THEN 0 ELSE p_head END;
    GET DIAGNOSTICS v_left = ROW_COUNT;
    IF v_left > 0 OR v_emptied_at IS NULL THEN
        UPDATE shop.job_slot AS s SET emptied_at = NULL WHERE s.slot = p_slot AND s.emptied_at IS NOT NULL;
        UPDATE shop.job_head AS h SET later = false WHERE p_slot = 0 AND h.later;
        RETURN false;
    END IF;
    EXECUTE format('TRUNCATE shop.job_%s', p_slot);
    IF p_slot > 0 THEN
        EXECUTE format('LOCK TABLE ONLY shop.job_log_%s IN ACCESS EXCLUSIVE MODE', p_slot);
        EXECUTE format('INSERT INTO shop.job_minute (minute, event, kind, jobs, took, longest)
            SELECT date_trunc(''minute'', at), event, kind, sum(jobs), sum(took), max(longest)
            FROM shop.job_log_%s WHERE event NOT IN (''tend'', ''busy'', ''look'') GROUP BY 1, 2, 3', p_slot);
        PERFORM shop.sum_jobs(p_slot, true);
        EXECUTE format('TRUNCATE shop.job_log_%s', p_slot);
    END IF;
    UPDATE shop.job_slot AS s SET emptied_at = NULL WHERE s.slot = p_slot;
    UPDATE shop.job_head AS h SET later = true WHERE p_slot = 0 AND NOT h.later;
    RETURN true;
EXCEPTION WHEN lock_not_available OR object_in_use THEN
    INSERT INTO shop.job_log (slot, event, kind) VALUES (p_head, 'busy', '');
    RETURN NULL;
END $$;
COMMENT ON FUNCTION shop.empty_job_slot(integer, integer, boolean) IS
'Brings a slot of the queue that is not the head a step nearer to being empty: moves its jobs, once no more than 5,000 are left, p_force as many in any case; notes that it has none; truncates it after a minute without. True if it did that; NULL if some transaction has the slot open: then nothing of the kind is tried again for five seconds. Call it once in a transaction.';

-- What becomes of an attempt that has failed.
CREATE FUNCTION shop.end_attempts(p_ids uuid[], p_leases uuid[], p_reasons text[], p_final boolean) RETURNS TABLE (id uuid, dead boolean)
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
    BEGIN ATOMIC
        WITH dying AS (
            DELETE FROM shop.job AS j
            WHERE array_position(p_leases, NULL) IS NULL AND j.id = ANY (p_ids) AND j.lease IS NOT DISTINCT FROM p_leases[array_position(p_ids, j.id)]
              AND (p_final OR j.attempts >= coalesce((SELECT k.attempts FROM shop.job_kind AS k WHERE k.kind = j.kind), 0))
            RETURNING j.*
        ), unlocked AS (
            DELETE FROM shop.job_key AS u WHERE u.key = ANY (ARRAY(SELECT d.key FROM dying AS d WHERE d.key IS NOT NULL)) AND u.job_id = ANY (p_ids)
        ), buried AS (
            INSERT INTO shop.job_dead (id, enqueued_at, priority, attempts, kind, key, worker, error, failures, payload)
            SELECT d.id, d.enqueued_at, d.priority, d.attempts, d.kind, d.key, d.worker, left(p_reasons[array_position(p_ids, d.id)], 2000),
                   shop.add_failure(d.failures, d.attempts, d.claimed_at, d.worker, p_reasons[array_position(p_ids, d.id)]), shop.buried_payload(d.payload)
            FROM dying AS d
        ), waiting AS (
            UPDATE shop.job AS j
            SET lease = NULL, leased_until = NULL, error = left(p_reasons[array_position(p_ids, j.id)], 2000),
                failures = shop.add_failure(j.failures, j.attempts, j.claimed_at, j.worker, p_reasons[array_position(p_ids, j.id)]),
                due_at = clock_timestamp() + (SELECT least(k.backoff * power(2, least(j.attempts - 1, 30)), k.backoff_max) FROM shop.job_kind AS k WHERE k.kind = j.kind)
                    * (0.5 + random() / 2)
            WHERE array_position(p_leases, NULL) IS NULL AND j.id = ANY (p_ids) AND j.lease IS NOT DISTINCT FROM p_leases[array_position(p_ids, j.id)]
              AND NOT (p_final OR j.attempts >= coalesce((SELECT k.attempts FROM shop.job_kind AS k WHERE k.kind = j.kind), 0))
            RETURNING j.id, j.kind, j.worker, j.claimed_at
        ), outcome AS (
            SELECT d.id, d.kind, d.worker, d.claimed_at, true AS dead FROM dying AS d
            UNION ALL SELECT w.id, w.kind, w.worker, w.claimed_at, false FROM waiting AS w
        ), noted AS (
            INSERT INTO shop.job_log (slot, event, kind, worker, jobs, took, longest)
            SELECT min(h.slot), CASE WHEN o.dead THEN 'die' ELSE 'retry' END, o.kind, o.worker, count(*),
                   sum(clock_timestamp() - o.claimed_at), max(clock_timestamp() - o.claimed_at)
            FROM outcome AS o, shop.job_head AS h GROUP BY o.dead, o.kind, o.worker
        )
        SELECT o.id, o.dead FROM outcome AS o;
    END;
COMMENT ON FUNCTION shop.end_attempts(uuid[], uuid[], text[], boolean) IS
'Ends attempts of jobs that the leases still hold, by retry after the back-off of their kind, or by death after its last attempt or if p_final says so.';

CREATE FUNCTION shop.tend_jobs() RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_now CONSTANT timestamptz := clock_timestamp();
    v_size CONSTANT bigint := 16 * 1024 * 1024;
    v_head integer;
    v_next integer;
    v_slot integer;
    v_full boolean;
    v_empty boolean;
    v_later boolean;
    v_ids uuid[];
    v_leases uuid[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RETURN false;
    END IF;
    SELECT h.slot, h.later INTO v_head, v_later FROM shop.job_head AS h FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    v_full := greatest(pg_table_size(format('shop.job_%s', v_head)), pg_table_size(format('shop.job_log_%s', v_head))) > v_size;
    IF v_full THEN
        SELECT (v_head + n - 1) % 4 + 1 INTO v_next FROM generate_series(1, 3) AS n
        WHERE pg_relation_size(format('shop.job_%s', (v_head + n - 1) % 4 + 1)) = 0 AND pg_relation_size(format('shop.job_log_%s', (v_head + n - 1) % 4 + 1)) = 0
        ORDER BY n LIMIT 1;
        v_full := NOT FOUND;
        IF NOT v_full THEN
            UPDATE shop.job_head SET slot = v_next;
            v_head := v_next;
        END IF;
        v_full := v_full AND NOT EXISTS (SELECT FROM shop.job_slot AS s WHERE s.slot > 0 AND s.emptied_at IS NOT NULL);
    END IF;
    IF NOT EXISTS (SELECT FROM shop.job_log AS g WHERE g.event = 'busy' AND g.at > v_now - interval '5 s') THEN
        FOR v_slot IN
            SELECT s.slot FROM (SELECT n, (v_head + n - 1) % 4 + 1 AS slot FROM generate_series(1, 3) AS n) AS s
            WHERE pg_relation_size(format('shop.job_%s', s.slot)) > 0 OR pg_relation_size(format('shop.job_log_%s', s.slot)) > 0
            ORDER BY s.n
        LOOP
            v_empty := shop.empty_job_slot(v_slot, v_head, v_full);
            EXIT WHEN v_empty IS NULL;
            v_full := false;
        END LOOP;
        IF pg_table_size('shop.job_0') > v_size THEN
            PERFORM shop.empty_job_slot(0, v_head, NOT v_later);
        END IF;
    END IF;

    SELECT array_agg(e.id), array_agg(e.lease) INTO v_ids, v_leases
    FROM (SELECT j.id, j.lease FROM shop.job_kind AS k, shop.job AS j
          WHERE j.kind = k.kind AND j.lease IS NOT NULL AND j.leased_until < v_now LIMIT 1000 FOR UPDATE OF j SKIP LOCKED) AS e;
    IF v_ids IS NOT NULL THEN
        PERFORM shop.end_attempts(v_ids, v_leases, array_fill('the lease ran out: its worker is gone, or too slow'::text, ARRAY[cardinality(v_ids)]), false);
    END IF;
    PERFORM shop.sum_jobs(s.slot, false) FROM shop.job_slot AS s WHERE s.slot > 0;
    PERFORM shop.forget_jobs();
    RETURN true;
END $$;
COMMENT ON FUNCTION shop.tend_jobs() IS
'Ends attempts whose lease has run out, begins a new slot when the head is full (16 MB) and another is empty, empties those behind it, forgets old history. Claims and run_periodic() call it; it may be called at any time, by any number. False if another transaction is at it, or at another isolation level than READ COMMITTED, whose snapshot may be too old to tell that a slot is empty.';

CREATE FUNCTION shop.claim_jobs(p_worker text, p_kinds text[] DEFAULT NULL, p_limit integer DEFAULT 1, p_lease interval DEFAULT NULL)
    RETURNS TABLE (id uuid, lease uuid, kind text, payload jsonb, attempt integer, leased_until timestamptz, enqueued_at timestamptz)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET jit = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    v_now CONSTANT timestamptz := clock_timestamp();
    v_recent CONSTANT timestamptz := v_now - interval '250 ms';
    v_nil CONSTANT uuid := uuid '00000000-0000-0000-0000-000000000000';
    v_lease CONSTANT uuid := gen_random_uuid();
    v_began timestamptz;
    v_tended boolean := false;
    v_looked text[];
    v_late text[] := ARRAY[]::text[];
    v_left integer := p_limit;
    v_more text[] := ARRAY[]::text[];
    v_last record;
    v_lane record;
    v_quota integer;
    v_got integer;
BEGIN
    IF p_worker IS NULL OR length(p_worker) NOT BETWEEN 1 AND 200 THEN
        PERFORM shop.refuse('HS012', '/worker', 'wanted: 1 to 200 characters');
    ELSIF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 10000 THEN
        PERFORM shop.refuse('HS014', '/limit', 'wanted: 1 to 10000');
    ELSIF p_lease NOT BETWEEN interval '1 s' AND interval '1 day' THEN
        PERFORM shop.refuse('HS014', '/lease', 'wanted: one second to one day');
    ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM shop.refuse('HS503');
    END IF;

    -- A clock that was set back leaves notes of the future, which say nothing.
    SELECT g.at, g.took INTO v_last FROM shop.job_log AS g WHERE g.event = 'tend' AND g.at <= v_now ORDER BY g.at DESC LIMIT 1;
    IF v_last.at IS NULL OR v_now > v_last.at + greatest(interval '1 s', 20 * v_last.took) THEN
        v_tended := shop.tend_jobs();
    END IF;
    v_began := clock_timestamp();

    -- The kinds of which all jobs are looked at, from the very beginning.
    SELECT array_agg(k.kind) INTO v_looked
    FROM shop.job_kind AS k
    LEFT JOIN LATERAL (SELECT g.at, g.took, g.jobs FROM shop.job_log AS g WHERE g.event = 'look' AND g.kind = k.kind AND g.at <= v_now
                       ORDER BY g.at DESC LIMIT 1) AS g ON true
    WHERE NOT k.paused AND (p_kinds IS NULL OR k.kind = ANY (p_kinds))
      AND (g.at IS NULL OR g.jobs > 0 OR v_now > g.at + greatest(interval '1 s', 20 * g.took));

    -- Lanes that have something to do, with the place to begin at. Within a priority each kind has its share; what one
    -- leaves is the others', in the second round.
    FOR v_lane IN
        SELECT l.*, r AS round, count(*) OVER (PARTITION BY l.priority, r ORDER BY l.place ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS lanes
        FROM (SELECT l.kind, l.priority, k.lease, k.concurrency, m.due_at, m.job_id, f.looked, random() AS place
              FROM shop.job_kind AS k JOIN shop.job_lane AS l ON l.kind = k.kind
              LEFT JOIN LATERAL (SELECT g.due_at, g.job_id FROM shop.job_log AS g WHERE g.event = 'claim' AND g.kind = l.kind AND g.priority = l.priority
                                 ORDER BY g.due_at DESC, g.job_id DESC LIMIT 1) AS g ON true
              CROSS JOIN LATERAL (SELECT CASE WHEN g.due_at > v_recent THEN v_recent ELSE coalesce(g.due_at, '-infinity') END AS due_at,
                                         CASE WHEN g.due_at > v_recent OR g.job_id IS NULL THEN v_nil ELSE g.job_id END AS job_id) AS m
              CROSS JOIN LATERAL (SELECT coalesce(l.kind = ANY (v_looked), false) AS looked) AS f
              CROSS JOIN LATERAL (SELECT FROM shop.job AS j
                                  WHERE j.kind = l.kind AND j.priority = l.priority AND j.lease IS NULL AND j.due_at <= v_now
                                    AND (j.due_at, j.id) >= (CASE WHEN f.looked THEN '-infinity' ELSE m.due_at END, CASE WHEN f.looked THEN v_nil ELSE m.job_id END)
                                  LIMIT 1) AS j
              WHERE NOT k.paused AND (p_kinds IS NULL OR k.kind = ANY (p_kinds))) AS l, generate_series(1, 2) AS r
        ORDER BY l.priority DESC, r, l.place
    LOOP
        EXIT WHEN v_left = 0;
        CONTINUE WHEN v_lane.round = 2 AND v_lane.kind || v_lane.priority <> ALL (v_more);
        v_quota := CASE v_lane.round WHEN 1 THEN (v_left + v_lane.lanes - 1) / v_lane.lanes ELSE v_left END;
        IF v_lane.concurrency IS NOT NULL THEN
            PERFORM FROM shop.job_kind AS k WHERE k.kind = v_lane.kind FOR NO KEY UPDATE SKIP LOCKED;
            CONTINUE WHEN NOT FOUND;
            v_quota := least(v_quota, v_lane.concurrency
                - (SELECT count(*) FROM shop.job AS j WHERE j.kind = v_lane.kind AND j.lease IS NOT NULL AND j.leased_until > v_now));
            CONTINUE WHEN v_quota <= 0;
        END IF;

        FOR v_pass IN CASE WHEN v_lane.looked AND v_lane.round = 1 THEN 1 ELSE 2 END .. 2 LOOP
            RETURN QUERY
            WITH picked AS MATERIALIZED (
                SELECT j.ctid AS place, j.slot FROM shop.job AS j
                WHERE j.kind = v_lane.kind AND j.priority = v_lane.priority AND j.lease IS NULL AND j.due_at <= v_now
                  AND (j.due_at, j.id) >= (CASE v_pass WHEN 1 THEN '-infinity' ELSE v_lane.due_at END, CASE v_pass WHEN 1 THEN v_nil ELSE v_lane.job_id END)
                  AND (j.due_at, j.id) < (CASE v_pass WHEN 1 THEN v_lane.due_at ELSE 'infinity' END, CASE v_pass WHEN 1 THEN v_lane.job_id ELSE v_nil END)
                ORDER BY j.due_at, j.id LIMIT v_quota FOR UPDATE SKIP LOCKED
            ), claimed AS (
                UPDATE shop.job AS j
                SET lease = v_lease, leased_until = v_now + coalesce(p_lease, v_lane.lease), worker = p_worker, claimed_at = v_now, attempts = j.attempts + 1
                FROM picked AS p WHERE j.ctid = p.place AND j.slot = p.slot
                RETURNING j.id, j.payload, j.attempts, j.leased_until, j.enqueued_at, j.due_at
            ), noted AS (
                INSERT INTO shop.job_log (slot, event, kind, priority, worker, step, jobs, took, longest, due_at, job_id)
                SELECT (SELECT h.slot FROM shop.job_head AS h), 'claim', v_lane.kind, v_lane.priority, p_worker, shop.duration_step(v_now - c.due_at), count(*),
                       sum(v_now - c.due_at), max(v_now - c.due_at), max(c.due_at), (array_agg(c.id ORDER BY c.due_at DESC, c.id DESC))[1]
                FROM claimed AS c GROUP BY shop.duration_step(v_now - c.due_at)
            )
            SELECT c.id, v_lease, v_lane.kind, c.payload, c.attempts, c.leased_until, c.enqueued_at FROM claimed AS c;
            GET DIAGNOSTICS v_got = ROW_COUNT;
            v_left := v_left - v_got;
            v_quota := v_quota - v_got;
            IF v_pass = 1 AND v_got > 0 THEN
                v_late := v_late || v_lane.kind;
            END IF;
            EXIT WHEN v_quota = 0;
        END LOOP;
        IF v_quota = 0 THEN
            v_more := v_more || (v_lane.kind || v_lane.priority);
        END IF;
    END LOOP;
    IF v_tended OR v_looked IS NOT NULL THEN
        -- Where there were late ones, and no room for more, the next claim looks again.
        INSERT INTO shop.job_log (slot, event, kind, worker, jobs, took)
        SELECT h.slot, n.event, n.kind, p_worker, (v_left = 0 AND n.kind = ANY (v_late))::integer, clock_timestamp() - v_began
        FROM shop.job_head AS h, (SELECT 'tend', '' WHERE v_tended UNION ALL SELECT 'look', l.kind FROM unnest(v_looked) AS l (kind)) AS n (event, kind);
    END IF;
END $$;
COMMENT ON FUNCTION shop.claim_jobs(text, text[], integer, interval) IS
'Claims up to p_limit (1 to 10000) due jobs of some kinds (NULL: all) for a worker, by priority, then due time; kinds of one priority share. lease: to be shown with what becomes of them. p_lease: until when they are to be finished or extended, NULL: as their kind says. Commit at once. Errors: HS012, HS014, HS503.';

CREATE FUNCTION shop.heartbeat_jobs(p_lease uuid, p_ids uuid[], p_for interval DEFAULT NULL) RETURNS SETOF uuid
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
    IF p_for NOT BETWEEN interval '1 s' AND interval '1 day' THEN
        PERFORM shop.refuse('HS014', '/for', 'wanted: one second to one day');
    END IF;
    RETURN QUERY
    UPDATE shop.job AS j SET leased_until = clock_timestamp() + coalesce(p_for, (SELECT k.lease FROM shop.job_kind AS k WHERE k.kind = j.kind), interval '60 s')
    WHERE p_lease IS NOT NULL AND j.id = ANY (p_ids) AND j.lease IS NOT DISTINCT FROM p_lease RETURNING j.id;
END $$;
COMMENT ON FUNCTION shop.heartbeat_jobs(uuid, uuid[], interval) IS
'Extends the lease on jobs, and returns those that are still the worker''s; the others were given to somebody else, or cancelled. Errors: HS014.';

CREATE FUNCTION shop.finish_jobs(p_lease uuid, p_ids uuid[]) RETURNS SETOF uuid
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET jit = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN QUERY
    WITH done AS (
        DELETE FROM shop.job AS j WHERE p_lease IS NOT NULL AND j.id = ANY (p_ids) AND j.lease IS NOT DISTINCT FROM p_lease
        RETURNING j.id, j.key, j.kind, j.worker, clock_timestamp() - j.claimed_at AS took
    ), unlocked AS (
        DELETE FROM shop.job_key AS u WHERE u.key = ANY (ARRAY(SELECT d.key FROM done AS d WHERE d.key IS NOT NULL)) AND u.job_id = ANY (p_ids)
    ), noted AS (
        INSERT INTO shop.job_log (slot, event, kind, worker, step, jobs, took, longest)
        SELECT min(h.slot), 'finish', d.kind, d.worker, shop.duration_step(d.took), count(*), sum(d.took), max(d.took)
        FROM done AS d, shop.job_head AS h GROUP BY d.kind, d.worker, shop.duration_step(d.took)
    )
    SELECT d.id FROM done AS d;
END $$;
COMMENT ON FUNCTION shop.finish_jobs(uuid, uuid[]) IS
'Ends jobs that are done, and returns those that were still the worker''s; the others are somebody else''s by now, done or cancelled.';

CREATE FUNCTION shop.fail_jobs(p_lease uuid, p_ids uuid[], p_reasons text[], p_final boolean DEFAULT false) RETURNS TABLE (id uuid, dead boolean)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF cardinality(p_reasons) IS DISTINCT FROM cardinality(p_ids) THEN
        PERFORM shop.refuse('HS015', '/reasons', 'wanted: one for each job');
    END IF;
    RETURN QUERY SELECT e.id, e.dead FROM shop.end_attempts(p_ids, array_fill(p_lease, ARRAY[cardinality(p_ids)]), p_reasons, coalesce(p_final, false)) AS e;
END $$;
COMMENT ON FUNCTION shop.fail_jobs(uuid, uuid[], text[], boolean) IS
'Says that jobs have failed, and why: they are tried again later, or dead after the last attempt of their kind, or at once if p_final. Returns those that were still the worker''s. Errors: HS015.';

CREATE FUNCTION shop.release_jobs(p_lease uuid, p_ids uuid[]) RETURNS SETOF uuid
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
    RETURN QUERY
    WITH released AS (
        UPDATE shop.job AS j SET lease = NULL, leased_until = NULL, attempts = j.attempts - 1, due_at = clock_timestamp()
        WHERE p_lease IS NOT NULL AND j.id = ANY (p_ids) AND j.lease IS NOT DISTINCT FROM p_lease RETURNING j.id, j.kind, j.worker
    ), noted AS (
        INSERT INTO shop.job_log (slot, event, kind, worker, jobs)
        SELECT min(h.slot), 'release', r.kind, r.worker, count(*) FROM released AS r, shop.job_head AS h GROUP BY r.kind, r.worker
    )
    SELECT r.id FROM released AS r;
END $$;
COMMENT ON FUNCTION shop.release_jobs(uuid, uuid[]) IS
'Gives back jobs that were not begun, as a worker does that ends: they wait again, and the attempt does not count. Returns those that were still his.';

CREATE FUNCTION shop.cancel_job(p_id uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_job shop.job;
BEGIN
    DELETE FROM shop.job AS j WHERE j.id = p_id RETURNING j.* INTO v_job;
    IF NOT FOUND THEN
        UPDATE shop.job_dead AS d SET cancelled = true WHERE d.id = p_id;
        IF NOT FOUND THEN
            PERFORM shop.refuse('HS004');
        END IF;
        RETURN;
    END IF;
    DELETE FROM shop.job_key AS u WHERE u.key = v_job.key AND u.job_id = v_job.id;
    INSERT INTO shop.job_dead (id, enqueued_at, priority, attempts, cancelled, kind, key, worker, error, failures, payload)
    VALUES (v_job.id, v_job.enqueued_at, v_job.priority, v_job.attempts, true, v_job.kind, v_job.key, v_job.worker, v_job.error, v_job.failures,
            shop.buried_payload(v_job.payload));
    INSERT INTO shop.job_log (slot, event, kind) SELECT h.slot, 'cancel', v_job.kind FROM shop.job_head AS h;
END $$;
COMMENT ON FUNCTION shop.cancel_job(uuid) IS
'Cancels a job that waits or runs; the worker of a running one learns of it by his next heartbeat, or when he wants to finish it. It stays among the dead letters; cancelling one of those takes it off the list of what went wrong. Errors: HS004 no such job.';

CREATE FUNCTION shop.retry_job(p_id uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_dead shop.job_dead;
    v_lease uuid;
BEGIN
    DELETE FROM shop.job_dead AS d WHERE d.id = p_id RETURNING d.* INTO v_dead;
    IF FOUND THEN
        IF NOT EXISTS (SELECT FROM shop.job_lane AS l WHERE l.kind = v_dead.kind AND l.priority = v_dead.priority) THEN
            PERFORM shop.refuse('HS501');
        END IF;
        IF v_dead.key IS NOT NULL THEN
            INSERT INTO shop.job_key (key, job_id) VALUES (v_dead.key, v_dead.id) ON CONFLICT (key) DO NOTHING;
            IF NOT FOUND AND NOT shop.take_job_key(v_dead.key, v_dead.id) THEN
                PERFORM shop.refuse('HS502');
            END IF;
        END IF;
        INSERT INTO shop.job (id, due_at, enqueued_at, priority, slot, kind, key, worker, error, failures, payload)
        SELECT v_dead.id, clock_timestamp(), v_dead.enqueued_at, v_dead.priority, h.slot, v_dead.kind, v_dead.key, v_dead.worker, v_dead.error, v_dead.failures,
               v_dead.payload
        FROM shop.job_head AS h;
        RETURN;
    END IF;
    SELECT j.lease INTO v_lease FROM shop.job AS j WHERE j.id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS004');
    ELSIF v_lease IS NOT NULL THEN
        PERFORM shop.refuse('HS504');
    END IF;
    UPDATE shop.job AS j SET due_at = least(j.due_at, clock_timestamp()) WHERE j.id = p_id;
END $$;
COMMENT ON FUNCTION shop.retry_job(uuid) IS
'Sends a dead or cancelled job again, its attempts counted anew, or makes one that waits due now. Errors: HS004 no such job, HS501 its kind is gone, HS502 an unfinished job has its key, HS504 it is running.';

CREATE FUNCTION shop.run_periodic() RETURNS integer
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_due record;
    v_count integer := 0;
BEGIN
    FOR v_due IN
        UPDATE shop.job_periodic AS p SET next_at = date_bin(p.every, clock_timestamp(), p.next_at) + p.every
        FROM (SELECT d.name FROM shop.job_periodic AS d WHERE d.next_at <= clock_timestamp() ORDER BY d.name FOR UPDATE SKIP LOCKED) AS d
        WHERE p.name = d.name RETURNING p.name, p.kind, p.payload, p.priority
    LOOP
        v_count := v_count + (shop.enqueue(v_due.kind, v_due.payload, 'periodic:' || v_due.name, NULL, v_due.priority) IS NOT NULL)::integer;
    END LOOP;
    PERFORM shop.tend_jobs();
    RETURN v_count;
END $$;
COMMENT ON FUNCTION shop.run_periodic() IS
'Enqueues the periodic jobs whose time has come, once for each time, and tends the queue: for anybody''s clock, from any number of nodes, as often as they like. One whose job of last time is not finished is left out. Returns how many it has enqueued.';

GRANT EXECUTE ON FUNCTION shop.claim_jobs(text, text[], integer, interval), shop.heartbeat_jobs(uuid, uuid[], interval), shop.finish_jobs(uuid, uuid[]),
    shop.fail_jobs(uuid, uuid[], text[], boolean), shop.release_jobs(uuid, uuid[]), shop.run_periodic() TO shop_worker;

COMMIT;

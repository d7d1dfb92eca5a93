-- Deploy shop:rest_operations to pg
-- requires: job_report
-- requires: sale_state
-- requires: schedule
--
-- What an operator, a load balancer and a monitor ask the web application, and the application asks here: is all well, and
-- what are the figures. They ask every few seconds, under load above all. So nothing here takes time that grows with what
-- the shop has sold: each figure is kept in memory by the server or the extension, or is counted by an index and up to a
-- bound, so that it is exact while all is well and says no less than "many" when it is not. The views of the change
-- job_report are exact, and take their time.
--
-- Locks: none but those of reading. While a slot of the queue is truncated they wait, as everybody does, for a moment.

BEGIN;
SET LOCAL ROLE shop_owner;

-- Plans: as for whatever looks at the slots of the queue, statistics are worse than none (change job_queue). Planning takes
-- longer than running, so it is done once a session: hence PL/pgSQL.
CREATE FUNCTION shop.job_figures(p_most integer)
    RETURNS TABLE (kind text, waiting bigint, later bigint, running bigint, overdue bigint, dead bigint, oldest_due_at timestamptz)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
    SET max_parallel_workers_per_gather = 0 SET jit = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN QUERY
    SELECT k.kind,
        (SELECT count(*) FROM (SELECT FROM shop.job_lane AS l CROSS JOIN LATERAL (
            SELECT FROM shop.job AS j WHERE j.kind = l.kind AND j.priority = l.priority AND j.lease IS NULL AND j.due_at <= statement_timestamp()
            LIMIT p_most) AS j WHERE l.kind = k.kind LIMIT p_most) AS x),
        (SELECT count(*) FROM (SELECT FROM shop.job_lane AS l CROSS JOIN LATERAL (
            SELECT FROM shop.job AS j WHERE j.kind = l.kind AND j.priority = l.priority AND j.lease IS NULL AND j.due_at > statement_timestamp()
            LIMIT p_most) AS j WHERE l.kind = k.kind LIMIT p_most) AS x),
        (SELECT count(*) FROM (SELECT FROM shop.job AS j WHERE j.kind = k.kind AND j.lease IS NOT NULL LIMIT p_most) AS x),
        (SELECT count(*) FROM (SELECT FROM shop.job AS j WHERE j.kind = k.kind AND j.lease IS NOT NULL AND j.leased_until < statement_timestamp() LIMIT p_most) AS x),
        (SELECT count(*) FROM (SELECT FROM shop.job_dead AS d WHERE d.kind = k.kind AND NOT d.cancelled LIMIT p_most) AS x),
        (SELECT min(f.due_at) FROM shop.job_lane AS l CROSS JOIN LATERAL (
            SELECT j.due_at FROM shop.job AS j WHERE j.kind = l.kind AND j.priority = l.priority AND j.lease IS NULL AND j.due_at <= statement_timestamp()
            ORDER BY j.due_at LIMIT 1) AS f WHERE l.kind = k.kind)
    FROM shop.job_kind AS k;
END $$;
COMMENT ON FUNCTION shop.job_figures(integer) IS
'The queue by kind, each figure counted up to p_most: jobs that are due (waiting), that are to wait for their time or their next attempt (later), that run, whose lease has run out (overdue), and that are dead; and since when the oldest is due. shop.job_summary counts all of them, in more time.';

CREATE FUNCTION shop.job_pulse(OUT seen_at timestamptz, OUT alive boolean, OUT workers bigint)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET max_parallel_workers_per_gather = 0 SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_doing bigint;
    v_asked timestamptz;
    v_asker text;
BEGIN
    SELECT max(w.seen_at), count(*) FILTER (WHERE shop.is_alive(w)), count(*) FILTER (WHERE shop.is_alive(w) AND w.kinds <> '{}')
    INTO seen_at, workers, v_doing FROM shop.worker AS w;
    -- Whoever does not say that he is there is known by what he claims.
    SELECT g.at, g.worker INTO v_asked, v_asker FROM shop.job_log AS g WHERE g.event = 'tend' ORDER BY g.at DESC LIMIT 1;
    seen_at := greatest(seen_at, v_asked);
    alive := v_doing > 0
        OR coalesce(v_asked > statement_timestamp() - interval '1 min', false) AND NOT EXISTS (SELECT FROM shop.worker AS w WHERE w.name = v_asker)
        OR EXISTS (SELECT FROM shop.job_kind AS k CROSS JOIN LATERAL (
            SELECT j.worker FROM shop.job AS j WHERE j.kind = k.kind AND j.lease IS NOT NULL AND j.leased_until > statement_timestamp() LIMIT 100) AS j
            WHERE NOT EXISTS (SELECT FROM shop.worker AS w WHERE w.name = j.worker));
END $$;
COMMENT ON FUNCTION shop.job_pulse() IS
'Whether anybody works. seen_at: when a worker was last heard of (NULL: not lately); workers: how many say that they are there, as shop.is_alive() has it; alive: one of them does jobs, or somebody else, who does not say so, has asked for jobs within a minute, or has one on a lease that is good.';

CREATE FUNCTION rest.ready(p_actor bigint) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_actor IS NOT NULL THEN
        PERFORM shop.require_actor(p_actor, 'admin');
    END IF;
    RETURN ROW(200, NULL, NULL, false, json_build_object(
        'database', CASE WHEN current_setting('transaction_read_only')::boolean THEN 'read_only' ELSE 'up' END,
        'invalidation', (SELECT json_build_object('state', c.state, 'lag_ms', c.lag_ms, 'backlog', c.backlog) FROM holdfast.cache_status AS c),
        'jobs', (SELECT json_build_object('waiting', sum(f.waiting), 'running', sum(f.running), 'dead', sum(f.dead),
                        'oldest_waiting_seconds', round(extract(epoch FROM statement_timestamp() - min(f.oldest_due_at)), 3))
                 FROM shop.job_figures(1000) AS f),
        'worker', (SELECT json_build_object('alive', p.alive, 'seen_at', shop.json_time(p.seen_at), 'workers', p.workers) FROM shop.job_pulse() AS p),
        'version', json_build_object('server', split_part(current_setting('server_version'), ' ', 1),
            'holdfast', (SELECT e.extversion FROM pg_extension AS e WHERE e.extname = 'holdfast'))))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.ready(bigint) IS
'For GET /ready: that the database answers, and whether it can be written to (database: up or read_only); how cache invalidation does; the jobs, counted up to 1,000 of each kind; whether a worker is there. Cheap. p_actor: NULL, the application itself, or an admin. Errors: HS001 to HS003.';

-- Names, types and units are as Prometheus wants them. A family keeps its name and meaning; what it tells is a sample for each
-- set of labels.
CREATE FUNCTION shop.metric_families() RETURNS TABLE (n integer, name text, type text, help text)
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
        VALUES
            (1, 'invalidation_state', 'gauge', 'The state of cache invalidation: 1 for the one it is in.'),
            (2, 'invalidation_lag_seconds', 'gauge', 'Time since the oldest commit that Redis does not know of, or that the last round took.'),
            (3, 'invalidation_backlog_keys', 'gauge', 'Keys of committed changes that are still in Redis.'),
            (4, 'invalidation_ring_used_ratio', 'gauge', 'Part of the ring of keys that is in use.'),
            (5, 'invalidation_published_keys_total', 'counter', 'Keys deleted in Redis and published.'),
            (6, 'invalidation_coalesced_keys_total', 'counter', 'Keys that were spared because another one was the same.'),
            (7, 'invalidation_lost_transactions_total', 'counter', 'Transactions whose keys did not fit into the ring, each of which abandoned the whole cache.'),
            (8, 'invalidation_generations_total', 'counter', 'How often the whole cache was abandoned.'),
            (9, 'invalidation_heartbeat_timestamp_seconds', 'gauge', 'When Redis was last told that invalidation is alive.'),
            (10, 'provider_calls_open', 'gauge', 'Calls of payment providers whose outcome is open, by state; at most 1000 are counted.'),
            (11, 'provider_calls_late_seconds', 'gauge', 'For how long the oldest call that nobody has made has been due.'),
            (12, 'database_sessions', 'gauge', 'Sessions at the database, of all clients.'),
            (13, 'database_deadlocks_total', 'counter', 'Deadlocks that the server has ended.'),
            (14, 'database_locks_waiting', 'gauge', 'Locks that somebody waits for, by type; advisory is for units of stock.'),
            (15, 'database_lock_longest_wait_seconds', 'gauge', 'For how long somebody has waited for a lock.'),
            (16, 'jobs', 'gauge', 'Jobs that are not finished, by kind and state (waiting, later, running, overdue, dead); at most 10000 of each are counted.'),
            (17, 'jobs_oldest_waiting_seconds', 'gauge', 'For how long the oldest job that nobody works on has been due.'),
            (18, 'jobs_seen_timestamp_seconds', 'gauge', 'When a worker was last heard of.'),
            (19, 'orders_pending', 'gauge', 'Orders that wait for their payment; at most 10000 are counted.'),
            (20, 'orders_overdue_seconds', 'gauge', 'For how long the oldest order has been over that is not yet written down as cancelled.'),
            (21, 'sales', 'gauge', 'Sales that are open by the clock, that were preheated for later, and that are over but not settled; at most 1000 are counted.'),
            (22, 'job_workers', 'gauge', 'Worker processes that are alive.'),
            (23, 'job_kind_workers', 'gauge', 'Worker processes that are alive and do jobs of this kind.'),
            (24, 'job_kind_paused', 'gauge', '1 for a kind of jobs that is paused.'),
            (25, 'jobs_claimed_total', 'counter', 'Attempts that were begun.'),
            (26, 'jobs_finished_total', 'counter', 'Jobs that were finished.'),
            (27, 'jobs_failed_total', 'counter', 'Attempts that failed, or whose lease ran out.'),
            (28, 'jobs_retried_total', 'counter', 'Of those, attempts after which the job is tried again.'),
            (29, 'jobs_died_total', 'counter', 'Of those, attempts after which the job is dead.'),
            (30, 'jobs_cancelled_total', 'counter', 'Jobs that were cancelled before they were done.'),
            (31, 'jobs_released_total', 'counter', 'Jobs that were claimed and given back.'),
            (32, 'job_run_seconds_total', 'counter', 'Time that attempts took, whatever came of them.'),
            (33, 'job_wait_seconds_total', 'counter', 'Time that jobs waited after they were due, until they were claimed.'),
            (34, 'schedule_active', 'gauge', '1 for a schedule that is switched on.'),
            (35, 'schedule_runs_total', 'counter', 'Runs of a schedule.'),
            (36, 'schedule_failures_total', 'counter', 'Runs of a schedule that failed.'),
            (37, 'schedule_run_timestamp_seconds', 'gauge', 'When the last run of a schedule ended; of one that has never run, since when it is due.'),
            (38, 'schedule_period_seconds', 'gauge', 'How often a schedule is to run.'),
            (39, 'schedule_run_seconds', 'gauge', 'How long the last run of a schedule took.'),
            (40, 'job_wait_seconds', 'summary', 'How long jobs that were claimed in the last hour had waited after they were due, by quantile; rounded up, by a quarter at most.'),
            (41, 'job_run_seconds', 'summary', 'How long jobs that were finished in the last hour had run, by quantile; rounded up, by a quarter at most.');
    END;
COMMENT ON FUNCTION shop.metric_families() IS 'The families of figures that rest.metrics() reports: number, name (which holdfast_ comes before), type and help, as Prometheus wants them.';

CREATE FUNCTION shop.extension_figures() RETURNS TABLE (name text, labels json, value numeric)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET max_parallel_workers_per_gather = 0 SET jit = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN QUERY
    WITH cache AS MATERIALIZED (SELECT c.* FROM holdfast.cache_status AS c),
    call AS MATERIALIZED (SELECT c.provider, c.state, c.due_at FROM holdfast.open_calls AS c ORDER BY c.provider, c.due_at LIMIT 1000),
    lock AS MATERIALIZED (SELECT l.locktype, l.waitstart FROM pg_locks AS l
                          WHERE NOT l.granted AND (l.database IS NULL OR l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())))
    SELECT 'invalidation_state', json_build_object('state', s.state), (s.state = c.state)::integer::numeric
    FROM cache AS c, unnest('{on,behind,"no redis","trigger off","no worker","nothing watched","not preloaded"}'::text[]) AS s (state)
    UNION ALL
    SELECT f.name, NULL, f.value
    FROM cache AS c, LATERAL (VALUES
        ('invalidation_lag_seconds', round(c.lag_ms / 1000, 6)),
        ('invalidation_backlog_keys', c.backlog),
        ('invalidation_ring_used_ratio', c.ring_used),
        ('invalidation_published_keys_total', c.published),
        ('invalidation_coalesced_keys_total', c.coalesced),
        ('invalidation_lost_transactions_total', c.lost),
        ('invalidation_generations_total', c.generations),
        ('invalidation_heartbeat_timestamp_seconds', extract(epoch FROM c.heartbeat_at))) AS f (name, value)
    UNION ALL
    SELECT 'provider_calls_open', json_build_object('provider', c.provider, 'state', c.state), count(*) FROM call AS c GROUP BY c.provider, c.state
    UNION ALL
    SELECT 'provider_calls_late_seconds', json_build_object('provider', c.provider),
           greatest(extract(epoch FROM statement_timestamp() - min(c.due_at) FILTER (WHERE c.state = 'pending')), 0)
    FROM call AS c GROUP BY c.provider
    UNION ALL
    SELECT f.name, NULL, f.value
    FROM pg_stat_database AS d, LATERAL (VALUES ('database_sessions', d.numbackends), ('database_deadlocks_total', d.deadlocks)) AS f (name, value)
    WHERE d.datname = current_database()
    UNION ALL
    SELECT 'database_locks_waiting', json_build_object('type', t.type), count(l.locktype)
    FROM unnest('{advisory,transactionid,tuple,relation,other}'::text[]) AS t (type)
    LEFT JOIN lock AS l ON t.type = CASE WHEN l.locktype IN ('advisory', 'transactionid', 'tuple', 'relation') THEN l.locktype ELSE 'other' END
    GROUP BY t.type
    UNION ALL
    SELECT 'database_lock_longest_wait_seconds', NULL, coalesce(max(extract(epoch FROM clock_timestamp() - l.waitstart)), 0) FROM lock AS l;
END $$;
COMMENT ON FUNCTION shop.extension_figures() IS 'Samples of the families of shop.metric_families(), what the extension and the server know.';

CREATE FUNCTION shop.shop_figures() RETURNS TABLE (name text, labels json, value numeric)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET max_parallel_workers_per_gather = 0 SET jit = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN QUERY
    WITH job AS MATERIALIZED (SELECT f.* FROM shop.job_figures(10000) AS f),
    sale AS MATERIALIZED (SELECT s.starts_at, s.ends_at, s.preheated_at, s.closed_at FROM shop.sale AS s WHERE s.settled_at IS NULL ORDER BY s.ends_at LIMIT 1000)
    SELECT 'jobs', json_build_object('kind', j.kind, 'state', s.state), s.jobs
    FROM job AS j, LATERAL (VALUES ('waiting', j.waiting), ('later', j.later), ('running', j.running), ('overdue', j.overdue), ('dead', j.dead)) AS s (state, jobs)
    UNION ALL
    SELECT 'jobs_oldest_waiting_seconds', json_build_object('kind', j.kind), coalesce(extract(epoch FROM statement_timestamp() - j.oldest_due_at), 0) FROM job AS j
    UNION ALL
    SELECT 'jobs_seen_timestamp_seconds', NULL, extract(epoch FROM p.seen_at) FROM shop.job_pulse() AS p
    UNION ALL
    SELECT 'orders_pending', NULL, count(*) FROM (SELECT FROM shop.order AS o WHERE o.status = 'pending_payment' LIMIT 10000) AS o
    UNION ALL
    SELECT 'orders_overdue_seconds', NULL, coalesce(extract(epoch FROM statement_timestamp() - (
        SELECT o.expires_at FROM shop.order AS o WHERE o.status = 'pending_payment' AND o.expires_at <= statement_timestamp() ORDER BY o.expires_at LIMIT 1)), 0)
    UNION ALL
    SELECT 'sales', json_build_object('state', t.state), count(s.state)
    FROM unnest('{open,scheduled,unsettled}'::text[]) AS t (state)
    LEFT JOIN (SELECT CASE WHEN s.closed_at IS NOT NULL OR s.ends_at <= statement_timestamp() THEN 'unsettled'
                           WHEN s.preheated_at IS NULL THEN 'draft'
                           WHEN s.starts_at <= statement_timestamp() THEN 'open' ELSE 'scheduled' END AS state FROM sale AS s) AS s ON s.state = t.state
    GROUP BY t.state;
END $$;
COMMENT ON FUNCTION shop.shop_figures() IS 'Samples of the families of shop.metric_families(), what the shop knows.';

CREATE FUNCTION shop.work_figures() RETURNS TABLE (name text, labels json, value numeric)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    SET max_parallel_workers_per_gather = 0 SET jit = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN QUERY
    WITH worker AS MATERIALIZED (SELECT w.kinds FROM shop.worker AS w WHERE shop.is_alive(w)),
    kind AS MATERIALIZED (
        SELECT k.kind, k.paused, (SELECT count(*) FROM worker AS w WHERE w.kinds @> ARRAY[k.kind]) AS workers, t.*
        FROM shop.job_kind AS k CROSS JOIN LATERAL (
            SELECT sum(x.jobs) FILTER (WHERE x.event = 'claim') AS claimed, sum(x.jobs) FILTER (WHERE x.event = 'finish') AS finished,
                   sum(x.jobs) FILTER (WHERE x.event IN ('retry', 'die')) AS failed, sum(x.jobs) FILTER (WHERE x.event = 'retry') AS retried,
                   sum(x.jobs) FILTER (WHERE x.event = 'die') AS died, sum(x.jobs) FILTER (WHERE x.event = 'cancel') AS cancelled,
                   sum(x.jobs) FILTER (WHERE x.event = 'release') AS released,
                   extract(epoch FROM sum(x.took) FILTER (WHERE x.event IN ('finish', 'retry', 'die'))) AS ran,
                   extract(epoch FROM sum(x.took) FILTER (WHERE x.event = 'claim')) AS waited
            FROM shop.job_total AS x WHERE x.kind = k.kind) AS t)
    SELECT 'job_workers', NULL::json, count(*)::numeric FROM worker AS w
    UNION ALL
    SELECT f.name, json_build_object('kind', k.kind), coalesce(f.value, 0)
    FROM kind AS k, LATERAL (VALUES
        ('job_kind_workers', k.workers), ('job_kind_paused', k.paused::integer), ('jobs_claimed_total', k.claimed), ('jobs_finished_total', k.finished),
        ('jobs_failed_total', k.failed), ('jobs_retried_total', k.retried), ('jobs_died_total', k.died), ('jobs_cancelled_total', k.cancelled),
        ('jobs_released_total', k.released), ('job_run_seconds_total', k.ran), ('job_wait_seconds_total', k.waited)) AS f (name, value)
    UNION ALL
    SELECT CASE p.event WHEN 'claim' THEN 'job_wait_seconds' ELSE 'job_run_seconds' END, json_build_object('kind', p.kind, 'quantile', p.quantile::text),
           extract(epoch FROM p.took)
    FROM shop.job_percentile AS p
    UNION ALL
    SELECT f.name, json_build_object('schedule', s.name), f.value
    FROM shop.schedule AS s JOIN shop.schedule_run AS r ON r.name = s.name, LATERAL (VALUES
        ('schedule_active', s.active::integer), ('schedule_runs_total', r.runs), ('schedule_failures_total', r.failures),
        ('schedule_run_timestamp_seconds', extract(epoch FROM coalesce(r.last_run_at, r.next_at))), ('schedule_period_seconds', extract(epoch FROM s.every)),
        ('schedule_run_seconds', extract(epoch FROM r.took))) AS f (name, value);
END $$;
COMMENT ON FUNCTION shop.work_figures() IS 'Samples of the families of shop.metric_families(), what is known of workers, of jobs that are done, and of schedules: tables of a few rows, and how long jobs of the last hour took, of which there are some thousand.';

CREATE FUNCTION rest.metrics(p_actor bigint) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_actor IS NOT NULL THEN
        PERFORM shop.require_actor(p_actor, 'admin');
    END IF;
    RETURN (
        WITH sample AS MATERIALIZED (
            SELECT e.name, e.labels, e.value FROM shop.extension_figures() AS e UNION ALL SELECT s.name, s.labels, s.value FROM shop.shop_figures() AS s
            UNION ALL SELECT w.name, w.labels, w.value FROM shop.work_figures() AS w
        )
        SELECT ROW(200, NULL, NULL, false, json_agg(json_build_object('name', 'holdfast_' || f.name, 'type', f.type, 'help', f.help, 'samples', (
            SELECT coalesce(json_agg(json_build_object('labels', coalesce(s.labels, '{}'), 'value', s.value) ORDER BY s.labels::text), '[]')
            FROM sample AS s WHERE s.name = f.name AND s.value IS NOT NULL)) ORDER BY f.n))::rest.reply
        FROM shop.metric_families() AS f);
END $$;
COMMENT ON FUNCTION rest.metrics(bigint) IS
'For GET /metrics: the figures of the extension, the server and the shop, as an array of families {name, type, help, samples: [{labels, value}]} that can be written in the format of Prometheus. Cheap: what is many is counted up to a bound. p_actor: NULL, the application itself, or an admin. Errors: HS001 to HS003.';

COMMIT;

-- Deploy shop:rest_admin to pg
-- requires: job_report
-- requires: sale_purchase
--
-- The routes of administrators, and shop.verify(): the invariants of the shop, each true in every snapshot, because what
-- it compares is written in one transaction. It is one query, so it takes one snapshot, and reads the extension's views
-- in it.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE FUNCTION shop.verify() RETURNS TABLE (invariant text, detail text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        WITH line AS MATERIALIZED (
            SELECT l.account_id, l.order_id, sum(l.amount) AS amount, count(*) AS lines FROM shop.order_line AS l GROUP BY l.account_id, l.order_id
        ), stock AS MATERIALIZED (
            SELECT l.order_id, l.stock_id, sum(l.quantity) AS quantity, sum(l.returned) AS returned
            FROM shop.order_line AS l GROUP BY l.order_id, l.stock_id
        )
        SELECT 'the total of an order is the sum of its lines', format('order %s: total %s, lines %s', coalesce(o.id, l.order_id), o.total, l.amount)
        FROM shop.order AS o FULL JOIN line AS l ON l.account_id = o.account_id AND l.order_id = o.id
        WHERE o.total IS DISTINCT FROM l.amount OR o.lines IS DISTINCT FROM l.lines
        UNION ALL
        SELECT 'the units of an order that was paid are sold',
               format('order %s, stock %s: %s units, of which returned %s; hold: %s', o.id, s.stock_id, s.quantity, s.returned,
                   coalesce(format('%s, %s units, of which returned %s', h.state, h.quantity, h.returned), 'none'))
        FROM shop.order AS o JOIN stock AS s ON s.order_id = o.id LEFT JOIN holdfast.holds AS h ON h.owner = o.id AND h.sku = s.stock_id
        WHERE o.status IN ('paid', 'shipped', 'completed', 'returned')
          AND (h.state IS DISTINCT FROM 'confirmed' OR h.quantity <> s.quantity OR h.returned <> s.returned)
        UNION ALL
        SELECT 'the units of an order that can be paid are held', format('order %s, stock %s: %s units; hold: %s', o.id, s.stock_id, s.quantity,
                   coalesce(format('%s, %s units', h.state, h.quantity), 'none'))
        FROM shop.order AS o JOIN stock AS s ON s.order_id = o.id LEFT JOIN holdfast.holds AS h ON h.owner = o.id AND h.sku = s.stock_id
        WHERE o.status = 'pending_payment' AND o.expires_at > clock_timestamp()
          AND (h.state IS NULL OR h.state = 'released' OR h.expires_at < o.expires_at OR h.quantity <> s.quantity)
        UNION ALL
        SELECT 'the units of an order that was not paid are not sold', format('order %s (%s), stock %s', o.id, o.status, h.sku)
        FROM shop.order AS o JOIN holdfast.holds AS h ON h.owner = o.id
        WHERE o.status IN ('pending_payment', 'cancelled') AND h.state = 'confirmed'
        UNION ALL
        SELECT 'an order is paid if its money was taken, here or by its channel', format('order %s (%s)', o.id, o.status)
        FROM shop.order AS o
        WHERE o.status IN ('paid', 'shipped', 'completed', 'returned') AND o.channel IS NULL
          AND NOT EXISTS (SELECT FROM holdfast.payments AS p
                          WHERE p.account_id = o.account_id AND p.owner = o.id AND p.captured >= o.total AND p.currency = o.currency)
        UNION ALL
        SELECT 'what counts against the limit of an account is what it has ordered in the sale', format('account %s, sale %s: counted %s, ordered %s',
            coalesce(b.account_id, q.account_id), coalesce(b.sale_id, q.sale_id), b.bought, q.quantity)
        FROM (SELECT x.account_id, x.sale_id, x.bought FROM shop.sale_buyer AS x WHERE x.bought > 0) AS b
        FULL JOIN (SELECT o.account_id, o.sale_id, sum(l.quantity) AS quantity
                   FROM shop.order AS o JOIN shop.order_line AS l ON l.account_id = o.account_id AND l.order_id = o.id
                   WHERE o.sale_id IS NOT NULL AND o.status <> 'cancelled' GROUP BY o.account_id, o.sale_id) AS q
            ON q.account_id = b.account_id AND q.sale_id = b.sale_id
        WHERE b.bought IS DISTINCT FROM q.quantity
        UNION ALL
        SELECT 'the keys of unfinished jobs are taken, and no others',
               format('key %s: job %s, taken by %s', coalesce(j.key, k.key), coalesce(j.id::text, 'none'), coalesce(k.job_id::text, 'none'))
        FROM (SELECT x.id, x.key FROM shop.job AS x WHERE x.key IS NOT NULL) AS j FULL JOIN shop.job_key AS k ON k.key = j.key AND k.job_id = j.id
        WHERE j.id IS NULL OR k.job_id IS NULL;
    END;
COMMENT ON FUNCTION shop.verify() IS
'The rows of every broken invariant of the shop; none when all is well. For those of stock and money see holdfast.verify(). Safe under load.';

CREATE FUNCTION shop.job_json(p_job shop.job_list) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT json_build_object('id', p_job.id, 'state', p_job.state, 'kind', p_job.kind, 'priority', p_job.priority, 'key', p_job.key, 'attempts', p_job.attempts,
            'enqueued_at', shop.json_time(p_job.enqueued_at), 'due_at', shop.json_time(p_job.due_at), 'claimed_at', shop.json_time(p_job.claimed_at),
            'leased_until', shop.json_time(p_job.leased_until), 'ended_at', shop.json_time(p_job.ended_at), 'worker', p_job.worker, 'error', p_job.error);
    END;
COMMENT ON FUNCTION shop.job_json(shop.job_list) IS 'A job as an admin sees it; its payload, which may hold secrets, is not part of it.';

CREATE FUNCTION shop.job_monitor() RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT json_build_object(
            'kinds', (SELECT coalesce(json_agg(json_build_object('kind', s.kind, 'paused', s.paused, 'concurrency', s.concurrency,
                    'waiting', s.waiting, 'scheduled', s.scheduled, 'retrying', s.retrying, 'running', s.running, 'overdue', s.overdue, 'dead', s.dead,
                    'oldest_due_at', shop.json_time(s.oldest_due_at), 'oldest_late_seconds', round(extract(epoch FROM s.oldest_late), 3),
                    'finished_last_hour', s.finished_hour, 'retried_last_hour', s.retried_hour, 'died_last_hour', s.died_hour,
                    'wait_average_seconds', round(extract(epoch FROM s.wait_average), 3),
                    'run_average_seconds', round(extract(epoch FROM s.run_average), 3)) ORDER BY s.kind), '[]')
                FROM shop.job_summary AS s),
            'workers', (SELECT coalesce(json_agg(json_build_object('worker', w.worker, 'alive', w.alive, 'seen_at', shop.json_time(w.seen_at), 'running', w.running,
                    'finished', w.finished, 'failed', w.failed) ORDER BY w.worker), '[]')
                FROM shop.job_worker AS w),
            'minutes', (SELECT coalesce(json_agg(json_build_object('minute', shop.json_time(t.minute), 'claimed', t.claimed, 'finished', t.finished,
                    'retried', t.retried, 'died', t.died,
                    'run_longest_seconds', round(extract(epoch FROM t.run_longest), 3)) ORDER BY t.minute), '[]')
                FROM (SELECT m.minute, sum(m.claimed) AS claimed, sum(m.finished) AS finished, sum(m.retried) AS retried, sum(m.died) AS died,
                             max(m.run_longest) AS run_longest
                      FROM shop.job_throughput AS m WHERE m.minute > clock_timestamp() - interval '1 h' GROUP BY m.minute) AS t));
    END;
COMMENT ON FUNCTION shop.job_monitor() IS 'The queue at a glance, as the monitor shows it: by kind, by worker, and by minute for the last hour.';

CREATE FUNCTION rest.admin_jobs(p_actor bigint, p_query jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_state text;
    v_kind text;
    v_limit integer;
    v_after uuid;
    v_jobs shop.job_list[];
    v_more boolean;
BEGIN
    PERFORM shop.require_actor(p_actor, 'admin');
    PERFORM shop.check_fields(coalesce(p_query, '{}'), '{state,kind,limit,cursor}', '?');
    v_state := shop.choice_field(p_query, 'state', '{waiting,scheduled,retrying,running,dead,cancelled}', false, '?');
    v_kind := shop.text_field(p_query, 'kind', 63, false, '?');
    v_limit := coalesce(shop.integer_field(p_query, 'limit', 1, 200, false, '?'), 50);
    v_after := (shop.read_cursor(shop.text_field(p_query, 'cursor', 500, false, '?'), 'job', '{uuid}'))[1]::uuid;

    v_jobs := ARRAY(
        SELECT l FROM shop.job_list AS l
        WHERE (v_after IS NULL OR l.id < v_after) AND (v_kind IS NULL OR l.kind = v_kind) AND (v_state IS NULL OR l.state = v_state)
          AND (v_state IS NULL OR l.ended = (v_state IN ('dead', 'cancelled')))
        ORDER BY l.id DESC LIMIT v_limit + 1);
    v_more := cardinality(v_jobs) > v_limit;
    RETURN ROW(200, NULL, NULL, false, json_build_object('monitor', shop.job_monitor(),
        'items', (SELECT coalesce(json_agg(shop.job_json(v_jobs[n]) ORDER BY n), '[]') FROM generate_series(1, least(cardinality(v_jobs), v_limit)) AS n),
        'next', CASE WHEN v_more THEN shop.cursor_of('job', v_jobs[v_limit].id::text) END))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.admin_jobs(bigint, jsonb) IS
'GET /v1/admin/jobs?state&kind&limit&cursor: the monitor of the queue, and the unfinished, dead and cancelled jobs, newest first. Errors: HS001 to HS003, HS009 to HS016.';

CREATE FUNCTION shop.job_reply(p_job uuid) RETURNS rest.reply
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT ROW(200, NULL, NULL, false, (SELECT shop.job_json(l) FROM shop.job_list AS l WHERE l.id = p_job))::rest.reply;
    END;
COMMENT ON FUNCTION shop.job_reply(uuid) IS 'The answer that shows a job.';

CREATE FUNCTION rest.admin_job_retry(p_actor bigint, p_job uuid) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.require_actor(p_actor, 'admin');
    PERFORM shop.retry_job(p_job);
    RETURN shop.job_reply(p_job);
END $$;
COMMENT ON FUNCTION rest.admin_job_retry(bigint, uuid) IS
'POST /v1/admin/jobs/{id}/retry: sends a dead or cancelled job again, or makes a waiting one due. Errors: HS001 to HS004, HS501, HS502 its key is taken, HS504 it is running.';

CREATE FUNCTION rest.admin_job_cancel(p_actor bigint, p_job uuid) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.require_actor(p_actor, 'admin');
    PERFORM shop.cancel_job(p_job);
    RETURN shop.job_reply(p_job);
END $$;
COMMENT ON FUNCTION rest.admin_job_cancel(bigint, uuid) IS
'POST /v1/admin/jobs/{id}/cancel: cancels a job that waits, runs or is dead. Errors: HS001 to HS004.';

CREATE FUNCTION rest.admin_locks(p_actor bigint) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.require_actor(p_actor, 'admin');
    RETURN ROW(200, NULL, NULL, false, json_build_object('items', (
        SELECT coalesce(json_agg(json_build_object('stock_id', w.sku::text, 'lane', w.lane, 'pid', w.pid, 'waiting_seconds', round(extract(epoch FROM w.waiting), 3),
            'blocked_by', w.blocked_by, 'blocked_by_user', w.blocked_by_user, 'blocked_by_application', w.blocked_by_application,
            'blocked_by_state', w.blocked_by_state,
            'blocked_by_seconds', round(extract(epoch FROM w.blocked_by_for), 3)) ORDER BY w.waiting DESC, w.pid, w.blocked_by), '[]')
        FROM holdfast.lock_waits AS w)))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.admin_locks(bigint) IS
'GET /v1/admin/locks: who waits for units of which stock, for how long, and for whom. Errors: HS001 to HS003.';

CREATE FUNCTION rest.admin_cache(p_actor bigint) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.require_actor(p_actor, 'admin');
    RETURN ROW(200, NULL, NULL, false, (
        SELECT json_build_object('state', c.state, 'lag_ms', c.lag_ms, 'backlog', c.backlog, 'published', c.published, 'coalesced', c.coalesced, 'lost', c.lost,
            'generation', c.generation, 'generation_reason', c.generation_reason, 'generation_at', shop.json_time(c.generation_at), 'generations', c.generations,
            'heartbeat_at', shop.json_time(c.heartbeat_at), 'last_error', c.last_error, 'last_error_at', shop.json_time(c.last_error_at), 'ring_used', c.ring_used,
            'watched', (SELECT coalesce(json_agg(json_build_object('table', t.name, 'templates', t.templates, 'fires_always', t.fires_always) ORDER BY t.name), '[]')
                        FROM (SELECT x.table_name::text AS name, json_agg(x.template ORDER BY x.template) AS templates, bool_and(x.fires_always) AS fires_always
                              FROM holdfast.watched AS x GROUP BY x.table_name::text) AS t))
        FROM holdfast.cache_status AS c))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.admin_cache(bigint) IS
'GET /v1/admin/cache: how the cache does, as holdfast.cache_status says, and which tables are watched. Errors: HS001 to HS003.';

CREATE FUNCTION rest.admin_invariants(p_actor bigint) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.require_actor(p_actor, 'admin');
    RETURN (
        WITH broken AS MATERIALIZED (
            SELECT v.invariant, v.detail FROM shop.verify() AS v
            UNION ALL
            SELECT v.invariant, concat_ws(', ', 'stock ' || v.sku, 'owner ' || v.owner, 'payment ' || v.payment, v.detail) FROM holdfast.verify() AS v
        )
        SELECT ROW(200, NULL, NULL, false, json_build_object('holds', count(*) = 0, 'broken', count(*),

            'items', coalesce((SELECT json_agg(json_build_object('invariant', f.invariant, 'detail', f.detail))
                               FROM (SELECT b.invariant, b.detail FROM broken AS b LIMIT 1000) AS f), '[]')))::rest.reply
        FROM broken);
END $$;
COMMENT ON FUNCTION rest.admin_invariants(bigint) IS
'GET /v1/admin/invariants: every broken invariant of stock, money, orders and jobs (the first 1,000). It reads all of them. Errors: HS001 to HS003.';

COMMIT;

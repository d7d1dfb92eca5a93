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

-- Deploy shop:webhook_event to pg
-- requires: webhook
-- requires: mail
-- requires: rest_order
-- requires: rest_sale
--
-- What has happened in the shop becomes mails and webhooks. The shop puts one job into the queue in the transaction of what
-- happened, for a whole batch of orders if there is one; the worker has these events relayed here, many at a time: to a
-- job for each mail, and to a delivery with its job for each endpoint that wants to know. So a sale pays for one job, and what is
-- slow or fails is tried again for itself.
--
-- Locks: events, then keys of jobs in ascending order, mails before webhooks.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE FUNCTION shop.webhook_types() RETURNS text[]
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
        SELECT '{order.placed,order.paid,order.shipped,order.cancelled,payment.captured,payment.refunded,stock.low,sale.ended}'::text[];
    END;
COMMENT ON FUNCTION shop.webhook_types() IS 'The types of events that an endpoint may want to be told of.';

CREATE FUNCTION shop.webhook_body(p_type text, p_at timestamptz, p_data json) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT json_build_object('type', p_type, 'timestamp', shop.json_time(p_at), 'data', p_data)::text;
    END;
COMMENT ON FUNCTION shop.webhook_body(text, timestamptz, json) IS 'What is sent of an event: its type, when it happened, and the thing as its merchant sees it.';

CREATE FUNCTION shop.relay_webhooks(p_kinds text[], p_payloads jsonb[], p_at timestamptz[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = on SET enable_mergejoin = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    -- Orders and payments, by account.
    PERFORM shop.make_deliveries(array_agg(b.merchant_id), array_agg(b.endpoint_id), array_agg(b.type), array_agg(b.key), array_agg(b.body))
    FROM (
        WITH event AS (
            SELECT e.kind, e.payload, e.at FROM unnest(p_kinds, p_payloads, p_at) AS e (kind, payload, at)
        ), thing AS (
            SELECT t.type, o.account_id::bigint AS account_id, o.order_id::uuid AS order_id, NULL::uuid AS payment_id, '' AS more, e.at
            FROM event AS e
            JOIN (VALUES ('order_placed', 'order.placed'), ('order_cancelled', 'order.cancelled')) AS t (kind, type) ON t.kind = e.kind
            CROSS JOIN LATERAL ROWS FROM (jsonb_array_elements_text(e.payload -> 'account_ids'), jsonb_array_elements_text(e.payload -> 'order_ids'))
                AS o (account_id, order_id)
            UNION ALL
            SELECT t.type, (e.payload ->> 'account_id')::bigint, (e.payload ->> 'order_id')::uuid,
                   CASE WHEN t.type ~ '^payment' THEN (e.payload ->> 'payment_id')::uuid END,
                   -- Each part that is refunded is told.
                   CASE t.type WHEN 'payment.refunded' THEN ':' || (e.payload ->> 'refunded') ELSE '' END, e.at
            FROM event AS e
            JOIN (VALUES ('payment_received', 'order.paid'), ('payment_received', 'payment.captured'), ('payment_refunded', 'payment.refunded'),
                         ('order_shipped', 'order.shipped')) AS t (kind, type)
                ON t.kind = e.kind
        ), wanted AS MATERIALIZED (
            SELECT t.type, t.account_id, t.order_id, t.payment_id, t.more, t.at, n.merchant_id, n.id AS endpoint_id
            FROM thing AS t
            CROSS JOIN LATERAL (SELECT r.merchant_id FROM shop.order AS r WHERE r.account_id = t.account_id AND r.id = t.order_id OFFSET 0) AS o
            JOIN shop.webhook_endpoint AS n ON n.merchant_id = o.merchant_id
            WHERE n.disabled_at IS NULL AND n.deleted_at IS NULL AND t.type = ANY (n.events)
        ), seen AS MATERIALIZED (
            SELECT j.id, j.body
            FROM (SELECT w.account_id, array_agg(DISTINCT w.order_id) AS ids FROM wanted AS w WHERE w.payment_id IS NULL GROUP BY w.account_id) AS a
            CROSS JOIN LATERAL shop.orders_json(a.account_id, a.ids) AS j
            UNION ALL
            SELECT p.payment_id, (shop.payment_reply(p.account_id, p.payment_id, 200)).body
            FROM (SELECT DISTINCT w.account_id, w.payment_id FROM wanted AS w WHERE w.payment_id IS NOT NULL) AS p
        )
        SELECT w.merchant_id, w.endpoint_id, w.type, w.type || ':' || s.id || w.more AS key, shop.webhook_body(w.type, w.at, s.body) AS body
        FROM wanted AS w JOIN seen AS s ON s.id = coalesce(w.payment_id, w.order_id)
        ORDER BY w.merchant_id, w.endpoint_id, w.order_id) AS b
    HAVING count(*) > 0;

    -- Sales, and SKUs that are short.
    PERFORM shop.make_deliveries(array_agg(b.merchant_id), array_agg(b.endpoint_id), array_agg(b.type), array_agg(b.key), array_agg(b.body))
    FROM (
        SELECT n.merchant_id, n.id AS endpoint_id, 'sale.ended' AS type, 'sale.ended:' || j.id AS key, shop.webhook_body('sale.ended', e.at, j.body) AS body
        FROM unnest(p_kinds, p_payloads, p_at) AS e (kind, payload, at)
        JOIN shop.sale AS s ON s.id = (e.payload ->> 'sale_id')::bigint
        JOIN shop.webhook_endpoint AS n ON n.merchant_id = s.merchant_id
        CROSS JOIN LATERAL shop.sales_json(ARRAY[s.id]) AS j
        WHERE e.kind = 'sale_ended' AND n.disabled_at IS NULL AND n.deleted_at IS NULL AND 'sale.ended' = ANY (n.events)
        UNION ALL
        SELECT n.merchant_id, n.id, 'stock.low', format('stock.low:%s:%s', k.id, e.payload ->> 'told_at'),
               shop.webhook_body('stock.low', e.at, json_build_object('sku_id', k.id::text, 'product_id', k.product_id::text, 'code', k.code, 'title', p.title,
                   'available', e.payload -> 'available', 'threshold', e.payload -> 'threshold'))
        FROM unnest(p_kinds, p_payloads, p_at) AS e (kind, payload, at)
        JOIN shop.webhook_endpoint AS n ON n.merchant_id = (e.payload ->> 'merchant_id')::bigint AND n.id = (e.payload ->> 'endpoint_id')::bigint
        JOIN shop.sku AS k ON k.id = (e.payload ->> 'sku_id')::bigint
        JOIN shop.product AS p ON p.id = k.product_id
        WHERE e.kind = 'stock_low' AND n.disabled_at IS NULL AND n.deleted_at IS NULL AND 'stock.low' = ANY (n.events)
        ORDER BY 1, 2, 4) AS b
    HAVING count(*) > 0;
END $$;
COMMENT ON FUNCTION shop.relay_webhooks(text[], jsonb[], timestamptz[]) IS
'Makes deliveries of events, of which kind, payload and time are given, for the endpoints that are enabled and want to be told.';

CREATE FUNCTION shop.relay_jobs(p_lease uuid, p_ids uuid[], p_results json[]) RETURNS SETOF uuid
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_most CONSTANT integer := 1000; -- orders at once: a second's work, perhaps
    v_jobs uuid[];
    v_others uuid[];
    v_kinds text[];
    v_payloads jsonb[];
    v_at timestamptz[];
    v_keys text[];
    v_mails jsonb[];
BEGIN
    IF cardinality(p_results) IS DISTINCT FROM cardinality(p_ids) THEN
        PERFORM shop.refuse('HS015', '/results', 'wanted: one for each job');
    END IF;
    SELECT array_agg(j.id) FILTER (WHERE j.is_in), array_agg(j.kind) FILTER (WHERE j.is_in), array_agg(j.payload) FILTER (WHERE j.is_in),
           array_agg(j.enqueued_at) FILTER (WHERE j.is_in), array_agg(j.id) FILTER (WHERE NOT j.is_in)
    INTO v_jobs, v_kinds, v_payloads, v_at, v_others
    FROM (SELECT h.*, h.n = 1 OR sum(h.orders) OVER (ORDER BY h.n) <= v_most AS is_in
          FROM (SELECT l.id, l.kind, l.payload, l.enqueued_at, row_number() OVER (ORDER BY l.id) AS n,
                       CASE jsonb_typeof(l.payload -> 'order_ids') WHEN 'array' THEN jsonb_array_length(l.payload -> 'order_ids') ELSE 1 END AS orders
                FROM (SELECT x.id, x.kind, x.payload, x.enqueued_at FROM shop.job AS x
                      WHERE p_lease IS NOT NULL AND x.id = ANY (p_ids) AND x.lease IS NOT DISTINCT FROM p_lease ORDER BY x.id FOR UPDATE) AS l) AS h) AS j;
    IF v_jobs IS NULL THEN
        RETURN;
    END IF;
    SELECT array_agg(m.key), array_agg(m.payload) INTO v_keys, v_mails
    FROM unnest(v_kinds, v_payloads) AS e (kind, payload) CROSS JOIN LATERAL shop.mails_of(e.kind, e.payload) AS m;
    PERFORM shop.enqueue_all('mail', v_keys, v_mails);
    IF EXISTS (SELECT FROM shop.webhook_endpoint AS n WHERE n.disabled_at IS NULL AND n.deleted_at IS NULL) THEN
        PERFORM shop.relay_webhooks(v_kinds, v_payloads, v_at);
    END IF;
    IF v_others IS NOT NULL THEN
        PERFORM shop.release_jobs(p_lease, v_others);
    END IF;
    RETURN QUERY SELECT f FROM shop.finish_jobs(p_lease, v_jobs) AS f;
END $$;
COMMENT ON FUNCTION shop.relay_jobs(uuid, uuid[], json[]) IS
'Relays the events that this lease still holds the jobs of: makes the jobs of their mails and webhooks, and ends them, all in one transaction; returns those that it has ended. What an endpoint was told already, or a mail that is waiting, is not made again. Events of more than 1,000 orders are too much at once: the rest waits again. p_results: one for each job, of no meaning. Errors: HS015. Definer''s rights: the worker reads and writes no table.';
GRANT EXECUTE ON FUNCTION shop.relay_jobs(uuid, uuid[], json[]) TO shop_worker;

CREATE FUNCTION shop.notice_low_stock(p_limit integer DEFAULT 1000) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_now CONSTANT timestamptz := clock_timestamp();
    v_keys text[];
    v_payloads jsonb[];
BEGIN
    DELETE FROM shop.webhook_low_stock AS l USING shop.webhook_endpoint AS e
    WHERE e.merchant_id = l.merchant_id AND e.id = l.endpoint_id
      AND (e.deleted_at IS NOT NULL OR holdfast.available(l.sku_id) > e.low_stock_threshold);
    -- Units of a sale are not a SKU's: only what it has of its own counts.
    WITH low AS (
        SELECT e.merchant_id, e.id AS endpoint_id, k.id AS sku_id, k.available, e.low_stock_threshold AS threshold
        FROM (SELECT s.merchant_id, s.id, holdfast.available(s.id) AS available
              FROM shop.sku AS s JOIN shop.product AS p ON p.id = s.product_id AND p.deleted_at IS NULL AND p.published_at IS NOT NULL
              WHERE s.deleted_at IS NULL AND s.merchant_id IN (
                  SELECT n.merchant_id FROM shop.webhook_endpoint AS n
                  WHERE n.disabled_at IS NULL AND n.deleted_at IS NULL AND 'stock.low' = ANY (n.events)) OFFSET 0) AS k
        JOIN shop.webhook_endpoint AS e ON e.merchant_id = k.merchant_id
        WHERE e.disabled_at IS NULL AND e.deleted_at IS NULL AND 'stock.low' = ANY (e.events) AND k.available <= e.low_stock_threshold
          AND NOT EXISTS (SELECT FROM shop.webhook_low_stock AS l WHERE l.merchant_id = e.merchant_id AND l.endpoint_id = e.id AND l.sku_id = k.id)
        ORDER BY e.merchant_id, e.id, k.id LIMIT p_limit
    ), told AS (
        INSERT INTO shop.webhook_low_stock AS l (merchant_id, endpoint_id, sku_id, told_at)
        SELECT w.merchant_id, w.endpoint_id, w.sku_id, v_now FROM low AS w ON CONFLICT DO NOTHING RETURNING l.merchant_id, l.endpoint_id, l.sku_id
    )
    SELECT array_agg(format('stock_low:%s:%s', t.endpoint_id, t.sku_id)),
           array_agg(jsonb_build_object('merchant_id', t.merchant_id::text, 'endpoint_id', t.endpoint_id::text, 'sku_id', t.sku_id::text,
               'available', w.available, 'threshold', w.threshold, 'told_at', shop.json_time(v_now)))
    INTO v_keys, v_payloads FROM told AS t JOIN low AS w ON w.endpoint_id = t.endpoint_id AND w.sku_id = t.sku_id;
    RETURN shop.enqueue_all('stock_low', v_keys, v_payloads);
END $$;
COMMENT ON FUNCTION shop.notice_low_stock(integer) IS
'Looks for SKUs of which no more units are available than the threshold of an endpoint that wants to be told, and puts a job stock_low into the queue for each, once until there are more again; up to p_limit. Returns how many. For the clock, once a minute, by any number: it reads the stock of all SKUs of those merchants, and of no others.';

COMMIT;

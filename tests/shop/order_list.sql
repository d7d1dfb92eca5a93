-- Lists of orders: the actor's own, or those of the merchant that he is; the youngest first, by index.
\ir include/begin.sql
SELECT plan(21);

SELECT sku('acme', 'a', 1000, 1000) AS a, sku('rival', 'c', 100, 1000) AS c, person('ann') AS ann, person('bob') AS bob, person('acme') AS seller, merchant('acme') AS acme \gset
CREATE FUNCTION order_of(p_actor bigint, p_sku bigint, p_key text) RETURNS uuid LANGUAGE sql AS $$
    SELECT ((rest.order_place(p_actor, p_key, format('{"items": [{"sku_id": "%s", "quantity": 1}]}', p_sku)::jsonb)).body ->> 'id')::uuid
$$;
CREATE FUNCTION listed(p_actor bigint, p_query jsonb) RETURNS SETOF uuid LANGUAGE sql AS $$
    SELECT (i ->> 'id')::uuid FROM json_array_elements((rest.order_list(p_actor, p_query)).body -> 'items') AS i
$$;
SELECT order_of(:ann, :a, 'order-001') AS o1, order_of(:ann, :c, 'order-002') AS o2, order_of(:bob, :a, 'order-003') AS o3, order_of(:ann, :a, 'order-004') AS o4 \gset
SELECT rest.order_cancel(:ann, :'o2') IS NOT NULL AS done \gset
UPDATE shop.order SET expires_at = clock_timestamp() WHERE id = :'o4';

SELECT results_eq(format('SELECT listed(%s, %L)', w, q), format('SELECT unnest(%L::uuid[])', o), n) FROM (VALUES
    (:ann, '{}', ARRAY[:'o4', :'o2', :'o1'], 'one''s own orders, the youngest first'),
    (:bob, '{}', ARRAY[:'o3'], 'and nobody else''s'),
    (:ann, '{"status": "pending_payment"}', ARRAY[:'o1'], 'by status'),
    (:ann, '{"status": "cancelled"}', ARRAY[:'o4', :'o2'], 'as the clock has it'),
    (:ann, '{"status": "shipped"}', ARRAY[]::text[], 'perhaps none'),
    (:seller, '{}', ARRAY[]::text[], 'a merchant buys little'),
    (:seller, '{"merchant": "mine"}', ARRAY[:'o4', :'o3', :'o1'], 'but sells'),
    (:seller, '{"merchant": "mine", "status": "pending_payment"}', ARRAY[:'o3', :'o1'], 'by status'),
    (:seller, '{"merchant": "mine", "status": "cancelled"}', ARRAY[:'o4'], 'as the clock has it')) AS v (w, q, o, n);
SELECT rest.order_list(:ann, '{"limit": "2"}') AS page \gset
SELECT is((SELECT array_agg(i ->> 'id') FROM json_array_elements((r).body -> 'items') AS i), ARRAY[:'o4', :'o2'], 'a page') FROM (SELECT :'page'::rest.reply AS r) AS x;
SELECT (:'page'::rest.reply).body ->> 'next' AS next \gset
SELECT results_eq(format('SELECT listed(%s, %L)', :ann, jsonb_build_object('limit', '2', 'cursor', :'next')), format('SELECT %L::uuid', :'o1'), 'and the next one');
SELECT is((rest.order_list(:ann, jsonb_build_object('cursor', :'next'))).body ->> 'next', NULL, 'which is the last');
SELECT refuses(format('SELECT rest.order_list(%s, %L)', coalesce(w::text, 'NULL'), q), c, n, p) FROM (VALUES
    (NULL, '{}', 'HS001', 'nobody has no orders', NULL),
    (:ann, '{"merchant": "mine"}', 'HS003', 'nor has who is no merchant', NULL),
    (:ann, '{"merchant": "all"}', 'HS015', 'mine, and no other', '?merchant'),
    (:ann, '{"status": "lost"}', 'HS015', 'there is no such status', '?status'),
    (:ann, '{"limit": "101"}', 'HS014', 'a page has up to 100', '?limit'),
    (:ann, '{"sort": "total"}', 'HS009', 'there is one order', '?sort'),
    (:seller, jsonb_build_object('merchant', 'mine', 'cursor', :'next')::text, 'HS016', 'and a cursor is of its list', '?cursor')) AS v (w, q, c, n, p);

-- A million would be as these: the plans are those of functions that never scan.
INSERT INTO shop.order (account_id, id, merchant_id, total, placed_at, changed_at, expires_at, lines, status, currency)
SELECT i % 100, holdfast.uuid7(), CASE WHEN i % 10 = 0 THEN :acme ELSE i % 50 END, 1, now(), now(), 'infinity', 1, CASE WHEN i % 7 = 0 THEN 'shipped' ELSE 'paid' END, 'EUR' FROM generate_series(1, 20000) AS i;
ANALYZE shop.order;
CREATE FUNCTION plan_of(p_sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_line text;
    v_plan text := '';
BEGIN
    FOR v_line IN EXECUTE 'EXPLAIN (COSTS off) ' || p_sql LOOP
        v_plan := v_plan || v_line || E'\n';
    END LOOP;
    RETURN v_plan;
END $$;
SELECT ok(p ~ i AND p !~ 'Seq Scan|Sort', format('a list %s uses %s', n, i)) FROM (VALUES
    (plan_of(format($$SELECT o FROM shop.order AS o WHERE o.account_id = 7 AND o.id < 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY o.id DESC LIMIT 21$$)), 'order_pkey', 'of one''s own'),
    (plan_of(format($$SELECT o FROM shop.order AS o WHERE o.merchant_id = %s AND o.status = 'shipped' AND o.status <> 'pending_payment' AND o.id < 'ffffffff-ffff-ffff-ffff-ffffffffffff' ORDER BY o.id DESC LIMIT 21$$, :acme)),
        'order_merchant_status_idx', 'of a merchant by status')) AS v (p, i, n);
SELECT finish();
ROLLBACK;

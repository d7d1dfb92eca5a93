-- Many orders in one call: each is judged by itself, and the whole can be sent again.
\ir include/begin.sql
SELECT plan(20);

SELECT sku('acme', 'a', 1000, 10) AS a, sku('acme', 'b', 250, 5) AS b, sku('rival', 'c', 100, 5) AS c, person('ann') AS ann \gset
CREATE FUNCTION item(p_sku bigint, p_quantity text) RETURNS text LANGUAGE sql AS $$ SELECT format('{"sku_id": "%s", "quantity": %s}', p_sku, p_quantity) $$;
CREATE FUNCTION batch(p_actor bigint, p_key text, p_policy text, VARIADIC p_orders text[]) RETURNS rest.reply LANGUAGE sql AS $$
    SELECT rest.order_place_batch(p_actor, p_key, format('{"policy": "%s", "orders": [%s]}', p_policy,
        (SELECT string_agg(format(CASE WHEN o LIKE '{%' THEN '{"items": [%s]}' ELSE '%s' END, o), ', ' ORDER BY i) FROM unnest(p_orders) WITH ORDINALITY AS u (o, i)))::jsonb)
$$;
-- The verdicts in words: index, status, and what was placed, or the code and its pointer.
CREATE FUNCTION verdicts(p_reply rest.reply) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' ', r ->> 'index', r ->> 'status', r -> 'order' ->> 'total', r -> 'problem' ->> 'code', r -> 'problem' ->> 'pointer', r -> 'problem' ->> 'detail')
    FROM jsonb_array_elements(p_reply.body::jsonb -> 'results') AS r
$$;

SELECT results_eq(format($$SELECT verdicts(batch(%s, 'batch-0001', 'valid_rows', %L, %L, %L, %L, %L, %L, %L))$$, :ann,
    item(:a, '2') || ',' || item(:b, '1'), item(:b, '5'), item(:a, '1') || ',' || item(:c, '1'), item(:b, '2'), '7', item(:a, '3') || ',' || item(:b, '0'), item(:a, '8') || ',' || item(:b, '1')),
    $$VALUES ('0 201 2250'), ('1 409 insufficient_stock /orders/1/items/0/quantity left: 4'), ('2 422 several_merchants /orders/2/items'), ('3 201 500'),
             ('4 422 wrong_type /orders/4 wanted: an object'), ('5 422 out_of_range /orders/5/items/1/quantity wanted: 1 to 1000000'), ('6 201 8250')$$,
    'each order gets its verdict, and what can be placed is');
SELECT is(units(:a), '0 available, 10 held, 0 sold', 'units are held for those that were placed');
SELECT is(units(:b), '1 available, 4 held, 0 sold', 'and for no others');
SELECT is((SELECT count(*) FROM shop.order), 3::bigint, 'three orders are there');
SELECT is((SELECT sum(lines) FROM shop.order), (SELECT count(*) FROM shop.order_line), 'with all their lines');
SELECT is((SELECT jsonb_array_length(payload -> 'order_ids') FROM shop.job WHERE kind = 'order_placed'), 3, 'one job tells of all');
SELECT is((r).replayed, true, 'sent again, the batch gets its answer once more') FROM (SELECT batch(:ann, 'batch-0001', 'valid_rows',
    item(:a, '2') || ',' || item(:b, '1'), item(:b, '5'), item(:a, '1') || ',' || item(:c, '1'), item(:b, '2'), '7', item(:a, '3') || ',' || item(:b, '0'), item(:a, '8') || ',' || item(:b, '1')) AS r) AS x;
SELECT is((SELECT count(*) FROM shop.order), 3::bigint, 'and places nothing');
SELECT is((SELECT array_agg(id ORDER BY id) FROM shop.order), (SELECT array_agg(o::uuid ORDER BY o::uuid) FROM shop.job, jsonb_array_elements_text(payload -> 'order_ids') AS o), 'the job names them');

SELECT holdfast.receive(:a, 10);
SELECT results_eq(format($$SELECT verdicts(batch(%s, 'batch-0002', 'all_or_nothing', %L, %L))$$, :ann, item(:a, '2'), item(:b, '5')),
    $$VALUES ('0 409 refused_with_batch'), ('1 409 insufficient_stock /orders/1/items/0/quantity left: 1')$$, 'all or nothing: one is refused, so are the others');
SELECT results_eq(format($$SELECT verdicts(batch(%s, 'batch-0003', 'all_or_nothing', %L, %L))$$, :ann, item(:a, '2'), item(:a, '1.5')),
    $$VALUES ('0 409 refused_with_batch'), ('1 422 wrong_type /orders/1/items/0/quantity wanted: an integer')$$, 'also for what cannot be read');
SELECT is(units(:a), '10 available, 10 held, 0 sold', 'and nothing is held');
SELECT results_eq(format($$SELECT verdicts(batch(%s, 'batch-0004', 'all_or_nothing', %L, %L))$$, :ann, item(:a, '2'), item(:b, '1')),
    $$VALUES ('0 201 2000'), ('1 201 250')$$, 'all: every one is placed');

SELECT refuses(format($$SELECT rest.order_place_batch(%s, %L, %L)$$, :ann, k, b), code, sentence, pointer)
FROM (VALUES
    ('batch-0005', '{"orders": []}', 'HS010', 'a policy is wanted', '/policy'),
    ('batch-0005', '{"policy": "some", "orders": []}', 'HS015', 'one of the two', '/policy'),
    ('batch-0005', '{"policy": "valid_rows", "orders": []}', 'HS012', 'and orders', '/orders'),
    ('batch-0005', '{"policy": "valid_rows", "orders": 7}', 'HS011', 'in an array', '/orders'),
    ('batch-0005', format('{"policy": "valid_rows", "orders": [%s]}', (SELECT string_agg('1', ',') FROM generate_series(1, 1001))), 'HS012', 'of at most 1,000', '/orders'),
    ('batch-0005', format('{"policy": "valid_rows", "orders": [%s]}', (SELECT string_agg(format('{"items": [%s]}', (SELECT string_agg('1', ',') FROM generate_series(1, 101))), ',') FROM generate_series(1, 100))),
        'HS012', 'with at most 10,000 lines', '/orders'),
    (NULL, '{"policy": "valid_rows", "orders": []}', 'HF019', 'and an Idempotency-Key', NULL)) AS v (k, b, code, sentence, pointer);
SELECT finish();
ROLLBACK;

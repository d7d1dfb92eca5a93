-- Placing an order: what is agreed, what is refused, and that it is done once.
\ir include/begin.sql
SELECT plan(44);

SELECT sku('acme', 'a', 1000, 10) AS a, sku('acme', 'b', 250, 5) AS b, sku('acme', 'usd', 100, 5, 'USD') AS usd, sku('rival', 'c', 100, 5) AS c,
       sku('acme', 'draft', 100, 5) AS draft, sku('acme', 'gone', 100, 5) AS gone, sku('acme', 'none', 100, 0) AS none,
       person('ann') AS ann, person('eve') AS eve \gset
UPDATE shop.product SET published_at = NULL WHERE id = (SELECT product_id FROM shop.sku WHERE id = :draft);
UPDATE shop.sku SET deleted_at = clock_timestamp() WHERE id = :gone;
CREATE FUNCTION place(p_actor bigint, p_key text, VARIADIC p_items text[]) RETURNS rest.reply LANGUAGE sql AS $$
    SELECT rest.order_place(p_actor, p_key, format('{"items": [%s]}', array_to_string(p_items, ', '))::jsonb)
$$;
CREATE FUNCTION item(p_sku bigint, p_quantity text) RETURNS text LANGUAGE sql AS $$ SELECT format('{"sku_id": "%s", "quantity": %s}', p_sku, p_quantity) $$;

-- What is agreed.
SELECT (r).status AS status, (r).etag AS etag, (r).location AS location, (r).body AS body, (r).replayed AS replayed
FROM (SELECT place(:ann, 'place-0001', item(:a, '2'), item(:b, '1'), item(:a, '1')) AS r) AS x \gset
SELECT is(:status, 201, 'an order is placed');
SELECT is(:'etag'::text, '"1"', 'with an ETag');
SELECT is(:'location'::text, '/v1/orders/' || (:'body'::jsonb ->> 'id'), 'at its place');
SELECT is((:'body'::jsonb ->> 'total')::bigint, 3250::bigint, 'its total is what the database says');
SELECT is(:'body'::jsonb ->> 'status', 'pending_payment', 'it waits for its payment');
SELECT is((SELECT string_agg(concat_ws(' ', i ->> 'line', i ->> 'code', i ->> 'quantity', i ->> 'unit_price', i ->> 'amount'), ', ')
           FROM jsonb_array_elements(:'body'::jsonb -> 'items') AS i), '1 a 3 1000 3000, 2 b 1 250 250', 'lines of one SKU are summed, where the first of them stood');
SELECT is(units(:a), '7 available, 3 held, 0 sold', 'its units are held');
SELECT ok((SELECT o.expires_at <= h.expires_at AND o.expires_at > h.expires_at - interval '5 seconds' FROM shop.order AS o JOIN holdfast.holds AS h ON h.owner = o.id WHERE h.sku = :a),
    'it can be paid until its holds end');
SELECT is((SELECT count(*) FROM shop.job WHERE kind = 'order_placed' AND payload = jsonb_build_object('account_ids', jsonb_build_array(:ann::text), 'order_ids', jsonb_build_array(:'body'::jsonb ->> 'id'))),
    1::bigint, 'a job tells of it');
SELECT is((place(:ann, 'place-0001', item(:a, '2'), item(:b, '1'), item(:a, '1'))).body::text, :'body'::text, 'the same request again gets the same answer');
SELECT is((SELECT count(*) FROM shop.order), 1::bigint, 'and places nothing');
SELECT refuses(format($$SELECT place(%s, 'place-0001', item(%s, '2'))$$, :ann, :a), 'HF021', 'another request with the key is refused');
SELECT is((place(:eve, 'place-0001', item(:b, '1'))).status, 201, 'the key of somebody else is another key');
UPDATE shop.sku SET price = 9999, code = 'new' WHERE id = :a;
UPDATE shop.product SET title = 'new' WHERE id = (SELECT product_id FROM shop.sku WHERE id = :a);
SELECT is((rest.order_get(:ann, (:'body'::jsonb ->> 'id')::uuid)).body ->> 'items', (:'body'::jsonb ->> 'items')::jsonb::text, 'what was agreed stays, whatever becomes of the SKU');
UPDATE shop.sku SET price = 1000, code = 'a' WHERE id = :a;
UPDATE shop.order_setting SET pay_within = '1 hour';
SELECT ok((SELECT (place(:eve, 'place-0002', item(:b, '1'))).body ->> 'expires_at' > shop.json_time(clock_timestamp() + interval '59 minutes')), 'how long it waits can be changed');

-- The total.
SELECT is((rest.order_place(:ann, 'total-0001', format('{"items": [%s], "expected_total": 2000}', item(:a, '2'))::jsonb)).status, 201, 'who expects the total gets it');
SELECT refuses(format($$SELECT rest.order_place(%s, 'total-0002', '{"items": [%s], "expected_total": 1999}')$$, :ann, item(:a, '2')), 'HS304', 'who expects another one does not', '/expected_total');
CREATE FUNCTION detail_of(p_sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_detail text;
BEGIN
    EXECUTE p_sql;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS v_detail = PG_EXCEPTION_DETAIL;
    RETURN v_detail;
END $$;
SELECT is(detail_of(format($$SELECT rest.order_place(%s, 'total-0003', '{"items": [%s], "expected_total": 1999}')$$, :ann, item(:a, '2'))), 'the total is 2000', 'but is told what it is');

-- What is refused.
SELECT refuses(format($$SELECT place(%s, 'refuse-0001', %L)$$, coalesce(who::text, 'NULL'), i), code, sentence, pointer)
FROM (VALUES
    (:ann, item(:a, '11'), 'HF001', 'more than there is', '/items/0/quantity'),
    (:ann, item(:a, '1') || ',' || item(:none, '1'), 'HF002', 'what was never in stock', '/items/1/quantity'),
    (:ann, item(:a, '1') || ',' || item(:draft, '1'), 'HS303', 'what is not published', '/items/1/sku_id'),
    (:ann, item(:gone, '1'), 'HS303', 'what is not there any more', '/items/0/sku_id'),
    (:ann, item(7, '1'), 'HS303', 'what was never there', '/items/0/sku_id'),
    (:ann, item(9223372036854775807, '1'), 'HS303', 'nor under the largest id', '/items/0/sku_id'),
    (:ann, item(:a, '1') || ',' || item(:c, '1'), 'HS301', 'goods of two merchants', '/items'),
    (:ann, item(:a, '1') || ',' || item(:usd, '1'), 'HS302', 'prices in two currencies', '/items'),
    (:ann, item(:a, '0'), 'HS014', 'nothing', '/items/0/quantity'),
    (:ann, item(:a, '-1'), 'HS014', 'less than nothing', '/items/0/quantity'),
    (:ann, item(:a, '1e400'), 'HS014', 'more than all', '/items/0/quantity'),
    (:ann, item(:a, '1.5'), 'HS011', 'a part', '/items/0/quantity'),
    (:ann, item(:a, '"1"'), 'HS011', 'a quantity in words', '/items/0/quantity'),
    (:ann, item(:a, 'null'), 'HS010', 'no quantity', '/items/0/quantity'),
    (:ann, '{"sku_id": 7, "quantity": 1}', 'HS011', 'an id that is a number', '/items/0/sku_id'),
    (:ann, '{"sku_id": "9223372036854775808", "quantity": 1}', 'HS015', 'an id that is too large', '/items/0/sku_id'),
    (:ann, '{"sku_id": "1", "quantity": 1, "price": 1}', 'HS009', 'a price of one''s own', '/items/0/price'),
    (:ann, '7', 'HS011', 'a line that is none', '/items/0'),
    (:ann, '', 'HS012', 'an order without lines', '/items'),
    (NULL, item(:a, '1'), 'HS001', 'an order of nobody', NULL)) AS v (who, i, code, sentence, pointer);
SELECT refuses(format($$SELECT rest.order_place(%s, 'refuse-0002', %L)$$, :ann, b), code, sentence, pointer)
FROM (VALUES
    ('[]', 'HS008', 'a body that is no object', ''),
    ('{"items": {}}', 'HS011', 'items that are no array', '/items'),
    ('{"items": null}', 'HS010', 'no items', '/items'),
    (format('{"items": [%s], "expected_total": "1"}', item(:a, '1')), 'HS011', 'a total in words', '/expected_total'),
    (format('{"items": [%s]}', (SELECT string_agg(item(:a, '1'), ', ') FROM generate_series(1, 201))), 'HS012', 'more than 200 lines', '/items')) AS v (b, code, sentence, pointer);
UPDATE shop.sku SET price = 1000000000000 WHERE id = :a;
SELECT refuses(format($$SELECT place(%s, 'refuse-0003', item(%s, '1001'))$$, :ann, :a), 'HS014', 'a total that cannot be paid', '/items');
SELECT finish();
ROLLBACK;

-- The routes of sales: what they answer, to whom, and what they refuse.
\ir include/begin.sql
\ir include/sale.sql
SELECT plan(67);

SELECT sku('mia', 'TEA') AS tea, sku('max', 'CUP') AS cup, person('mia') AS mia, person('max') AS max, person('ann') AS ann, person('bob') AS bob,
       person('root', '{user,admin}') AS root, person('sue') AS sue, merchant('mia') AS shop_mia \gset
UPDATE shop.account SET suspended_at = clock_timestamp() WHERE id = :sue;
CREATE FUNCTION body(p_sku bigint, p_more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('sku_id', p_sku::text, 'price', 700, 'quantity', 20, 'starts_at', to_char(clock_timestamp() AT TIME ZONE 'UTC' - interval '1 min', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        'ends_at', to_char(clock_timestamp() AT TIME ZONE 'UTC' + interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'per_account_limit', 2) || p_more
$$;

-- Making one.
SELECT (r).status, (r).location, (r).etag, (r).body ->> 'id' AS id, (r).body AS body FROM rest.sale_create(:mia, body(:tea)) AS r \gset c_
SELECT is(:'c_status' || ' ' || :'c_location' || ' ' || :'c_etag', format('201 /v1/sales/%s "1.draft.0"', :'c_id'), 'a merchant makes a sale');
SELECT is((:'c_body'::json ->> 'state') || (:'c_body'::json ->> 'price') || (:'c_body'::json ->> 'merchant_id'), format('draft700%s', :'shop_mia'), 'which is a draft');
SELECT refuses(format('SELECT rest.sale_create(NULL, %L)', body(:tea)), 'HS001', 'nobody makes none');
SELECT refuses(format('SELECT rest.sale_create(%s, %L)', :ann, body(:tea)), 'HS003', 'nor who is no merchant');
SELECT refuses(format('SELECT rest.sale_create(%s, %L)', :max, body(:tea)), 'HS003', 'nor of another''s SKU', '/sku_id');
SELECT sku('max', 'HIDDEN') AS hidden \gset
UPDATE shop.product SET published_at = NULL WHERE id = (SELECT product_id FROM shop.sku WHERE id = :hidden);
SELECT refuses(format('SELECT rest.sale_create(%s, %L)', :mia, body(:hidden)), 'HS004', 'of a SKU of another''s draft he hears nothing', '/sku_id');
SELECT refuses(format('SELECT rest.sale_create(%s, %L)', :mia, body(:tea, more)), state, format('%s is refused', more), pointer)
FROM (VALUES (1, '{"price": 0}'::jsonb, 'HS014', '/price'), (2, '{"price": 1e13}', 'HS014', '/price'), (3, '{"price": "7"}', 'HS011', '/price'), (4, '{"price": 7.5}', 'HS011', '/price'),
    (5, '{"quantity": -1}', 'HS014', '/quantity'), (6, '{"quantity": 1e300}', 'HS014', '/quantity'), (7, '{"quantity": null}', 'HS010', '/quantity'),
    (8, '{"starts_at": "soon"}', 'HS015', '/starts_at'), (9, '{"ends_at": "2020-01-01T00:00:00Z"}', 'HS015', '/ends_at'), (10, '{"ends_at": 7}', 'HS011', '/ends_at'),
    (11, '{"per_account_limit": 0}', 'HS014', '/per_account_limit'), (12, '{"sku_id": "7"}', 'HS004', '/sku_id'), (13, '{"sku_id": 7}', 'HS011', '/sku_id'),
    (14, '{"state": "open"}', 'HS009', '/state')) AS v (n, more, state, pointer) ORDER BY n;
SELECT refuses(format('SELECT rest.sale_create(%s, %L)', :mia, '[]'), 'HS008', 'a body is an object');

-- Drafts are nobody else's.
SELECT refuses(format('SELECT rest.sale_get(NULL, %s)', :c_id), 'HS004', 'a draft is not there for anybody');
SELECT is((SELECT status FROM rest.sale_get(:mia, :c_id)), 200, 'but for its merchant');
SELECT is((SELECT status FROM rest.sale_get(:root, :c_id)), 200, 'and administrators');
SELECT refuses(format('SELECT rest.sale_live(%s, %s)', :ann, :c_id), 'HS004', 'nor are its events');
SELECT is((SELECT json_array_length(body -> 'items') FROM rest.sale_list(NULL, '{}')), 0, 'nor is it in lists');
SELECT is((SELECT json_array_length(body -> 'items') FROM rest.sale_list(:mia, '{"state": "draft"}')), 1, 'but for its merchant');

-- Changing it.
SELECT is((SELECT etag || (body ->> 'price') FROM rest.sale_update(:mia, :c_id, '"1.draft.0"', '{"price": 600}')), '"2.draft.0"600', 'its merchant changes a draft');
SELECT refuses(format('SELECT rest.sale_update(%s, %s, %L, ''{"price": 500}'')', :mia, :c_id, '"1.draft.0"'), 'HS006', 'if it is what he has seen');
SELECT refuses(format('SELECT rest.sale_update(%s, %s, NULL, ''{"price": 500}'')', :mia, :c_id), 'HS007', 'and says so');
SELECT refuses(format('SELECT rest.sale_update(%s, %s, ''*'', ''{"price": null}'')', :mia, :c_id), 'HS010', 'a price is a price', '/price');
SELECT refuses(format('SELECT rest.sale_update(%s, %s, ''*'', ''{"sku_id": "1"}'')', :mia, :c_id), 'HS009', 'its SKU is for ever', '/sku_id');
SELECT refuses(format('SELECT rest.sale_update(%s, %s, ''*'', ''{"price": 500}'')', :max, :c_id), 'HS004', 'another merchant does not know of it');
SELECT refuses(format('SELECT rest.sale_update(%s, 7, ''*'', ''{"price": 500}'')', :mia), 'HS004', 'what is not there is not changed');

-- Preheating.
SELECT refuses(format('SELECT rest.sale_preheat(%s, %s)', w, :c_id), 'HS004', 'only its merchant preheats it') FROM unnest(ARRAY[:ann, :max]) AS w;
SELECT refuses(format('SELECT rest.sale_purchase(%s, %s, ''draft-buy-1'', ''{"ticket": "x", "quantity": 1}'')', w, :c_id), 'HS004', 'a draft is not bought in') FROM unnest(ARRAY[:ann, :mia]) AS w;
SELECT is((SELECT format('%s %s %s', status, body ->> 'ready', body -> 'sale' ->> 'state') FROM rest.sale_preheat(:mia, :c_id)), '200 true open', 'then it is ready');
SELECT is((SELECT format('%s %s', body ->> 'ready', body -> 'sale' ->> 'left') FROM rest.sale_preheat(:mia, :c_id)), 'true 20', 'which may be repeated');
SELECT is((SELECT format('%s %s %s', etag, body ->> 'state', body ->> 'left') FROM rest.sale_get(NULL, :c_id)), '"3.open.20" open 20', 'anybody sees it');
SELECT is((SELECT body::text FROM rest.sale_live(NULL, :c_id)) ~ '^\{"state" : "open", "left" : 20, "quantity" : 20, "version" : 3, ', true, 'and hears of it');
SELECT refuses(format('SELECT rest.sale_update(%s, %s, ''*'', ''{"price": 500}'')', :mia, :c_id), 'HS406', 'it is not changed any more');

-- Purchases.
SELECT (r).status, (r).etag, (r).location, (r).replayed, (r).body FROM rest.sale_purchase(:ann, :c_id, 'ann-key-1', '{"ticket": "x", "quantity": 1}') AS r \gset p_
SELECT is(:'p_status' || :'p_etag' || :'p_replayed', '201"1"f', 'a purchase');
SELECT is(:'p_body'::jsonb, (SELECT body::jsonb FROM shop.orders_json(:ann, ARRAY[(:'p_body'::json ->> 'id')::uuid])), 'answers with the order as any other');
SELECT is(:'p_location', '/v1/orders/' || (:'p_body'::json ->> 'id'), 'and where it is');
SELECT pays('ann', (:'p_body'::json ->> 'id')::uuid);
SELECT is((SELECT format('%s %s', replayed, body) FROM rest.sale_purchase(:ann, :c_id, 'ann-key-1', '{"ticket": "y", "quantity": 1}')), 't ' || :'p_body', 'again with the same bytes, whatever has become of it');
SELECT is((SELECT string_agg(concat_ws(' ', line, verdict, replayed, pointer, etag, location LIKE '/v1/orders/' || (body::json ->> 'id')), ', ' ORDER BY line) FROM rest.sale_purchase_batch(
    ARRAY[:bob, :ann, :ann, :sue, :bob], ARRAY['bob-key-1', 'ann-key-1', 'ann-key-2', 'sue-key-1', 'bob-key-1'], array_fill(:c_id::bigint, ARRAY[5]), ARRAY[2, 1, 2, 1, 2])),
    '1 00000 f "1" t, 2 00000 t "1" t, 3 HS404 f /quantity, 4 HS002 f, 5 00000 t "1" t', 'a batch answers each line as if it were alone');
SELECT is((SELECT body FROM rest.sale_purchase_batch(ARRAY[:ann], ARRAY['ann-key-1'], ARRAY[:c_id], ARRAY[1])), :'p_body', 'with the same bytes as one');
SELECT refuses(format('SELECT rest.sale_purchase(%s, %s, %L, %L)', coalesce(a::text, 'NULL'), :c_id, k, b), state, format('%s with %s is refused', b, k), pointer)
FROM (VALUES (1, :ann::bigint, 'ann-key-1', '{"ticket": "x", "quantity": 2}', 'HF021', NULL), (2, :ann, 'ann-key-3', '{"ticket": "x", "quantity": 0}', 'HS014', '/quantity'), (3, :ann, 'ann-key-3', '{"ticket": "x", "quantity": "1"}', 'HS011', '/quantity'),
    (4, :ann, 'ann-key-3', '{"ticket": "x"}', 'HS010', '/quantity'), (5, :ann, 'ann-key-3', '{"ticket": "x", "quantity": 1, "price": 1}', 'HS009', '/price'), (6, :ann, NULL, '{"ticket": "x", "quantity": 1}', 'HF019', NULL),
    (7, :ann, 'short', '{"ticket": "x", "quantity": 1}', 'HF019', NULL), (8, NULL, 'ann-key-3', '{"ticket": "x", "quantity": 1}', 'HS001', NULL), (10, :ann, 'ann-key-3', '{"quantity": 1}', 'HS010', '/ticket'), (11, :ann, 'ann-key-3', '{"ticket": 1, "quantity": 1}', 'HS011', '/ticket'),
    (9, :ann, 'ann-key-3', '{"ticket": "x", "quantity": 1000000}', 'HS404', '/quantity')) AS v (n, a, k, b, state, pointer) ORDER BY n;

-- Closing, and lists.
SELECT sale('max', 'CUP', 5) AS other \gset
SELECT is((SELECT json_array_length(body -> 'items') || (body ->> 'next' IS NOT NULL)::text FROM rest.sale_list(NULL, '{"limit": "1"}')), '1true', 'a list has pages');
SELECT is((SELECT string_agg(b.body -> 'items' -> 0 ->> 'id', ' ') FROM rest.sale_list(NULL, '{"limit": "1"}') AS a,
    rest.sale_list(NULL, jsonb_build_object('limit', '1', 'cursor', a.body ->> 'next')) AS b), :'c_id', 'what ends last comes first');
SELECT is((SELECT body -> 'items' -> 0 ->> 'id' FROM rest.sale_list(NULL, jsonb_build_object('merchant', merchant('max')::text))), :'other', 'a list of one merchant');
SELECT refuses(format('SELECT rest.sale_close(%s, %s)', :max, :c_id), 'HS003', 'another merchant does not close it');
SELECT is((SELECT body ->> 'state' FROM rest.sale_close(:mia, :c_id)), 'closed', 'its merchant does');
SELECT is((SELECT string_agg(i ->> 'id', ' ') FROM rest.sale_list(NULL, '{"state": "closed"}') AS r, json_array_elements(r.body -> 'items') AS i), :'c_id', 'then it is among the closed');
SELECT is(units(:tea), '97 available, 0 held, 0 sold', 'and what is left is back');
SELECT finish();
ROLLBACK;

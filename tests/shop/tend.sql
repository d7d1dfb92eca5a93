-- shop.tend(): what the clock has to do is written down, and nothing else.
\ir include/begin.sql
SELECT plan(11);
DELETE FROM shop.job_periodic;

CREATE TEMP TABLE placed AS
SELECT n, (rest.order_place(person('ann'), 'tend-order-' || n, jsonb_build_object('items', jsonb_build_array(jsonb_build_object('sku_id', sku('mark', 'T')::text, 'quantity', n))))).body ->> 'id' AS id
FROM generate_series(1, 2) AS n;
SELECT is(shop.tend(), 0::bigint, 'where nothing is due nothing is done');
UPDATE _holdfast.hold SET expires_at = clock_timestamp() - interval '1 s' WHERE owner = (SELECT id::uuid FROM placed WHERE n = 1);
UPDATE shop.order SET expires_at = clock_timestamp() - interval '1 s' WHERE id = (SELECT id::uuid FROM placed WHERE n = 1);
SELECT is(shop.tend(), 1::bigint, 'an order that has expired is one thing to do');
SELECT is((SELECT array_agg(status ORDER BY lines, total) FROM shop.order), '{cancelled,pending_payment}', 'it is cancelled, the other one is not');
SELECT is(shop.tend(), 0::bigint, 'once');

CREATE TEMP TABLE sale AS
SELECT (rest.sale_create(person('mark'), jsonb_build_object('sku_id', sku('mark', 'T')::text, 'price', 10, 'quantity', 20, 'per_account_limit', 1,
    'starts_at', shop.json_time(now() - interval '1 hour'), 'ends_at', shop.json_time(now() + interval '1 hour')))).body ->> 'id' AS id;
SELECT is((rest.sale_preheat(person('mark'), id::bigint)).status, 200, 'a sale takes its slice') FROM sale;
SELECT is(shop.tend(), 0::bigint, 'and is left alone while it is on');
UPDATE shop.sale SET ends_at = now() WHERE id = (SELECT s.id::bigint FROM sale AS s);
SELECT cmp_ok(shop.tend(), '>', 0::bigint, 'once it is over there is something to do');
SELECT is(units(sku('mark', 'T')), '98 available, 2 held, 0 sold', 'the slice is back');

INSERT INTO shop.job_kind (kind) VALUES ('tidy');
INSERT INTO shop.job_periodic (name, every, kind) VALUES ('tidy', '1 hour', 'tidy');
SELECT is(shop.tend(), 1::bigint, 'a periodic job that is due is enqueued');
SELECT is((SELECT count(*) FROM shop.job WHERE kind = 'tidy'), 1::bigint, 'once');
SELECT is(shop.schedule_tending(), false, 'without pg_cron there is no clock, and that is said');
SELECT finish();
ROLLBACK;

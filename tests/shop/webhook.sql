-- Webhooks of merchants: events are relayed at once or not at all, and no delivery is made twice; attempts are recorded by whoever
-- has the lease.
\ir include/begin.sql
SELECT plan(71);
\set QUIET on

CREATE FUNCTION endpoint(p_name text, p_events text, p_url text DEFAULT 'https://example.org/hook') RETURNS bigint LANGUAGE sql AS $$
    SELECT ((rest.webhook_endpoint_create(person(p_name), jsonb_build_object('url', p_url, 'events', p_events::jsonb))).body ->> 'id')::bigint
$$;
SELECT merchant('mark') AS mark, merchant('mia') AS mia, sku('mark', 'S1', 100, 100000) AS sku \gset
CREATE TEMPORARY TABLE claimed (id uuid, lease uuid, kind text, payload jsonb);
CREATE FUNCTION claim(p_kinds text[], p_limit integer DEFAULT 100) RETURNS bigint LANGUAGE sql AS $$
    WITH c AS (INSERT INTO claimed SELECT id, lease, kind, payload FROM shop.claim_jobs('w', p_kinds, p_limit) RETURNING 1) SELECT count(*) FROM c
$$;
CREATE FUNCTION relay() RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM (SELECT shop.relay_jobs(c.lease, array_agg(c.id), array_agg('null'::json)) FROM claimed AS c WHERE c.kind <> 'webhook' GROUP BY c.lease) AS r
$$;
CREATE FUNCTION note(p_result json) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM (SELECT shop.record_deliveries(c.lease, array_agg(c.id), array_agg(p_result)) FROM claimed AS c WHERE c.kind = 'webhook' GROUP BY c.lease) AS r
$$;
DELETE FROM shop.job;
DELETE FROM shop.job_key;

-- Relaying 1,000 orders of 1,000 accounts in four jobs.
SELECT endpoint('mark', '["order.placed", "order.paid", "payment.captured"]') AS hook \gset
SELECT endpoint('mark', '["order.placed"]') AS second, endpoint('mia', '["order.placed"]') AS other, endpoint('mark', '["sale.ended"]') AS third \gset
INSERT INTO shop.account (name) SELECT 'b' || n FROM generate_series(1, 1000) AS n;
CREATE TEMPORARY TABLE placed AS
SELECT a.id AS account, o.order_id, row_number() OVER () AS n FROM shop.account AS a,
    LATERAL shop.place_orders(a.id, 1, '{0}', '{0}', ARRAY[:sku]::bigint[], '{1}', '{NULL}') AS o WHERE a.name ~ '^b[0-9]';
DELETE FROM shop.job;
SELECT shop.enqueue('order_placed', jsonb_build_object('account_ids', array_agg(account::text), 'order_ids', array_agg(order_id))) FROM placed GROUP BY n % 4 \g /dev/null
SELECT is(claim('{order_placed}'), 4::bigint, 'four jobs are about 1,000 orders');
CREATE TEMPORARY TABLE clock AS SELECT clock_timestamp() AS at;
SELECT is(relay(), 4::bigint, 'they are relayed');
SELECT cmp_ok(clock_timestamp() - at, '<', interval '60 s', 'in no time') FROM clock;
SELECT diag('1,000 orders to two endpoints took ' || clock_timestamp() - at) FROM clock;
SELECT is(count(*), 2000::bigint, 'each order is a delivery to each endpoint that wants to know') FROM shop.webhook_delivery;
SELECT is(array_agg(DISTINCT endpoint_id ORDER BY endpoint_id), (SELECT array_agg(x ORDER BY x) FROM unnest(ARRAY[:hook, :second]::bigint[]) AS x), 'and to no other') FROM shop.webhook_delivery;
SELECT is(count(*), 2000::bigint, 'each has a job') FROM shop.job WHERE kind = 'webhook' AND key = 'webhook:' || (payload ->> 'delivery_id');
SELECT is(count(*), 0::bigint, 'the events are gone') FROM shop.job WHERE kind = 'order_placed';
SELECT is(count(DISTINCT body::jsonb -> 'data' ->> 'id'), 1000::bigint, 'each tells of its order') FROM shop.webhook_delivery WHERE endpoint_id = :hook;
SELECT is((body::jsonb -> 'data')::json::text, (SELECT j.body::jsonb::text FROM placed AS p, shop.orders_json(p.account, ARRAY[p.order_id]) AS j WHERE j.id::text = d.body::jsonb -> 'data' ->> 'id'),
    'as its merchant sees it') FROM shop.webhook_delivery AS d LIMIT 1;

-- Twice.
SELECT is(relay(), 0::bigint, 'whose lease has ended relays nothing');
SELECT shop.enqueue('order_placed', jsonb_build_object('account_ids', array_agg(account::text), 'order_ids', array_agg(order_id))) FROM placed WHERE n <= 10 \g /dev/null
DELETE FROM claimed;
SELECT is(claim('{order_placed}'), 1::bigint, 'the same event again');
SELECT is(relay(), 1::bigint, 'is relayed');
SELECT is(count(*), 2000::bigint, 'and makes no delivery again') FROM shop.webhook_delivery;
SELECT is(count(*), 2000::bigint, 'nor a job') FROM shop.job WHERE kind = 'webhook';
SELECT shop.enqueue('order_placed', p) FROM unnest(ARRAY['{}', '{"account_ids": ["1"], "order_ids": ["00000000-0000-0000-0000-000000000000"]}']::jsonb[]) AS p \g /dev/null
SELECT shop.enqueue('sale_ended', '{"sale_id": "7"}'), shop.enqueue('stock_low', '{}'), shop.enqueue('order_shipped', '{}') \g /dev/null
DELETE FROM claimed;
SELECT is(claim('{order_placed,order_shipped,sale_ended,stock_low}'), 5::bigint, 'events of what is not there');
SELECT is(relay(), 5::bigint, 'are relayed to nobody');
SELECT throws_ok(format('SELECT shop.relay_jobs(%L, %L, %L)', gen_random_uuid(), ARRAY[gen_random_uuid()], '{}'), 'HS015', NULL, 'there is a result for each job');

SELECT shop.enqueue('order_placed', jsonb_build_object('account_ids', array_agg(account::text), 'order_ids', array_agg(order_id))) FROM placed, generate_series(1, 3) AS i GROUP BY i \g /dev/null
DELETE FROM claimed;
SELECT is(claim('{order_placed}'), 3::bigint, 'events of too many orders');
SELECT is(relay(), 1::bigint, 'are relayed as far as can be done at once');
SELECT is(count(*), 2::bigint, 'and the rest waits again') FROM shop.job WHERE kind = 'order_placed' AND lease IS NULL AND attempts = 0;
DELETE FROM shop.job WHERE kind = 'order_placed';

-- What the worker hears of a delivery.
DELETE FROM claimed;
SELECT is(claim('{webhook}', 2), 2::bigint, 'two attempts are claimed');
SELECT is(count(*), 2::bigint, 'their details are there for the lease') FROM (SELECT DISTINCT lease FROM claimed) AS c, shop.delivery_details(c.lease, ARRAY(SELECT id FROM claimed)) AS d
WHERE d.details ->> 'url' = 'https://example.org/hook' AND json_array_length(d.details -> 'secrets') = 1 AND d.details ->> 'secrets' LIKE '%whsec_%';
SELECT is(count(*), 0::bigint, 'and for no other') FROM shop.delivery_details(gen_random_uuid(), ARRAY(SELECT id FROM claimed));
SELECT is(count(*), 0::bigint, 'of no job but those') FROM (SELECT DISTINCT lease FROM claimed) AS c, shop.delivery_details(c.lease, ARRAY(SELECT id FROM shop.job WHERE lease IS NULL)) AS d;
SELECT is(count(*), 0::bigint, 'nobody else records anything') FROM claimed AS c, shop.record_deliveries(gen_random_uuid(), ARRAY[c.id], ARRAY['{"status": 200}'::json]) AS r;
SELECT is(count(*), 0::bigint, 'so far none was tried') FROM shop.webhook_attempt;

-- How attempts end.
SELECT is(note('{"status": 500, "duration": 12, "error": "answered 500"}'), 2::bigint, 'they have failed');
SELECT is(count(*), 2::bigint, 'each has another job, in five seconds') FROM shop.job AS j JOIN claimed AS c ON c.payload = j.payload JOIN shop.webhook_delivery AS d ON j.key = 'webhook:' || d.id
WHERE j.lease IS NULL AND j.id <> c.id AND j.due_at - d.attempted_at BETWEEN interval '5 s' AND interval '6 s';
SELECT is(note('{"status": 200}'), 0::bigint, 'what is recorded once is not recorded twice');
SELECT is(array_agg(DISTINCT (attempts, tries_left, state, status, duration)::text), '{"(1,9,pending,500,12)"}', 'that counts') FROM shop.webhook_delivery WHERE attempts > 0;
SELECT is(array_agg(DISTINCT failing_since IS NOT NULL), '{t}', 'and is held against the endpoints') FROM shop.webhook_endpoint WHERE id IN (SELECT (payload ->> 'endpoint_id')::bigint FROM claimed);
DELETE FROM claimed;
UPDATE shop.job SET due_at = clock_timestamp() WHERE kind = 'webhook';
SELECT claim('{webhook}', 3) \g /dev/null
SELECT is(note('{"busy": true}'), 3::bigint, 'those for which a host has no room');
SELECT is(count(*), 3::bigint, 'are put off') FROM shop.job AS j JOIN claimed AS c ON c.payload ->> 'delivery_id' = j.payload ->> 'delivery_id' WHERE j.lease IS NULL AND (j.payload ->> 'held')::integer = 1 AND j.due_at > clock_timestamp();
SELECT is(count(*), 2::bigint, 'and it does not count') FROM shop.webhook_attempt;

-- Disabled, deleted, forgotten.
SELECT is((rest.webhook_endpoint_update(person('mark'), :hook, '{"enabled": false}', '*')).status, 200, 'an endpoint is disabled');
SELECT is(array_agg(DISTINCT state), '{cancelled}', 'all that waited for it is cancelled') FROM shop.webhook_delivery WHERE endpoint_id = :hook;
SELECT is((rest.webhook_endpoint_delete(person('mark'), :second, NULL)).status, 204, 'another one is deleted');
UPDATE shop.job SET due_at = clock_timestamp() WHERE kind = 'webhook' AND lease IS NULL;
DELETE FROM claimed;
SELECT claim('{webhook}', 5000) \g /dev/null
SELECT is(array_agg(DISTINCT d.details::text), '{"{\"skip\" : true}"}', 'nothing is to be sent') FROM (SELECT DISTINCT lease FROM claimed) AS c, shop.delivery_details(c.lease, ARRAY(SELECT id FROM claimed)) AS d;
SELECT is(array_agg(DISTINCT state), '{cancelled}', 'what waited for the other one is cancelled, too') FROM shop.webhook_delivery;
SELECT is(shop.purge_deliveries(400), 400::bigint, 'what was deleted is forgotten bit by bit');
SELECT is(shop.purge_deliveries(5000), 600::bigint, 'in the end all of it');
UPDATE shop.webhook_endpoint SET deleted_at = deleted_at - interval '2 hours' WHERE deleted_at IS NOT NULL;
SELECT is(shop.purge_deliveries(), 1::bigint, 'and the endpoint');
UPDATE shop.webhook_delivery SET created_at = created_at - interval '30 days 1 s' WHERE ctid IN (SELECT ctid FROM shop.webhook_delivery LIMIT 10);
SELECT is(shop.purge_deliveries(), 10::bigint, 'after 30 days deliveries are forgotten');
SELECT is(count(*), 990::bigint, 'and not before') FROM shop.webhook_delivery;
UPDATE shop.webhook_delivery SET state = 'pending', next_at = clock_timestamp() - interval '61 min' WHERE id = (SELECT min(id::text)::uuid FROM shop.webhook_delivery);
SELECT shop.cancel_job(job_id) FROM shop.job_key WHERE key = (SELECT shop.webhook_key(min(id::text)::uuid) FROM shop.webhook_delivery) \g /dev/null
SELECT is(shop.purge_deliveries(), 1::bigint, 'a delivery whose job is gone');
SELECT is(count(*), 1::bigint, 'has failed, and can be sent again') FROM shop.webhook_delivery WHERE state = 'failed' AND error ~ 'cancelled';

-- Cancelled, by somebody and by the clock; refunded, part by part.
SELECT sku('nora', 'N1', 1000, 100) AS sku, person('nora') AS nora, person('olga') AS olga, holdfast.add_provider('bank') \gset
SELECT endpoint('nora', '["order.cancelled", "payment.refunded"]') AS hook \gset
CREATE FUNCTION bought() RETURNS uuid LANGUAGE sql AS $$
    SELECT o.order_id FROM shop.place_orders(person('olga'), 1, '{0}', '{0}', ARRAY[sku('nora', 'N1')], '{1}', '{NULL}') AS o
$$;
CREATE FUNCTION told() RETURNS TABLE (what text) LANGUAGE sql AS $$
    SELECT d.type || ' ' || coalesce(d.body::jsonb #>> '{data,status}', d.body::jsonb #>> '{data,refunded}') FROM shop.webhook_delivery AS d WHERE d.merchant_id = merchant('nora')
$$;
DELETE FROM shop.job; DELETE FROM shop.job_key; DELETE FROM claimed;
SELECT bought() AS left, bought() AS late, bought() AS paid \gset
SELECT shop.cancel_order(:olga, :'left') \g /dev/null
UPDATE shop.order SET expires_at = clock_timestamp() WHERE id = :'late';
UPDATE _holdfast.hold SET expires_at = clock_timestamp() WHERE owner = :'late';
SELECT is(shop.cancel_expired_orders(), 1, 'an order is cancelled by its buyer, another one by the clock');
SELECT payment FROM shop.pay_order(:olga, :'paid', 'pay-it-now', 'bank', 'card') \gset
SELECT is(holdfast.record_result(:olga, :'payment', 1, 'succeeded'), 'captured', 'a third is paid');
SELECT (rest.payment_refund(:nora, :'payment', 'refund-' || amount, jsonb_build_object('amount', amount))).status FROM unnest('{100,200,700}'::integer[]) AS amount \g /dev/null
SELECT is((SELECT count(*) FROM shop.job WHERE kind = 'payment_refunded'), 0::bigint, 'what is only asked for is not refunded');
SELECT is(holdfast.record_result(:olga, :'payment', n, 'succeeded'), CASE n WHEN 4 THEN 'refunded' ELSE 'partially_refunded' END, 'and refunded bit by bit') FROM generate_series(2, 4) AS n;
SELECT is(claim('{order_cancelled,payment_refunded}'), 5::bigint, 'each is an event');
SELECT is(relay(), 5::bigint, 'which is relayed');
SELECT bag_eq('SELECT what FROM told()', $$VALUES ('order.cancelled cancelled'), ('order.cancelled cancelled'), ('payment.refunded 1000'), ('payment.refunded 1000'), ('payment.refunded 1000')$$,
    'the merchant is told of each, as it is by then');
SELECT is((SELECT string_agg(key, ' ' ORDER BY key) FROM shop.webhook_delivery WHERE merchant_id = merchant('nora') AND type = 'payment.refunded'),
    (SELECT string_agg(format('payment.refunded:%s:%s', :'payment', n), ' ' ORDER BY n) FROM unnest('{100,300,1000}'::text[]) AS n), 'once');
SELECT is((SELECT count(*) FROM shop.job WHERE kind = 'mail' AND payload ->> 'template' = 'payment_refunded'), 3::bigint, 'and the buyer by mail');
SELECT shop.import_orders(merchant('nora'), 'fair', 'EUR', '{F1}', '{c1}', '{DE}', ARRAY[now() - interval '1 day'], '{N1}', '{1}', '{500}') \g /dev/null
SELECT is((SELECT verdict FROM shop.import_returns(merchant('nora'), 'fair', '{R1}', '{c1}', '{N1}', '{1}', '{500}', ARRAY[now()])), 'returned', 'what another channel has given back');
SELECT is((SELECT count(*) FROM shop.job WHERE kind = 'payment_refunded'), 0::bigint, 'is no news');

-- Nothing is sent for who is suspended.
UPDATE shop.account SET suspended_at = clock_timestamp() WHERE id = :nora;
DELETE FROM claimed;
SELECT claim('{webhook}') \g /dev/null
SELECT is(array_agg(DISTINCT d.details::text), '{"{\"skip\" : true}"}', 'of a merchant who is suspended nothing is to be sent') FROM (SELECT DISTINCT lease FROM claimed) AS c, shop.delivery_details(c.lease, ARRAY(SELECT id FROM claimed)) AS d;
SELECT is(array_agg(DISTINCT state || ': ' || error), '{"cancelled: the merchant was suspended"}', 'which is cancelled, and says why') FROM shop.webhook_delivery WHERE merchant_id = merchant('nora');
UPDATE shop.account SET suspended_at = NULL WHERE id = :nora;
DELETE FROM shop.job; DELETE FROM shop.job_key; DELETE FROM claimed;
SELECT (rest.webhook_delivery_redeliver(:nora, :hook, min(id::text)::uuid)).status FROM shop.webhook_delivery WHERE merchant_id = merchant('nora') \g /dev/null
SELECT claim('{webhook}') \g /dev/null
SELECT is(d.details ->> 'url', 'https://example.org/hook', 'when he may act again he can have it sent') FROM claimed AS c, shop.delivery_details(c.lease, ARRAY[c.id]) AS d;
UPDATE shop.webhook_delivery SET state = 'cancelled', next_at = NULL WHERE merchant_id = merchant('nora');
SELECT is(d.details ->> 'skip', 'true', 'a worker is told that there is nothing to send') FROM claimed AS c, shop.delivery_details(c.lease, ARRAY[c.id]) AS d;
SELECT (rest.webhook_delivery_redeliver(:nora, :hook, d.id)).status FROM shop.webhook_delivery AS d JOIN claimed AS c ON d.id = (c.payload ->> 'delivery_id')::uuid \g /dev/null
SELECT is((SELECT count(*) FROM claimed AS c, shop.finish_jobs(c.lease, ARRAY[c.id])), 0::bigint, 'but before he says so it is to be sent again: then he has nothing to end');
SELECT is(claim('{webhook}'), 1::bigint, 'and somebody else sends it');
CREATE FUNCTION his() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', d.state, d.error, d.next_at <= clock_timestamp()), ', ') FROM shop.webhook_delivery AS d
    WHERE d.id IN (SELECT (c.payload ->> 'delivery_id')::uuid FROM claimed AS c)
$$;
SELECT person('root', '{user,admin}') AS root \gset
SELECT (rest.admin_job_cancel(:root, c.id)).status FROM claimed AS c LIMIT 1 \g /dev/null
SELECT is(his(), 'cancelled its job was cancelled', 'when its job is cancelled its merchant sees that');
SELECT (rest.admin_job_retry(:root, c.id)).status FROM claimed AS c LIMIT 1 \g /dev/null
SELECT is(his(), 'pending its job was cancelled t', 'and that it is sent again');
DELETE FROM shop.job; DELETE FROM shop.job_key;

-- Many jobs at once.
SELECT is(shop.enqueue_all('noop', '{a,b,a}', ARRAY['{"n": 1}', '{"n": 2}', '{"n": 3}']::jsonb[]), 2::bigint, 'of many jobs each key is taken once');
SELECT is(shop.enqueue_all('noop', '{b,c}', '{"{}","{}"}', ARRAY[NULL, clock_timestamp() + interval '1 h']), 1::bigint, 'and one that is taken is left');
SELECT throws_ok($$SELECT shop.enqueue_all('nothing', '{a}', '{"{}"}')$$, 'HS501', NULL, 'of a kind that is there');
SELECT is((SELECT count(*) FROM shop.verify()), 0::bigint, 'and all is well');
SELECT finish();
ROLLBACK;

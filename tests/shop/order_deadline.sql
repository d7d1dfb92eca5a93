-- Until when an order can be paid, who may still act, and what sweeping costs.
\ir include/begin.sql
SELECT plan(25);

SELECT holdfast.add_provider('bank');
SELECT sku('acme', 'a', 1000, 50000) AS a, person('ann') AS ann, person('acme') AS seller, person('root', '{user,admin}') AS root \gset
CREATE FUNCTION order_of(p_key text, p_quantity integer DEFAULT 1) RETURNS uuid LANGUAGE sql AS $$
    SELECT ((rest.order_place(person('ann'), p_key, format('{"items": [{"sku_id": "%s", "quantity": %s}]}', sku('acme', 'a'), p_quantity)::jsonb)).body ->> 'id')::uuid
$$;
CREATE FUNCTION decline(p_order uuid, p_key text) RETURNS text LANGUAGE sql AS $$
    SELECT holdfast.record_result(person('ann'), ((rest.payment_create(person('ann'), p_order, p_key, '{"provider": "bank", "method": "card"}')).body ->> 'id')::uuid, 1, 'declined')
$$;

-- What a declined payment leaves.
SELECT order_of('deadline-1') AS o \gset
SELECT is(decline(:'o', 'decline-1'), 'declined', 'a payment is declined');
SELECT ok(expires_at BETWEEN pay_by AND pay_by + interval '1 s', 'the time that was promised stands') FROM shop.order WHERE id = :'o';
SELECT is((SELECT h.expires_at - o.expires_at FROM shop.order AS o JOIN holdfast.holds AS h ON h.owner = o.id WHERE o.id = :'o'), '0', 'for the holds as well');
UPDATE shop.order SET pay_by = clock_timestamp() - interval '1 s' WHERE id = :'o';
SELECT is(decline(:'o', 'decline-2'), 'declined', 'a payment is declined when that time is over');
SELECT ok(expires_at BETWEEN clock_timestamp() + interval '9 min' AND clock_timestamp() + interval '10 min', 'then there is holdfast.ttl_default to try again') FROM shop.order WHERE id = :'o';

-- An order that the clock cancels is another one.
SELECT order_of('deadline-2') AS o \gset
SELECT is((rest.order_get(:ann, :'o')).etag, '"1"', 'an order has an ETag');
UPDATE shop.order SET expires_at = clock_timestamp() WHERE id = :'o';
UPDATE _holdfast.hold SET expires_at = clock_timestamp() WHERE owner = :'o';
SELECT is((rest.order_get(:ann, :'o')).etag || ((rest.order_get(:ann, :'o')).body ->> 'status'), '"2"cancelled', 'at its deadline another one');
SELECT shop.tend() AS done \gset
SELECT is((rest.order_get(:ann, :'o')).etag || ((rest.order_get(:ann, :'o')).body ->> 'status'), '"2"cancelled', 'which the sweep confirms');

-- Who is no merchant any more.
SELECT order_of('deadline-3', 2) AS o \gset
SELECT holdfast.record_result(:ann, ((rest.payment_create(:ann, :'o', 'pay-it-now', '{"provider": "bank", "method": "card"}')).body ->> 'id')::uuid, 1, 'succeeded') AS paid \gset
SELECT payment_id AS p FROM shop.order_payment WHERE order_id = :'o' \gset
SELECT is((rest.payment_refund(:seller, :'p', 'same-key-1', '{"amount": 100}')).status, 202, 'a merchant refunds');
SELECT is((rest.order_return(:seller, :'o', 'same-key-1', '{"items": [{"line": 1, "quantity": 1}]}')).status, 200, 'the same key names a return as well');
SELECT rest.admin_account_roles_set(:root, :seller, '{"roles": ["user"]}') \g /dev/null
SELECT refuses(format($$SELECT rest.order_ship(%s, %L)$$, :seller, :'o'), 'HS004', 'who is no merchant any more ships nothing');
SELECT refuses(format($$SELECT rest.payment_refund(%s, %L, 'same-key-2', '{"amount": 100}')$$, :seller, :'p'), 'HS004', 'nor refunds');
SELECT rest.admin_account_roles_set(:root, :seller, '{"roles": ["user", "merchant"]}') \g /dev/null

-- A suspended merchant sells nothing.
SELECT rest.admin_account_suspend(:root, :seller) \g /dev/null
SELECT refuses($$SELECT order_of('deadline-4')$$, 'HS303', 'a suspended merchant sells nothing');
SELECT rest.admin_account_reinstate(:root, :seller) \g /dev/null

-- Sales: a replay tells what was told; nobody buys who is nobody.
SELECT ((rest.sale_create(:seller, jsonb_build_object('sku_id', :a::text, 'price', 10, 'quantity', 100, 'per_account_limit', 5,
    'starts_at', shop.json_time(now() - interval '1 min'), 'ends_at', shop.json_time(now() + interval '1 hour')))).body ->> 'id')::bigint AS sale \gset
SELECT rest.sale_preheat(:seller, :sale) \g /dev/null
SELECT (rest.sale_purchase(:ann, :sale, 'buy-in-sale', '{"ticket": "x", "quantity": 1}')).body AS told \gset
UPDATE shop.order_setting SET pay_within = '20 min';
SELECT is((rest.sale_purchase(:ann, :sale, 'buy-in-sale', '{"ticket": "x", "quantity": 1}')).body::text, :'told', 'a purchase is told again as it was, whatever has been set since');
SELECT is((SELECT array_agg(verdict ORDER BY line) FROM shop.purchase_batch(ARRAY[-5, 424242, :ann], '{nobody-01,nobody-02,somebody-1}', ARRAY[:sale, :sale, :sale], '{1,1,1}')),
    '{HS001,HS001,00000}', 'an account that does not exist buys nothing');
UPDATE shop.product SET published_at = NULL WHERE merchant_id = merchant('acme');
SELECT is((SELECT verdict FROM shop.purchase_batch(ARRAY[:ann], '{unpublished}', ARRAY[:sale], '{1}')), 'HS303', 'what is not published any more is not sold in a sale either');
SELECT is((SELECT count(*) FROM shop.verify()), 0::bigint, 'verify() finds nothing');
UPDATE shop.sale_buyer SET bought = bought - 1 WHERE bought > 0;
SELECT is((SELECT string_agg(invariant, ', ') FROM shop.verify()), 'what counts against the limit of an account is what it has ordered in the sale', 'but what counts against a limit wrongly');

-- Sweeping looks at what is due, not at everything that was ever sold.
SELECT holdfast.reserve_batch(array_agg(holdfast.uuid7()), array_agg(:a::bigint), array_agg(1::bigint), '1 hour') FROM generate_series(1, 20000) \g /dev/null
ANALYZE _holdfast.hold, shop.order;
CREATE FUNCTION looked_at() RETURNS bigint LANGUAGE sql AS $$
    SELECT sum(pg_stat_get_xact_tuples_returned(oid)) FROM (SELECT '_holdfast.hold'::regclass::oid UNION SELECT indexrelid FROM pg_index WHERE indrelid = '_holdfast.hold'::regclass) AS r (oid)
$$;
UPDATE shop.order SET expires_at = clock_timestamp() WHERE status = 'pending_payment';
UPDATE _holdfast.hold SET expires_at = clock_timestamp() WHERE owner IN (SELECT id FROM shop.order WHERE status = 'pending_payment');
SELECT looked_at() AS before \gset
SELECT is(shop.settle_buyers(ARRAY[:ann], ARRAY[:sale])::text, format('{%s,%s}', :ann, :ann), 'what a buyer at his limit has that has expired is settled');
SELECT cmp_ok(looked_at() - :before, '<', 2000::bigint, 'without a look at all holds');
SELECT looked_at() AS before \gset
SELECT cmp_ok(shop.cancel_expired_orders(1000), '>', 0, 'orders that have expired are swept');
SELECT cmp_ok(looked_at() - :before, '<', 2000::bigint, 'likewise');
DELETE FROM shop.job WHERE kind = 'order_cancelled';
INSERT INTO shop.order (account_id, id, merchant_id, total, placed_at, changed_at, expires_at, lines, status, currency)
SELECT :ann, holdfast.uuid7(), merchant('acme'), 1, now(), now(), now(), 1, 'pending_payment', 'EUR' FROM generate_series(1, 2500);
SELECT is(shop.cancel_expired_orders(10000), 2500, 'however many there are');
SELECT is((SELECT array_agg(jsonb_array_length(payload -> 'order_ids') ORDER BY id) FROM shop.job WHERE kind = 'order_cancelled'), '{1000,1000,500}', 'a thousand are one event');
SELECT is((SELECT count(DISTINCT o) FROM shop.job, jsonb_array_elements_text(payload -> 'order_ids') AS o WHERE kind = 'order_cancelled'), 2500::bigint, 'and each is told of once');
SELECT finish();
ROLLBACK;

-- What becomes of an order: only what is legal, by who may, with a line of history.
\ir include/begin.sql
SELECT plan(47);

SELECT holdfast.add_provider('simulated');
SELECT sku('acme', 'a', 1000, 100) AS a, person('ann') AS ann, person('eve') AS eve, person('acme') AS seller, merchant('rival') AS x, person('rival') AS rival, person('root', '{user,admin}') AS root \gset
CREATE FUNCTION order_of(p_actor bigint, p_sku bigint, p_key text) RETURNS uuid LANGUAGE sql AS $$
    SELECT ((rest.order_place(p_actor, p_key, format('{"items": [{"sku_id": "%s", "quantity": 2}]}', p_sku)::jsonb)).body ->> 'id')::uuid
$$;
CREATE FUNCTION pay(p_actor bigint, p_order uuid, p_method text DEFAULT 'test_approve') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM rest.payment_create(p_actor, p_order, 'pay-' || p_order || p_method, format('{"provider": "simulated", "method": "%s"}', p_method)::jsonb);
    PERFORM holdfast.simulate_provider();
END $$;
CREATE FUNCTION status_of(p_order uuid) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', o.status, o.version, (SELECT string_agg(concat_ws(' ', e.n, e.action, e.from_status, e.to_status), ', ' ORDER BY e.n) FROM shop.order_event AS e WHERE e.order_id = o.id))
    FROM shop.order AS o WHERE o.id = p_order
$$;
CREATE FUNCTION expire(p_order uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE shop.order SET expires_at = clock_timestamp() WHERE id = p_order;
    UPDATE _holdfast.hold SET expires_at = clock_timestamp() WHERE owner = p_order AND state = 'h';
END $$;

-- The whole life.
SELECT order_of(:ann, :a, 'order-001') AS o \gset
SELECT is((rest.order_cancel(:ann, :'o')).body ->> 'status', 'cancelled', 'an order that waits can be cancelled');
SELECT is(units(:a), '100 available, 0 held, 0 sold', 'its units go back');
SELECT is(status_of(:'o'), 'cancelled 2 2 cancel pending_payment cancelled', 'and its history tells');
CREATE FUNCTION cancelled() RETURNS uuid[] LANGUAGE sql AS $$
    SELECT array_agg(o.id::uuid ORDER BY o.id::uuid) FROM shop.job AS j, ROWS FROM (jsonb_array_elements_text(j.payload -> 'order_ids'), jsonb_array_elements_text(j.payload -> 'account_ids')) AS o (id, account)
    JOIN shop.order AS r ON r.id = o.id::uuid AND r.account_id = o.account::bigint WHERE j.kind = 'order_cancelled'
$$;
SELECT is(cancelled(), ARRAY[:'o']::uuid[], 'and an event');
SELECT refuses(format($$SELECT rest.order_cancel(%s, %L)$$, :ann, :'o'), 'HS305', 'once');
SELECT is(cardinality(cancelled()), 1, 'which is told once');
DELETE FROM shop.job WHERE kind = 'order_cancelled';
SELECT refuses(format($$SELECT rest.payment_create(%s, %L, 'pay-00001', '{"provider": "simulated", "method": "test_approve"}')$$, :ann, :'o'), 'HF008', 'then it cannot be paid');
SELECT order_of(:ann, :a, 'order-002') AS o \gset
SELECT refuses(format($$SELECT rest.order_%s(%s, %L)$$, w, :seller, :'o'), 'HS305', format('%s: not before it is paid', w)) FROM unnest('{ship,complete}'::text[]) AS w;
SELECT refuses(format($$SELECT rest.order_return(%s, %L, 'return-01', '{}')$$, :seller, :'o'), 'HS305', 'return: neither');
SELECT pay(:ann, :'o');
SELECT is(status_of(:'o'), 'paid 3 3 pay pending_payment paid', 'it is paid');
SELECT refuses(format($$SELECT rest.order_cancel(%s, %L)$$, :ann, :'o'), 'HS305', 'what is paid is not cancelled');
SELECT refuses(format($$SELECT rest.order_complete(%s, %L)$$, :seller, :'o'), 'HS305', 'nor complete before it is shipped');
SELECT refuses(format($$SELECT rest.order_ship(%s, %L, '"2"')$$, :seller, :'o'), 'HS006', 'If-Match is looked at');
SELECT is((rest.order_ship(:seller, :'o', '"3"')).etag, '"4"', 'shipped: another ETag');
SELECT is((SELECT count(*) FROM shop.job WHERE kind = 'order_shipped' AND payload ->> 'order_id' = :'o'), 1::bigint, 'and a job');
SELECT refuses(format($$SELECT rest.order_ship(%s, %L)$$, :seller, :'o'), 'HS305', 'once');
SELECT is((rest.order_complete(:seller, :'o')).body ->> 'status', 'completed', 'completed');
SELECT is(status_of(:'o'), 'completed 5 3 pay pending_payment paid, 4 ship paid shipped, 5 complete shipped completed', 'history has all of it');
SELECT bag_eq($$SELECT from_status || ' ' || action || ' ' || to_status || ' ' || who FROM shop.order_transition$$,
    $$VALUES ('pending_payment pay paid shop'), ('pending_payment cancel cancelled user'), ('pending_payment expire cancelled shop'), ('cancelled pay paid shop'),
             ('paid ship shipped merchant'), ('shipped complete completed merchant'), ('paid return returned merchant'), ('shipped return returned merchant'), ('completed return returned merchant')$$,
    'that is all that is legal');

-- Who may.
SELECT order_of(:ann, :a, 'order-003') AS o \gset
SELECT refuses(format($$SELECT rest.order_get(%s, %L)$$, coalesce(w::text, 'NULL'), :'o'), c, format('%s does not see the order', n))
FROM (VALUES (:eve, 'HS004', 'somebody else'), (:rival, 'HS004', 'another merchant'), (NULL, 'HS001', 'nobody')) AS v (w, c, n);
SELECT is((rest.order_get(w, :'o')).body ->> 'id', :'o'::text, format('%s does', n)) FROM (VALUES (:ann, 'its user'), (:seller, 'its merchant'), (:root, 'an administrator')) AS v (w, n);
SELECT refuses(format($$SELECT rest.order_cancel(%s, %L)$$, w, :'o'), c, format('%s does not cancel it', n)) FROM (VALUES (:eve, 'HS004', 'somebody else'), (:seller, 'HS003', 'its merchant')) AS v (w, c, n);
SELECT refuses(format($$SELECT rest.order_ship(%s, %L)$$, w, :'o'), c, format('%s does not ship it', n)) FROM (VALUES (:ann, 'HS003', 'its user'), (:rival, 'HS004', 'another merchant')) AS v (w, c, n);
SELECT refuses(format($$SELECT rest.order_return(%s, %L, 'return-02', '{}')$$, w, :'o'), c, format('%s does not take it back', n)) FROM (VALUES (:ann, 'HS003', 'its user'), (:rival, 'HS004', 'another merchant')) AS v (w, c, n);
SELECT refuses($$SELECT rest.order_get($$ || :ann || $$, NULL)$$, 'HS004', 'an order without id is none');
UPDATE shop.account SET suspended_at = clock_timestamp() WHERE id = :ann;
SELECT refuses(format($$SELECT rest.order_get(%s, %L)$$, :ann, :'o'), 'HS002', 'who is suspended sees nothing');
UPDATE shop.account SET suspended_at = NULL WHERE id = :ann;

-- The clock.
SELECT expire(:'o');
SELECT is((rest.order_get(:ann, :'o')).body ->> 'status', 'cancelled', 'an order whose time is over is cancelled, whatever is written down');
SELECT refuses(format($$SELECT rest.order_cancel(%s, %L)$$, :ann, :'o'), 'HS305', 'it cannot be cancelled any more');
SELECT refuses(format($$SELECT rest.payment_create(%s, %L, 'pay-00002', '{"provider": "simulated", "method": "test_approve"}')$$, :ann, :'o'), 'HF009', 'nor paid');
SELECT order_of(:ann, :a, 'order-004') AS alive, order_of(:ann, :a, 'order-005') AS pinned, order_of(:ann, :a, 'order-006') AS extended \gset
SELECT pay(:ann, :'pinned', 'test_silent');
UPDATE shop.order SET expires_at = clock_timestamp() WHERE id IN (:'pinned', :'extended');
SELECT is(shop.cancel_expired_orders(10), 2, 'the sweep writes down what the clock has done');
SELECT is(status_of(:'o'), 'cancelled 2 2 expire pending_payment cancelled', 'with a line of history');
SELECT is(cancelled(), (SELECT array_agg(i ORDER BY i) FROM unnest(ARRAY[:'o', :'extended']::uuid[]) AS i), 'and tells of each');
SELECT is(status_of(:'alive'), 'pending_payment 1', 'what has time left is left alone');
SELECT is(split_part(status_of(:'pinned'), ' ', 1), 'pending_payment', 'and so is what is being paid');
SELECT is(split_part(status_of(:'extended'), ' ', 1), 'cancelled', 'what was held longer than its order is released');
SELECT is(units(:a), '94 available, 4 held, 2 sold', 'and nothing else');
SELECT is(shop.cancel_expired_orders(10), 0, 'another sweep finds nothing');
SELECT is((SELECT count(*) FROM holdfast.verify()), 0::bigint, 'every unit is accounted for');

-- Orders of sales give back what they took from the account's limit.
CREATE TABLE ended (orders uuid[]);
GRANT INSERT ON ended TO shop_owner;
GRANT USAGE ON SCHEMA public TO shop_owner;
CREATE OR REPLACE FUNCTION shop.orders_ended(p_accounts bigint[], p_orders uuid[]) RETURNS void LANGUAGE sql AS 'INSERT INTO public.ended VALUES (p_orders)';
SELECT order_of(:ann, :a, 'order-007') AS o1, order_of(:ann, :a, 'order-008') AS o2, order_of(:ann, :a, 'order-009') AS o3 \gset
UPDATE shop.order SET sale_id = 1 WHERE id IN (:'o1', :'o2', :'o3');
SELECT rest.order_cancel(:ann, :'o1') IS NOT NULL AS done \gset
SELECT expire(:'o2'), expire(:'o3');
SELECT shop.cancel_expired_orders(10) AS done \gset
SELECT bag_eq('SELECT unnest(orders) FROM ended', format('SELECT unnest(%L::uuid[])', ARRAY[:'o1', :'o2', :'o3']), 'sales are told of every order that ended unpaid');
SELECT finish();
ROLLBACK;

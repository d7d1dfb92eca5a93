-- Returns: units back to stock and their money to the buyer, each once.
\ir include/begin.sql
SELECT plan(27);

SELECT holdfast.add_provider('simulated');
SELECT sku('acme', 'a', 1000, 10) AS a, sku('acme', 'b', 250, 10) AS b, person('ann') AS ann, person('acme') AS seller \gset
CREATE FUNCTION bought(p_key text) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_order uuid;
BEGIN
    v_order := ((rest.order_place(person('ann'), p_key, format('{"items": [{"sku_id": "%s", "quantity": 3}, {"sku_id": "%s", "quantity": 2}]}', sku('acme', 'a'), sku('acme', 'b'))::jsonb)).body ->> 'id')::uuid;
    PERFORM rest.payment_create(person('ann'), v_order, p_key, '{"provider": "simulated", "method": "test_approve"}');
    PERFORM holdfast.simulate_provider();
    RETURN v_order;
END $$;
CREATE FUNCTION refunded(p_order uuid) RETURNS text LANGUAGE sql AS $$ SELECT format('%s of %s, %s on its way', refunded, captured, refunding) FROM holdfast.payments WHERE owner = p_order $$;

SELECT bought('order-001') AS o \gset
SELECT rest.order_return(:seller, :'o', 'return-01', '{"items": [{"line": 1, "quantity": 1}, {"line": 1, "quantity": 1}], "reason": "broken"}') AS r \gset
SELECT is((:'r'::rest.reply).body ->> 'status', 'paid', 'some came back: the order is what it was');
SELECT is((:'r'::rest.reply).body -> 'refund' ->> 'amount', '2000', 'their money goes back');
SELECT is(units(:a), '9 available, 0 held, 1 sold', 'they are in stock again');
SELECT is(refunded(:'o'), '0 of 3500, 2000 on its way', 'the provider is asked');
SELECT is((SELECT concat_ws(' ', action, from_status, to_status, reason) FROM shop.order_event WHERE order_id = :'o' ORDER BY n DESC LIMIT 1), 'return paid paid broken', 'history tells');
SELECT is((rest.order_return(:seller, :'o', 'return-01', '{"items": [{"line": 1, "quantity": 1}, {"line": 1, "quantity": 1}], "reason": "broken"}')).body::text, (:'r'::rest.reply).body::text,
    'the same request again gets the same answer');
SELECT is(units(:a), '9 available, 0 held, 1 sold', 'and returns nothing');
SELECT refuses(format($$SELECT rest.order_return(%s, %L, 'return-02', %L)$$, :seller, :'o', b), c, n, p) FROM (VALUES
    ('{"items": [{"line": 1, "quantity": 2}]}', 'HS307', 'no more than was bought and has not come back', '/items/0/quantity'),
    ('{"items": [{"line": 2, "quantity": 1}, {"line": 3, "quantity": 1}]}', 'HS015', 'no line that is not there', '/items/1/line'),
    ('{"items": [{"line": 1, "quantity": 0}]}', 'HS014', 'not nothing', '/items/0/quantity'),
    ('{"items": [{"line": 1}]}', 'HS010', 'a quantity is wanted', '/items/0/quantity'),
    ('{"items": []}', 'HS012', 'no lines are none', '/items'),
    ('{"items": 1}', 'HS011', 'lines are an array', '/items'),
    ('{"items": [1]}', 'HS011', 'of objects', '/items/0'),
    ('{"lines": []}', 'HS009', 'and nothing else', '/lines')) AS v (b, c, n, p);
SELECT is((rest.order_return(:seller, :'o', 'return-03', '{}')).body ->> 'status', 'returned', 'without lines all the rest comes back: the order is returned');
SELECT is(units(:a), '10 available, 0 held, 0 sold', 'all is in stock');
SELECT is(units(:b), '10 available, 0 held, 0 sold', 'of every SKU');
SELECT holdfast.simulate_provider() AS done \gset
SELECT is(refunded(:'o'), '3500 of 3500, 0 on its way', 'and all the money is back');
SELECT refuses(format($$SELECT rest.order_return(%s, %L, 'return-04', '{}')$$, :seller, :'o'), 'HS305', 'once');

-- Money without goods, goods without money.
SELECT bought('order-002') AS o \gset
SELECT payment AS p FROM holdfast.payments WHERE owner = :'o' \gset
SELECT is((rest.payment_refund(:seller, :'p', 'refund-01', '{"amount": 1000, "reason": "sorry"}')).status, 202, 'a merchant may give money back');
SELECT is(units(:a), '7 available, 0 held, 3 sold', 'the goods stay sold');
SELECT refuses(format($$SELECT rest.payment_refund(%s, %L, 'refund-02', '{"amount": 2501}')$$, :seller, :'p'), 'HF030', 'no more than was taken');
SELECT is((rest.order_return(:seller, :'o', 'return-05', '{"items": [{"line": 1, "quantity": 3}]}')).body -> 'refund' ->> 'amount', '2500', 'what has been given back is not given again');
SELECT is((rest.order_return(:seller, :'o', 'return-06', '{}')).body ->> 'refund', NULL, 'goods come back when there is no money left');
SELECT is((rest.order_get(:ann, :'o')).body ->> 'status', 'returned', 'and the order is returned');
SELECT is((SELECT count(*) FROM holdfast.verify()), 0::bigint, 'every unit and every penny is accounted for');
SELECT finish();
ROLLBACK;

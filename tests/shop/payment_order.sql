-- Payments of orders: an order is paid when its money is there, whoever says so, and waits no longer than its holds.
\ir include/begin.sql
SELECT plan(46);

SELECT holdfast.add_provider('simulated'), holdfast.add_provider('bank');
SELECT holdfast.set_webhook_secret('bank', 'whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=');
SELECT sku('acme', 'a', 1000, 100) AS a, person('ann') AS ann, person('eve') AS eve, person('acme') AS seller, merchant('rival') AS x, person('rival') AS rival, person('root', '{user,admin}') AS root \gset
CREATE FUNCTION order_of(p_actor bigint, p_key text) RETURNS uuid LANGUAGE sql AS $$
    SELECT ((rest.order_place(p_actor, p_key, format('{"items": [{"sku_id": "%s", "quantity": 1}]}', sku('acme', 'a'))::jsonb)).body ->> 'id')::uuid
$$;
CREATE FUNCTION pay(p_actor bigint, p_order uuid, p_key text, p_provider text DEFAULT 'bank', p_method text DEFAULT 'card') RETURNS rest.reply LANGUAGE sql AS $$
    SELECT rest.payment_create(p_actor, p_order, p_key, jsonb_build_object('provider', p_provider, 'method', p_method))
$$;
CREATE FUNCTION status_of(p_order uuid) RETURNS text LANGUAGE sql AS $$
    SELECT shop.effective_status(o.status, o.expires_at) || CASE WHEN o.expires_at = 'infinity' THEN ', for ever'
        WHEN o.expires_at = (SELECT min(h.expires_at) FROM holdfast.holds AS h WHERE h.owner = o.id AND h.state = 'held') THEN ', as long as its holds' ELSE ', until some time' END
    FROM shop.order AS o WHERE o.id = p_order
$$;

-- Asking.
SELECT order_of(:ann, 'order-001') AS o \gset
SELECT pay(:ann, :'o', 'pay-00001') AS r \gset
SELECT (:'r'::rest.reply).body ->> 'id' AS p \gset
SELECT is((:'r'::rest.reply).status, 202, 'the provider will be asked');
SELECT is((:'r'::rest.reply).location, '/v1/payments/' || :'p', 'the payment has a place');
SELECT is((:'r'::rest.reply).body ->> 'amount', '1000', 'it is for the total');
SELECT is(status_of(:'o'), 'pending_payment, for ever', 'meanwhile the order does not end');
SELECT is((pay(:ann, :'o', 'pay-00001')).body::text, (:'r'::rest.reply).body::text, 'the same request again gets the same answer');
SELECT refuses(format($$SELECT pay(%s, %L, 'pay-00001', 'simulated')$$, :ann, :'o'), 'HF021', 'another one with the key does not');
SELECT refuses(format($$SELECT pay(%s, %L, 'pay-00002')$$, :ann, :'o'), 'HF031', 'nor is there a second payment beside it');
SELECT refuses(format($$SELECT rest.order_cancel(%s, %L)$$, :ann, :'o'), 'HS306', 'and the order is not cancelled while its money is on its way');
SELECT is((SELECT string_agg((rest.payment_get(w, :'p')).body ->> 'state', ' ') FROM unnest(ARRAY[:ann, :seller, :root]) AS w), 'capturing capturing capturing', 'its user, its merchant and administrators see it');
SELECT refuses(format($$SELECT rest.payment_get(%s, %L)$$, w, :'p'), 'HS004', n) FROM (VALUES (:eve, 'others do not'), (:rival, 'nor do other merchants')) AS v (w, n);
SELECT refuses(format($$SELECT rest.payment_refund(%s, %L, 'refund-01', '{}')$$, w, :'p'), c, n) FROM (VALUES
    (:ann, 'HS003', 'its user does not give money back'), (:rival, 'HS004', 'nor does another merchant'), (:seller, 'HF028', 'and its merchant when he has it')) AS v (w, c, n);

-- Telling: by hand, by webhook, by the worker.
SELECT holdfast.record_result(:ann, :'p', 1, 'succeeded', 'ch_1') AS done \gset
SELECT is(status_of(:'o'), 'paid, for ever', 'captured: the order is paid');
SELECT is((SELECT count(*) FROM shop.job WHERE kind = 'payment_received' AND payload = jsonb_build_object('account_id', :ann::text, 'order_id', :'o', 'payment_id', :'p')), 1::bigint, 'and a job tells');
SELECT holdfast.record_result(:ann, :'p', 1, 'succeeded', 'ch_1') AS done \gset
SELECT is((SELECT count(*) FROM shop.order_event WHERE order_id = :'o'), 1::bigint, 'said twice, it is paid once');
SELECT refuses(format($$SELECT pay(%s, %L, 'pay-00003')$$, :ann, :'o'), 'HF031', 'what is paid is not paid again');
SELECT order_of(:ann, 'order-002') AS o \gset
SELECT (pay(:ann, :'o', 'pay-00004')).body ->> 'id' AS p \gset
CREATE FUNCTION webhook(p_id text, p_type text, p_key text, p_secret text DEFAULT 'whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=') RETURNS rest.reply LANGUAGE plpgsql AS $$
DECLARE
    v_body CONSTANT bytea := convert_to(jsonb_build_object('type', p_type, 'data', jsonb_build_object('key', p_key))::text, 'UTF8');
    v_at CONSTANT bigint := extract(epoch FROM clock_timestamp());
BEGIN
    RETURN rest.webhook_receive(NULL, 'bank', v_body, holdfast.sign_webhook('standard', p_secret, v_body, p_id, v_at), p_id, v_at::text);
END $$;
SELECT key AS call FROM holdfast.open_calls WHERE payment = :'p' \gset
SELECT refuses(format($$SELECT webhook('evt_1', 'call.succeeded', %L, 'whsec_eHl6eHl6eHl6eHl6eHl6eHl6eHl6eHl6eHl6eHl6eHg=')$$, :'call'), 'HF037', 'a webhook that somebody else has signed is refused');
SELECT is((webhook('evt_2', 'call.succeeded', :'call')).body ->> 'result', 'applied', 'a webhook that the provider has signed');
SELECT is(status_of(:'o'), 'paid, for ever', 'pays the order as well');
SELECT is((webhook('evt_2', 'call.succeeded', :'call')).body ->> 'result', 'duplicate', 'once');
SELECT refuses(format($$SELECT rest.webhook_receive(NULL, %L, '{}', 'v1,x', 'e', '1')$$, w), c, n) FROM (VALUES ('nobody', 'HF032', 'a provider that is none is refused'), (NULL, 'HF032', 'so is none')) AS v (w, c, n);
SELECT refuses($$SELECT rest.webhook_receive(NULL, 'bank', NULL, NULL, NULL, NULL)$$, 'HF036', 'and what has nothing in it');

-- Declined, given up, too late.
SELECT order_of(:ann, 'order-003') AS o \gset
SELECT (pay(:ann, :'o', 'pay-00005')).body ->> 'id' AS p \gset
SELECT holdfast.record_result(:ann, :'p', 1, 'declined') AS done \gset
SELECT is(status_of(:'o'), 'pending_payment, as long as its holds', 'declined: the order waits for another payment');
SELECT (pay(:ann, :'o', 'pay-00006')).body ->> 'id' AS p2 \gset
SELECT is(status_of(:'o'), 'pending_payment, for ever', 'which may come');
SELECT holdfast.record_result(:ann, :'p', 1, 'succeeded') AS done \gset
SELECT is(status_of(:'o'), 'pending_payment, for ever', 'the first one comes all the same: it goes back, and the second is waited for');
SELECT holdfast.record_result(:ann, :'p2', 1, 'unknown') AS done \gset
SELECT is(status_of(:'o'), 'pending_payment, for ever', 'nobody knows: the units stay');
SELECT is((rest.order_cancel(:ann, :'o')).body ->> 'status', 'cancelled', 'then it can be cancelled');
SELECT is((SELECT state FROM holdfast.payments WHERE payment = :'p2'), 'voided', 'the payment is given up');
SELECT holdfast.record_result(:ann, :'p2', 1, 'succeeded') AS done \gset
SELECT is((SELECT state FROM holdfast.payments WHERE payment = :'p2'), 'refunding', 'and its money goes back if it comes');
SELECT is(status_of(:'o'), 'cancelled, until some time', 'the order stays cancelled');
SELECT is(units(:a), '98 available, 0 held, 2 sold', 'its units are free');

-- By those who know nothing of orders.
SELECT order_of(:ann, 'order-004') AS o \gset
SELECT payment AS p FROM holdfast.create_payment(:ann, 'direct-001', 1000, 'EUR', 'bank', 'card', :'o') \gset
SELECT holdfast.capture_payment(:ann, :'p', 'direct-002') IS NULL AS done \gset
SELECT is(status_of(:'o'), 'pending_payment, for ever', 'a payment that was made past the shop counts');
SELECT holdfast.record_result(:ann, :'p', 1, 'succeeded') AS done \gset
SELECT is(status_of(:'o'), 'paid, for ever', 'like any other');
SELECT is((rest.order_get(:ann, :'o')).body -> 'payments' ->> 0, :'p'::text, 'and is among the order''s');
SELECT lives_ok(format($$SELECT holdfast.record_result(%s, p.payment, 1, 'succeeded') FROM holdfast.create_payment(%s, 'direct-003', 5, 'EUR', 'bank', 'card', NULL, 'capture') AS p$$, :ann, :ann), 'payments without owner concern nobody');
SELECT holdfast.reserve('0199f000-0000-7000-8000-000000000001'::uuid, :a, 1) AS done \gset
SELECT lives_ok(format($$SELECT holdfast.record_result(%s, p.payment, 1, 'succeeded') FROM holdfast.create_payment(%s, 'direct-004', 5, 'EUR', 'bank', 'card', '0199f000-0000-7000-8000-000000000001', 'capture') AS p$$, :ann, :ann), 'nor do those of owners that are no orders');

-- Not without end.
SELECT order_of(:ann, 'order-006') AS o \gset
SELECT count(holdfast.record_result(:ann, ((rest.payment_create(:ann, :'o', 'decline-000' || n, '{"provider": "bank", "method": "card"}')).body ->> 'id')::uuid, 1, 'declined')) AS declined
FROM generate_series(1, 5) AS n \gset
SELECT is(:declined, 5, 'five payments may be declined');
SELECT refuses(format($$SELECT rest.payment_create(%s, %L, 'decline-0006', '{"provider": "bank", "method": "card"}')$$, :ann, :'o'), 'HS308', 'the sixth is not begun');

-- What is refused.
SELECT order_of(:ann, 'order-005') AS o \gset
SELECT refuses(format($$SELECT rest.payment_create(%s, %L, 'pay-00007', %L)$$, w, :'o', b), c, n, p) FROM (VALUES
    (:eve, '{"provider": "bank", "method": "card"}', 'HS004', 'somebody else''s order', NULL),
    (:seller, '{"provider": "bank", "method": "card"}', 'HS003', 'a merchant for his buyer', NULL),
    (:ann, '{"provider": "external", "method": "card"}', 'HF032', 'the provider of imports', '/provider'),
    (:ann, '{"provider": "nobody", "method": "card"}', 'HF032', 'a provider that is none', NULL),
    (:ann, '{"provider": "bank"}', 'HS010', 'no method', '/method')) AS v (w, b, c, n, p);
SELECT finish();
ROLLBACK;

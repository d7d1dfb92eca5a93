-- listen_payments(): a function of yours is told of every change of a payment, in the same transaction.
\ir include/payments.sql
SELECT plan(20);

CREATE SCHEMA "My shop";
CREATE TABLE told (n serial, line text);
CREATE FUNCTION "My shop".payment_changed(p_account bigint, p_payment uuid, p_owner uuid, p_from text, p_to text) RETURNS void LANGUAGE sql SECURITY DEFINER AS $$
    INSERT INTO public.told (line) VALUES (format('%s %s %s: %s to %s', p_account, p_payment = md5('p1')::uuid, p_owner = md5('ann')::uuid, p_from, p_to))
$$;
SELECT lives_ok($$SELECT holdfast.listen_payments('"My shop".payment_changed')$$, 'a function listens');
SELECT lives_ok($$SELECT holdfast.listen_payments('"My shop".payment_changed')$$, 'asking twice');
SELECT is((SELECT array_agg(function) FROM holdfast.payment_listeners), ARRAY['"My shop".payment_changed'], 'lists it once');

SELECT holdfast.receive(1, 10);
SELECT holdfast.reserve(md5('ann')::uuid, 1::bigint, 1::bigint);
SELECT holdfast.create_payment(1, 'listen-0001', 1000, 'EUR', 'bank', 'card_1', md5('ann')::uuid, 'capture', md5('p1')::uuid);
SELECT is((SELECT count(*) FROM told), 0::bigint, 'what creates a payment knows it, and is not told');
SELECT is(holdfast.record_result(1, md5('p1')::uuid, 1, 'succeeded'), 'captured', 'what follows');
SELECT is((SELECT array_agg(line ORDER BY n) FROM told), ARRAY['1 t t: capturing to captured'], 'is told with account, payment, owner and states');
SELECT is(holdfast.record_result(1, md5('p1')::uuid, 1, 'succeeded'), 'captured', 'a result that comes twice');
SELECT is((SELECT count(*) FROM told), 1::bigint, 'is told once');
SELECT holdfast.refund_payment(1, md5('p1')::uuid, 'listen-0002', 100), holdfast.refund_payment(1, md5('p1')::uuid, 'listen-0003', 200);
SELECT is((SELECT count(*) FROM told), 1::bigint, 'what is only asked for is not told');
SELECT holdfast.record_result(1, md5('p1')::uuid, n, 'succeeded') FROM generate_series(2, 3) AS n;
SELECT is((SELECT array_agg(line ORDER BY n) FROM told WHERE n > 1), '{"1 t t: captured to partially_refunded","1 t t: partially_refunded to partially_refunded"}', 'each part that is refunded is, also where the state stays');

CREATE FUNCTION fails(bigint, uuid, uuid, text, text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RAISE 'no' USING ERRCODE = 'QQ001'; END $$;
SELECT holdfast.listen_payments('public.fails');
SELECT throws_ok($$SELECT holdfast.refund_payment(1, md5('p1')::uuid, 'listen-0004'), holdfast.record_result(1, md5('p1')::uuid, 4, 'succeeded')$$, 'QQ001', NULL,
    'what a listener raises undoes the change');
SELECT is((SELECT state FROM holdfast.payments), 'partially_refunded', 'all of it');
SELECT is(holdfast.unlisten_payments('public.fails'), true, 'it can be taken off the list');
SELECT is(holdfast.unlisten_payments('public.fails'), false, 'once');
SELECT is((SELECT count(*) FROM holdfast.payment_listeners), 1::bigint, 'the other one stays');
SELECT throws_ok($$SELECT holdfast.listen_payments('pg_catalog.now')$$, '42883', NULL, 'a function with other arguments is refused');
ALTER FUNCTION "My shop".payment_changed SECURITY INVOKER;
SELECT throws_ok($$SELECT holdfast.listen_payments('"My shop".payment_changed')$$, '42883', NULL, 'so is one that would run with the rights of the extension');
SELECT throws_ok($$SELECT holdfast.refund_payment(1, md5('p1')::uuid, 'listen-0005'), holdfast.record_result(1, md5('p1')::uuid, 4, 'succeeded')$$, '42501', NULL,
    'even if it is changed later');
SELECT throws_ok('SELECT holdfast.listen_payments(NULL)', '22004', NULL, 'so is none');
SELECT is((SELECT extconfig @> ARRAY['_holdfast.payment_listener'::regclass::oid] FROM pg_extension WHERE extname = 'holdfast'), true, 'the list is part of a dump');
SELECT finish();
ROLLBACK;

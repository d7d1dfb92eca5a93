-- Verify shop:order_payment on pg
BEGIN;
SELECT 1 / count(*) FROM holdfast.payment_listeners WHERE function = 'shop.payment_changed';
SELECT 1 / count(*) FROM shop.order_transition WHERE from_status = 'cancelled' AND action = 'pay';
SELECT 'shop.payment_changed(bigint, uuid, uuid, text, text)'::regprocedure, 'shop.pay_order(bigint, uuid, text, text, text)'::regprocedure,
    'shop.return_order(bigint, uuid, text, integer[], bigint[], bigint, bigint, text, timestamptz)'::regprocedure;
SELECT 1 / (has_schema_privilege('shop_worker', 'holdfast', 'USAGE') AND has_function_privilege('shop_worker', f, 'EXECUTE'))::integer
FROM unnest(ARRAY['holdfast.claim_calls(text, integer, interval)', 'holdfast.record_results(bigint[], uuid[], integer[], text[], text[], text[])',
    'holdfast.simulate_provider(integer)']) AS f;
ROLLBACK;

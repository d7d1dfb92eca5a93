-- Revert shop:order_payment from pg
BEGIN;
REVOKE ALL ON FUNCTION holdfast.claim_calls(text, integer, interval), holdfast.record_results(bigint[], uuid[], integer[], text[], text[], text[]),
    holdfast.simulate_provider(integer) FROM shop_worker;
REVOKE ALL ON SCHEMA holdfast FROM shop_worker;
SELECT holdfast.unlisten_payments('shop.payment_changed');
DROP FUNCTION shop.return_order(bigint, uuid, text, integer[], bigint[], bigint, bigint, text, timestamptz);
DROP FUNCTION shop.pay_order(bigint, uuid, text, text, text);
DROP FUNCTION shop.payment_changed(bigint, uuid, uuid, text, text);
DELETE FROM shop.order_transition WHERE from_status = 'cancelled' AND action = 'pay';
COMMIT;

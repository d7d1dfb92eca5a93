-- Revert shop:order_status from pg
BEGIN;
DROP FUNCTION shop.cancel_expired_orders(integer);
DROP FUNCTION shop.take_buyers(bigint[], uuid[]);
DROP FUNCTION shop.cancel_order(bigint, uuid, bigint, text, text);
DROP FUNCTION shop.change_order(bigint, uuid, text, bigint, text, text, timestamptz);
DROP FUNCTION shop.units_returned(bigint[], bigint[]);
DROP FUNCTION shop.orders_ended(bigint[], uuid[]);
DROP FUNCTION shop.effective_status(text, timestamptz);
DROP INDEX shop.order_merchant_status_idx;
DROP TABLE shop.order_payment;
DELETE FROM shop.problem WHERE code BETWEEN 'HS305' AND 'HS308';
COMMIT;

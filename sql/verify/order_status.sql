-- Verify shop:order_status on pg
BEGIN;
SELECT account_id, order_id, payment_id FROM shop.order_payment WHERE false;
SELECT 1 / (count(*) = 3)::integer FROM shop.problem WHERE code BETWEEN 'HS305' AND 'HS307';
SELECT 'shop.order_merchant_status_idx'::regclass, 'shop.order_payment_payment_idx'::regclass,
    'shop.effective_status(text, timestamptz)'::regprocedure,
    'shop.orders_ended(bigint[], uuid[])'::regprocedure, 'shop.units_returned(bigint[], bigint[])'::regprocedure,
    'shop.change_order(bigint, uuid, text, bigint, text, text, timestamptz)'::regprocedure,
    'shop.cancel_order(bigint, uuid, bigint, text, text)'::regprocedure, 'shop.cancel_expired_orders(integer)'::regprocedure;
ROLLBACK;

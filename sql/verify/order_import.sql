-- Verify shop:order_import on pg
BEGIN;
SELECT merchant_id, channel, customer, account_id FROM shop.channel_customer WHERE false;
SELECT merchant_id, channel, reference, account_id, order_id FROM shop.channel_order WHERE false;
SELECT merchant_id, channel, reference, code, n, account_id, order_id, line, quantity, amount FROM shop.channel_return WHERE false;
SELECT 1 / (count(*) = 3)::integer FROM shop.problem WHERE code BETWEEN 'HS310' AND 'HS312';
SELECT 'shop.uuid7_at(timestamptz)'::regprocedure, 'shop.check_import(bigint, text, integer, integer[])'::regprocedure,
    'shop.import_orders(bigint, text, text, text[], text[], text[], timestamptz[], text[], bigint[], bigint[])'::regprocedure,
    'shop.import_returns(bigint, text, text[], text[], text[], bigint[], bigint[], timestamptz[])'::regprocedure;
ROLLBACK;

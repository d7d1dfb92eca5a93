-- Revert shop:order_import from pg
-- The provider external stays: payments speak of it.
BEGIN;
DROP FUNCTION shop.import_returns(bigint, text, text[], text[], text[], bigint[], bigint[], timestamptz[]);
DROP FUNCTION shop.import_orders(bigint, text, text, text[], text[], text[], timestamptz[], text[], bigint[], bigint[]);
DROP FUNCTION shop.check_import(bigint, text, integer, integer[]);
DROP FUNCTION shop.uuid7_at(timestamptz);
DROP TABLE shop.channel_return;
DROP TABLE shop.channel_order;
DROP TABLE shop.channel_customer;
DELETE FROM shop.problem WHERE code BETWEEN 'HS310' AND 'HS312';
COMMIT;

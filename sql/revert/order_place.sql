-- Revert shop:order_place from pg
BEGIN;
DROP FUNCTION shop.place_orders(bigint, integer, integer[], integer[], bigint[], bigint[], bigint[], text);
DROP FUNCTION shop.read_orders(jsonb);
DROP FUNCTION shop.pay_within();
DROP TABLE shop.order_setting;
DELETE FROM shop.problem WHERE code BETWEEN 'HS301' AND 'HS304';
COMMIT;

-- Verify shop:order_place on pg
BEGIN;
SELECT 1 / count(*) FROM shop.order_setting;
SELECT 1 / (count(*) = 4)::integer FROM shop.problem WHERE code BETWEEN 'HS301' AND 'HS304';
SELECT 'shop.pay_within()'::regprocedure, 'shop.read_orders(jsonb)'::regprocedure,
    'shop.place_orders(bigint, integer, integer[], integer[], bigint[], bigint[], bigint[], text)'::regprocedure;
ROLLBACK;

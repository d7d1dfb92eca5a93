-- Verify shop:sale_state on pg
BEGIN;
SELECT swept_at, settled_at FROM shop.sale WHERE false;
SELECT id, now, available, state FROM shop.sale_now WHERE false;
SELECT 1 / (shop.sale_state(now(), NULL, now(), now() + interval '1 hour', now(), 1) = 'open')::integer;
SELECT 1 / (shop.sale_refusal('closed') = 'HS402')::integer;
SELECT has_function_privilege('shop.check_sale(bigint, bigint, timestamptz, timestamptz, bigint)', 'EXECUTE');
SELECT has_function_privilege('shop.create_sale(bigint, bigint, bigint, bigint, timestamptz, timestamptz, bigint, integer)', 'EXECUTE');
SELECT has_function_privilege('shop.update_sale(bigint, integer, bigint, bigint, timestamptz, timestamptz, bigint, integer)', 'EXECUTE');
SELECT has_function_privilege('shop.preheat_sale(bigint)', 'EXECUTE'), has_function_privilege('shop.sale_checks(bigint)', 'EXECUTE'),
       has_function_privilege('shop.sale_lanes(bigint)', 'EXECUTE');
SELECT has_function_privilege('shop.close_sale(bigint)', 'EXECUTE'), has_function_privilege('shop.close_sales(integer, boolean)', 'EXECUTE'),
       has_function_privilege('shop.return_leftovers(bigint[])', 'EXECUTE'), has_function_privilege('shop.sales_ended(bigint[])', 'EXECUTE');
SELECT 1 / (position('settled_at' IN prosrc) > 0)::integer FROM pg_proc WHERE oid = 'shop.units_returned(bigint[], bigint[])'::regprocedure;
SELECT 1 / (count(*) = 6)::integer FROM shop.problem WHERE code BETWEEN 'HS401' AND 'HS406';
ROLLBACK;

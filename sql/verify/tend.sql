-- Verify shop:tend on pg
BEGIN;
SELECT 'shop.purge(integer)'::regprocedure, 'shop.refresh_reports()'::regprocedure, 'shop.tend_partitions()'::regprocedure;
SELECT 1 / has_function_privilege('shop_worker', f, 'EXECUTE')::integer FROM unnest(ARRAY['shop.tend(integer)', 'shop.tend_daily()']) AS f;
ROLLBACK;

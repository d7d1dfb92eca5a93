-- Verify shop:grant on pg
BEGIN;
SELECT 1 / (count(*) = 0)::integer FROM pg_proc AS p
WHERE p.pronamespace = 'rest'::regnamespace AND NOT has_function_privilege('shop_api', p.oid, 'EXECUTE');
SELECT 1 / (count(*) = 0)::integer FROM pg_proc AS p
WHERE p.pronamespace = 'shop'::regnamespace AND has_function_privilege('shop_api', p.oid, 'EXECUTE');
ROLLBACK;

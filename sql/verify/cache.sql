-- Verify shop:cache on pg
BEGIN;
SELECT 1 / (count(DISTINCT table_name) = 9 AND bool_and(fires_always))::integer FROM holdfast.watched WHERE table_name::text LIKE 'shop.%';
ROLLBACK;

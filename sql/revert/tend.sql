-- Revert shop:tend from pg
BEGIN;
DROP FUNCTION shop.tend_daily();
DROP FUNCTION shop.tend_partitions();
DROP FUNCTION shop.refresh_reports();
DROP FUNCTION shop.purge(integer);
DROP FUNCTION shop.tend(integer);
COMMIT;

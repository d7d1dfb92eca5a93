-- Revert shop:rest_operations from pg
BEGIN;
DROP FUNCTION rest.metrics(bigint);
DROP FUNCTION shop.work_figures();
DROP FUNCTION shop.shop_figures();
DROP FUNCTION shop.extension_figures();
DROP FUNCTION shop.metric_families();
DROP FUNCTION rest.ready(bigint);
DROP FUNCTION shop.job_pulse();
DROP FUNCTION shop.job_figures(integer);
COMMIT;

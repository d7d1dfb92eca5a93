-- Verify shop:rest_operations on pg
BEGIN;
SELECT 'shop.job_figures(integer)'::regprocedure, 'shop.job_pulse()'::regprocedure, 'rest.ready(bigint)'::regprocedure, 'shop.metric_families()'::regprocedure,
    'shop.extension_figures()'::regprocedure, 'shop.shop_figures()'::regprocedure, 'shop.work_figures()'::regprocedure, 'rest.metrics(bigint)'::regprocedure;
ROLLBACK;

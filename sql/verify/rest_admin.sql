-- Verify shop:rest_admin on pg
BEGIN;
SELECT 'shop.verify()'::regprocedure, 'shop.job_json(shop.job_list)'::regprocedure, 'shop.job_monitor()'::regprocedure, 'shop.job_reply(uuid)'::regprocedure,
    'rest.admin_jobs(bigint, jsonb)'::regprocedure, 'rest.admin_job_retry(bigint, uuid)'::regprocedure, 'rest.admin_job_cancel(bigint, uuid)'::regprocedure,
    'rest.admin_locks(bigint)'::regprocedure, 'rest.admin_cache(bigint)'::regprocedure, 'rest.admin_invariants(bigint)'::regprocedure;
ROLLBACK;

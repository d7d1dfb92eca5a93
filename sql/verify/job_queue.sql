-- Verify shop:job_queue on pg
BEGIN;
SELECT 'shop.enqueue(text, jsonb, text, timestamptz, integer)'::regprocedure;
SELECT 'shop.empty_job_slot(integer, integer, boolean)'::regprocedure;
SELECT 'shop.take_job_key(text, uuid)'::regprocedure;
SELECT 'shop.end_attempts(uuid[], uuid[], text[], boolean)'::regprocedure;
SELECT 'shop.tend_jobs()'::regprocedure;
SELECT 'shop.cancel_job(uuid)'::regprocedure;
SELECT 'shop.retry_job(uuid)'::regprocedure;
SELECT 1 / has_function_privilege('shop_worker', f, 'EXECUTE')::integer
FROM unnest(ARRAY['shop.claim_jobs(text, text[], integer, interval)', 'shop.heartbeat_jobs(uuid, uuid[], interval)', 'shop.finish_jobs(uuid, uuid[])',
    'shop.fail_jobs(uuid, uuid[], text[], boolean)', 'shop.release_jobs(uuid, uuid[])', 'shop.run_periodic()']) AS f;
ROLLBACK;

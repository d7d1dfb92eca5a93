-- Revert shop:job_queue from pg
BEGIN;
DROP FUNCTION shop.run_periodic();
DROP FUNCTION shop.retry_job(uuid);
DROP FUNCTION shop.cancel_job(uuid);
DROP FUNCTION shop.release_jobs(uuid, uuid[]);
DROP FUNCTION shop.fail_jobs(uuid, uuid[], text[], boolean);
DROP FUNCTION shop.finish_jobs(uuid, uuid[]);
DROP FUNCTION shop.heartbeat_jobs(uuid, uuid[], interval);
DROP FUNCTION shop.claim_jobs(text, text[], integer, interval);
DROP FUNCTION shop.tend_jobs();
DROP FUNCTION shop.end_attempts(uuid[], uuid[], text[], boolean);
DROP FUNCTION shop.empty_job_slot(integer, integer, boolean);
DROP FUNCTION shop.enqueue(text, jsonb, text, timestamptz, integer);
DROP FUNCTION shop.take_job_key(text, uuid);
COMMIT;

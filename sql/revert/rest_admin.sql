-- Revert shop:rest_admin from pg
BEGIN;
DROP FUNCTION rest.admin_invariants(bigint);
DROP FUNCTION rest.admin_cache(bigint);
DROP FUNCTION rest.admin_locks(bigint);
DROP FUNCTION rest.admin_job_cancel(bigint, uuid);
DROP FUNCTION rest.admin_job_retry(bigint, uuid);
DROP FUNCTION shop.job_reply(uuid);
DROP FUNCTION rest.admin_jobs(bigint, jsonb);
DROP FUNCTION shop.job_monitor();
DROP FUNCTION shop.job_json(shop.job_list);
DROP FUNCTION shop.verify();
COMMIT;

-- Revert shop:rest_job from pg
BEGIN;
DROP FUNCTION rest.admin_job_kind_retry(bigint, text, jsonb);
DROP FUNCTION rest.admin_job_kind_update(bigint, text, jsonb);
DROP FUNCTION rest.admin_job_kinds(bigint);
DROP FUNCTION rest.admin_job_cancel(bigint, uuid);
DROP FUNCTION rest.admin_job_retry(bigint, uuid);
DROP FUNCTION shop.tell_delivery(uuid, text);
DROP FUNCTION rest.admin_job_get(bigint, uuid);
DROP FUNCTION shop.job_reply(uuid);
DROP FUNCTION rest.admin_jobs(bigint, jsonb);
DROP FUNCTION shop.job_monitor();
DROP FUNCTION shop.kinds_json();
DROP FUNCTION shop.kind_settings(shop.job_kind);
DROP FUNCTION shop.job_detail(uuid);
DROP FUNCTION shop.job_json(shop.job_list);
DROP FUNCTION shop.seconds(interval);
COMMIT;

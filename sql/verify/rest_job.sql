-- Verify shop:rest_job on pg
BEGIN;
SELECT 'shop.seconds(interval)'::regprocedure, 'shop.job_json(shop.job_list)'::regprocedure, 'shop.job_detail(uuid)'::regprocedure, 'shop.kind_settings(shop.job_kind)'::regprocedure, 'shop.kinds_json()'::regprocedure,
    'shop.job_monitor()'::regprocedure, 'shop.job_reply(uuid)'::regprocedure, 'shop.tell_delivery(uuid, text)'::regprocedure, 'rest.admin_jobs(bigint, jsonb)'::regprocedure, 'rest.admin_job_get(bigint, uuid)'::regprocedure,
    'rest.admin_job_retry(bigint, uuid)'::regprocedure, 'rest.admin_job_cancel(bigint, uuid)'::regprocedure, 'rest.admin_job_kinds(bigint)'::regprocedure,
    'rest.admin_job_kind_update(bigint, text, jsonb)'::regprocedure, 'rest.admin_job_kind_retry(bigint, text, jsonb)'::regprocedure;
ROLLBACK;

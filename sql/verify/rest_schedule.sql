-- Verify shop:rest_schedule on pg
BEGIN;
SELECT 'shop.schedule_json(text)'::regprocedure, 'shop.schedule_reply(text)'::regprocedure, 'rest.admin_schedules(bigint)'::regprocedure,
    'rest.admin_schedule_update(bigint, text, jsonb)'::regprocedure, 'rest.admin_schedule_run(bigint, text)'::regprocedure;
ROLLBACK;

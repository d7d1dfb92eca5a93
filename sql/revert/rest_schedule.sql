-- Revert shop:rest_schedule from pg
BEGIN;
DROP FUNCTION rest.admin_schedule_run(bigint, text);
DROP FUNCTION rest.admin_schedule_update(bigint, text, jsonb);
DROP FUNCTION rest.admin_schedules(bigint);
DROP FUNCTION shop.schedule_reply(text);
DROP FUNCTION shop.schedule_json(text);
COMMIT;

-- Verify shop:schedule on pg
BEGIN;
SELECT name, every, at, active, by_cron, command, does FROM shop.schedule WHERE false;
SELECT name, next_at, last_run_at, last_ok_at, runs, failures, took, last_by, last_error FROM shop.schedule_run WHERE false;
SELECT 'shop.next_run(interval, interval, timestamptz)'::regprocedure, 'shop.cron_text(interval, interval)'::regprocedure, 'shop.schedule_tending()'::regprocedure;
SELECT 1 / has_function_privilege('shop_worker', f, 'EXECUTE')::integer FROM unnest(ARRAY['shop.run_schedule(text, boolean)', 'shop.run_schedules(integer)']) AS f;
SELECT 1 / count(*) FROM shop.problem WHERE code = 'HS701';
ROLLBACK;

-- Revert shop:schedule from pg
BEGIN;
DO $$
BEGIN
    IF to_regclass('cron.job') IS NOT NULL THEN
        EXECUTE 'SELECT cron.unschedule(j.jobid) FROM cron.job AS j WHERE j.jobname ~ ''^shop\.'' AND j.database = current_database()';
    END IF;
END $$;
DROP FUNCTION shop.schedule_tending();
DROP FUNCTION shop.run_schedules(integer);
DROP FUNCTION shop.run_schedule(text, boolean);
DROP FUNCTION shop.cron_text(interval, interval);
DROP FUNCTION shop.next_run(interval, interval, timestamptz);
DELETE FROM shop.problem WHERE code = 'HS701';
DROP TABLE shop.schedule_run;
DROP TABLE shop.schedule;
DROP FUNCTION shop.schedule_added();
COMMIT;

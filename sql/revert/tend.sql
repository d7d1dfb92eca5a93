-- Revert shop:tend from pg
BEGIN;
DO $$
BEGIN
    IF to_regclass('cron.job') IS NOT NULL THEN
        EXECUTE 'SELECT cron.unschedule(jobid) FROM cron.job WHERE jobname IN (''shop.tend'', ''shop.tend_daily'')';
    END IF;
END $$;
DROP FUNCTION shop.schedule_tending();
DROP FUNCTION shop.tend_daily();
DROP FUNCTION shop.tend(integer);
COMMIT;

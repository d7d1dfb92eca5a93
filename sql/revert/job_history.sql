-- Revert shop:job_history from pg
BEGIN;
DROP FUNCTION shop.add_failure(jsonb, integer, timestamptz, text, text);
DROP FUNCTION shop.sum_jobs(integer, boolean);
DROP TABLE shop.job_total;
COMMIT;

-- Revert shop:job_history from pg
BEGIN;
DROP FUNCTION shop.forget_jobs();
DROP FUNCTION shop.buried_payload(jsonb);
DROP FUNCTION shop.add_failure(jsonb, integer, timestamptz, text, text);
DROP FUNCTION shop.sum_jobs(integer, boolean);
DROP FUNCTION shop.step_duration(integer);
DROP FUNCTION shop.duration_step(interval);
DROP TABLE shop.job_duration;
DROP TABLE shop.job_total;
COMMIT;

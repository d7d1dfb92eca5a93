-- Verify shop:job_history on pg
BEGIN;
SELECT slot, kind, event, jobs, took FROM shop.job_total WHERE false;
SELECT 'shop.sum_jobs(integer, boolean)'::regprocedure, 'shop.add_failure(jsonb, integer, timestamptz, text, text)'::regprocedure;
ROLLBACK;

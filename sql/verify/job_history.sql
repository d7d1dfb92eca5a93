-- Verify shop:job_history on pg
BEGIN;
SELECT slot, kind, event, jobs, took FROM shop.job_total WHERE false;
SELECT at, slot, kind, event, step, jobs FROM shop.job_duration WHERE false;
SELECT 1 / (shop.duration_step(shop.step_duration(20)) = 20)::integer;
SELECT 'shop.sum_jobs(integer, boolean)'::regprocedure, 'shop.add_failure(jsonb, integer, timestamptz, text, text)'::regprocedure,
    'shop.buried_payload(jsonb)'::regprocedure, 'shop.forget_jobs()'::regprocedure;
ROLLBACK;

-- Revert shop:job_report from pg
BEGIN;
REVOKE USAGE ON SCHEMA shop FROM pg_monitor;
DROP VIEW shop.job_reason;
DROP VIEW shop.job_worker;
DROP VIEW shop.job_summary;
DROP VIEW shop.job_percentile;
DROP VIEW shop.job_throughput;
DROP VIEW shop.job_failed;
DROP VIEW shop.job_running;
DROP VIEW shop.job_waiting;
DROP VIEW shop.job_list;
COMMIT;

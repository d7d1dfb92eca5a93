-- Verify shop:job_report on pg
BEGIN;
SELECT id, ended, state, kind, priority, key, attempts, enqueued_at, due_at, claimed_at, leased_until, worker, error, ended_at FROM shop.job_list WHERE false;
SELECT id, kind, late, state FROM shop.job_waiting WHERE false;
SELECT id, kind, worker, running, overdue FROM shop.job_running WHERE false;
SELECT id, state, kind, error, failed_at, next_at FROM shop.job_failed WHERE false;
SELECT minute, kind, claimed, finished, retried, died, cancelled, wait_average, wait_longest, run_average, run_longest FROM shop.job_throughput WHERE false;
SELECT kind, event, quantile, took FROM shop.job_percentile WHERE false;
SELECT kind, waiting, running, dead, oldest_due_at, finished_hour, finished_per_minute, workers, wait_p50, wait_p95, wait_p99, run_p50, run_p95, run_p99 FROM shop.job_summary WHERE false;
SELECT worker, seen_at, running, finished, failed, alive, started_at, stopped_at, host, pid, version, kinds, work FROM shop.job_worker WHERE false;
SELECT kind, error, jobs, dead, last_at FROM shop.job_reason WHERE false;
SELECT 1 / (has_schema_privilege('pg_monitor', 'shop', 'USAGE') AND has_table_privilege('pg_monitor', 'shop.job_worker', 'SELECT'))::integer;
ROLLBACK;

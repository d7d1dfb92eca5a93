-- Verify shop:job on pg
BEGIN;
SELECT kind, attempts, concurrency, lease, backoff, backoff_max, paused FROM shop.job_kind WHERE false;
SELECT one, slot, later FROM shop.job_head WHERE false;
SELECT slot, emptied_at FROM shop.job_slot WHERE false;
SELECT kind, priority FROM shop.job_lane WHERE false;
SELECT id, due_at, enqueued_at, claimed_at, leased_until, lease, priority, attempts, slot, kind, key, worker, error, payload FROM shop.job WHERE false;
SELECT at, due_at, job_id, took, longest, jobs, priority, slot, step, event, kind, worker FROM shop.job_log WHERE false;
SELECT key, job_id FROM shop.job_key WHERE false;
SELECT id, enqueued_at, died_at, priority, attempts, cancelled, kind, key, worker, error, payload FROM shop.job_dead WHERE false;
SELECT minute, summed_at, took, longest, jobs, event, kind FROM shop.job_minute WHERE false;
SELECT name, every, next_at, kind, payload, priority FROM shop.job_periodic WHERE false;
SELECT 1 / count(*) FROM shop.problem WHERE code = 'HS501';
ROLLBACK;

-- Deploy shop:job_report to pg
-- requires: worker
--
-- Views of the queue for a monitor: what waits, runs, has failed, goes through, and who works. They read with their
-- owner's rights and lock nothing but the slots' tables, for as long as their transaction lasts; one that stays open keeps
-- slots from being truncated. Payloads are not in them: they are for workers. Who is a member of pg_monitor reads them.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE VIEW shop.job_list AS
SELECT j.id, false AS ended,
       CASE WHEN j.lease IS NOT NULL THEN 'running' WHEN j.due_at <= clock_timestamp() THEN 'waiting'
            WHEN j.attempts > 0 THEN 'retrying' ELSE 'scheduled' END AS state,
       j.kind, j.priority, j.key, j.attempts, j.enqueued_at, j.due_at, j.claimed_at, j.leased_until, j.worker, j.error, NULL::timestamptz AS ended_at
FROM shop.job AS j
UNION ALL
SELECT d.id, true, CASE WHEN d.cancelled THEN 'cancelled' ELSE 'dead' END,
       d.kind, d.priority, d.key, d.attempts, d.enqueued_at, NULL, NULL, NULL, d.worker, d.error, d.died_at
FROM shop.job_dead AS d;
COMMENT ON VIEW shop.job_list IS
'All jobs that are not finished. state: waiting (due), scheduled (not yet due), retrying (has failed, and waits for its next attempt), running, dead, cancelled. ended: dead or cancelled. worker and error are those of the last attempt.';

CREATE VIEW shop.job_waiting AS
SELECT l.id, l.kind, l.priority, l.key, l.attempts, l.enqueued_at, l.due_at, clock_timestamp() - l.due_at AS late, l.state, l.error
FROM shop.job_list AS l WHERE NOT l.ended AND l.state IN ('waiting', 'scheduled', 'retrying');
COMMENT ON VIEW shop.job_waiting IS 'Jobs that nobody works on. late: for how long they have been due; negative if they are not.';

CREATE VIEW shop.job_running AS
SELECT l.id, l.kind, l.worker, l.attempts, l.claimed_at, clock_timestamp() - l.claimed_at AS running, l.leased_until,
       l.leased_until < clock_timestamp() AS overdue, l.error
FROM shop.job_list AS l WHERE NOT l.ended AND l.state = 'running';
COMMENT ON VIEW shop.job_running IS 'Jobs that are claimed, by whom and since when. overdue: the lease has run out, and the job is about to be tried again. error: of the attempt before.';

CREATE VIEW shop.job_failed AS
SELECT l.id, l.state, l.kind, l.priority, l.key, l.attempts, l.enqueued_at, l.worker, l.error,
       coalesce(l.ended_at, l.claimed_at) AS failed_at, l.due_at AS next_at
FROM shop.job_list AS l WHERE l.error IS NOT NULL OR l.state = 'dead';
COMMENT ON VIEW shop.job_failed IS 'Jobs whose last attempt has failed, with the reason: dead, or to be tried again at next_at. failed_at: when they died, or when the attempt began.';

CREATE VIEW shop.job_throughput AS
SELECT e.minute, e.kind,
       coalesce(sum(e.jobs) FILTER (WHERE e.event = 'claim'), 0)::bigint AS claimed,
       coalesce(sum(e.jobs) FILTER (WHERE e.event = 'finish'), 0)::bigint AS finished,
       coalesce(sum(e.jobs) FILTER (WHERE e.event = 'retry'), 0)::bigint AS retried,
       coalesce(sum(e.jobs) FILTER (WHERE e.event = 'die'), 0)::bigint AS died,
       coalesce(sum(e.jobs) FILTER (WHERE e.event = 'cancel'), 0)::bigint AS cancelled,
       sum(e.took) FILTER (WHERE e.event = 'claim') / nullif(sum(e.jobs) FILTER (WHERE e.event = 'claim'), 0) AS wait_average,
       max(e.longest) FILTER (WHERE e.event = 'claim') AS wait_longest,
       sum(e.took) FILTER (WHERE e.event = 'finish') / nullif(sum(e.jobs) FILTER (WHERE e.event = 'finish'), 0) AS run_average,
       max(e.longest) FILTER (WHERE e.event = 'finish') AS run_longest
FROM (SELECT m.minute, m.kind, m.event, m.jobs, m.took, m.longest FROM shop.job_minute AS m
      UNION ALL
      SELECT date_trunc('minute', g.at), g.kind, g.event, g.jobs, g.took, g.longest FROM shop.job_log AS g WHERE g.event NOT IN ('tend', 'busy', 'look')) AS e
GROUP BY e.minute, e.kind;
COMMENT ON VIEW shop.job_throughput IS
'By minute and kind, for 30 days: jobs claimed, finished, failed and to be tried again (retried), died and cancelled; how long they waited after they were due until they were claimed, and how long those that were finished ran.';

CREATE VIEW shop.job_percentile AS
SELECT s.kind, s.event, q.quantile, shop.step_duration(min(s.step)) AS took
FROM (SELECT d.kind, d.event, d.step, sum(sum(d.jobs)) OVER (PARTITION BY d.kind, d.event ORDER BY d.step) AS so_far, sum(sum(d.jobs)) OVER (PARTITION BY d.kind, d.event) AS jobs
      FROM shop.job_duration AS d WHERE d.at > clock_timestamp() - interval '1 h' GROUP BY d.kind, d.event, d.step) AS s,
     unnest('{0.5,0.95,0.99}'::numeric[]) AS q (quantile)
WHERE s.so_far >= q.quantile * s.jobs
GROUP BY s.kind, s.event, q.quantile;
COMMENT ON VIEW shop.job_percentile IS
'How long this part (quantile) of the jobs of a kind has waited at most after they were due, until they were claimed (claim), or run at most until they were finished (finish), in the last hour but for some seconds. Rounded up, by a quarter at most.';

CREATE VIEW shop.job_summary AS
SELECT k.kind, k.paused, k.concurrency, coalesce(j.waiting, 0) AS waiting, coalesce(j.scheduled, 0) AS scheduled, coalesce(j.retrying, 0) AS retrying,
       coalesce(j.running, 0) AS running, coalesce(j.overdue, 0) AS overdue, coalesce(d.dead, 0) AS dead,
       j.oldest_due_at, clock_timestamp() - j.oldest_due_at AS oldest_late,
       coalesce(t.finished, 0) AS finished_hour, coalesce(t.retried, 0) AS retried_hour, coalesce(t.died, 0) AS died_hour, t.wait_average, t.run_average,
       t.wait_longest, t.run_longest, coalesce(t.finished_minutes, 0) / 5.0 AS finished_per_minute,
       (SELECT count(*) FROM shop.worker AS w WHERE w.kinds @> ARRAY[k.kind] AND shop.is_alive(w)) AS workers,
       CASE WHEN p.wait_p50 > t.wait_longest THEN t.wait_longest ELSE p.wait_p50 END AS wait_p50, CASE WHEN p.wait_p95 > t.wait_longest THEN t.wait_longest ELSE p.wait_p95 END AS wait_p95, CASE WHEN p.wait_p99 > t.wait_longest THEN t.wait_longest ELSE p.wait_p99 END AS wait_p99,
       CASE WHEN p.run_p50 > t.run_longest THEN t.run_longest ELSE p.run_p50 END AS run_p50, CASE WHEN p.run_p95 > t.run_longest THEN t.run_longest ELSE p.run_p95 END AS run_p95, CASE WHEN p.run_p99 > t.run_longest THEN t.run_longest ELSE p.run_p99 END AS run_p99
FROM shop.job_kind AS k
LEFT JOIN (SELECT l.kind, count(*) FILTER (WHERE l.state = 'waiting') AS waiting, count(*) FILTER (WHERE l.state = 'scheduled') AS scheduled,
                  count(*) FILTER (WHERE l.state = 'retrying') AS retrying, count(*) FILTER (WHERE l.state = 'running') AS running,
                  count(*) FILTER (WHERE l.state = 'running' AND l.leased_until < clock_timestamp()) AS overdue,
                  min(l.due_at) FILTER (WHERE l.state = 'waiting') AS oldest_due_at
           FROM shop.job_list AS l WHERE NOT l.ended GROUP BY l.kind) AS j ON j.kind = k.kind
LEFT JOIN (SELECT x.kind, count(*) AS dead FROM shop.job_dead AS x WHERE NOT x.cancelled GROUP BY x.kind) AS d ON d.kind = k.kind
LEFT JOIN (SELECT m.kind, sum(m.finished) AS finished, sum(m.retried) AS retried, sum(m.died) AS died,
                  sum(m.wait_average * m.claimed) / nullif(sum(m.claimed) FILTER (WHERE m.wait_average IS NOT NULL), 0) AS wait_average,
                  sum(m.run_average * m.finished) / nullif(sum(m.finished) FILTER (WHERE m.run_average IS NOT NULL), 0) AS run_average,
                  max(m.wait_longest) AS wait_longest, max(m.run_longest) AS run_longest,
                  sum(m.finished) FILTER (WHERE m.minute >= date_trunc('minute', clock_timestamp()) - interval '5 min'
                                            AND m.minute < date_trunc('minute', clock_timestamp())) AS finished_minutes
           FROM shop.job_throughput AS m WHERE m.minute > clock_timestamp() - interval '1 h' GROUP BY m.kind) AS t ON t.kind = k.kind
LEFT JOIN (SELECT x.kind,
                  max(x.took) FILTER (WHERE x.event = 'claim' AND x.quantile = 0.5) AS wait_p50, max(x.took) FILTER (WHERE x.event = 'claim' AND x.quantile = 0.95) AS wait_p95,
                  max(x.took) FILTER (WHERE x.event = 'claim' AND x.quantile = 0.99) AS wait_p99, max(x.took) FILTER (WHERE x.event = 'finish' AND x.quantile = 0.5) AS run_p50,
                  max(x.took) FILTER (WHERE x.event = 'finish' AND x.quantile = 0.95) AS run_p95, max(x.took) FILTER (WHERE x.event = 'finish' AND x.quantile = 0.99) AS run_p99
           FROM shop.job_percentile AS x GROUP BY x.kind) AS p ON p.kind = k.kind;
COMMENT ON VIEW shop.job_summary IS
'The queue by kind: how many wait, run and are dead now, since when the oldest is due (oldest_due_at; NULL: none waits), what went through in the last hour, how many a minute in the last five that are over, how many workers that are alive do it, and percentiles of the last hour, as shop.job_percentile has them, but never above the longest.';

CREATE VIEW shop.job_worker AS
SELECT coalesce(w.name, l.worker) AS worker, greatest(w.seen_at, l.seen_at) AS seen_at, coalesce(l.running, 0) AS running, l.leased_until,
       CASE WHEN w.name IS NULL THEN coalesce(l.finished, 0) ELSE b.finished END AS finished,
       CASE WHEN w.name IS NULL THEN coalesce(l.failed, 0) ELSE b.failed END AS failed,
       CASE WHEN w.name IS NULL THEN coalesce(l.leased_until > clock_timestamp(), false) OR l.seen_at > clock_timestamp() - interval '1 min'
            ELSE shop.is_alive(w) END AS alive,
       w.started_at, w.stopped_at, w.host, w.pid, w.version, w.kinds, w.work
FROM shop.worker AS w
FULL JOIN (SELECT x.worker, max(x.seen_at) AS seen_at, max(x.running) AS running, max(x.leased_until) AS leased_until,
                  sum(x.finished)::bigint AS finished, sum(x.failed)::bigint AS failed
           FROM (SELECT j.worker, max(j.claimed_at) AS seen_at, count(*) AS running, max(j.leased_until) AS leased_until, 0 AS finished, 0 AS failed
                 FROM shop.job AS j WHERE j.lease IS NOT NULL GROUP BY j.worker
                 UNION ALL
                 SELECT g.worker, max(g.at), 0, NULL, sum(g.jobs) FILTER (WHERE g.event = 'finish'), sum(g.jobs) FILTER (WHERE g.event IN ('retry', 'die'))
                 FROM shop.job_log AS g WHERE g.worker IS NOT NULL GROUP BY g.worker) AS x
           GROUP BY x.worker) AS l ON l.worker = w.name
LEFT JOIN LATERAL (SELECT coalesce(sum((k ->> 'finished')::bigint), 0)::bigint AS finished, coalesce(sum((k ->> 'failed')::bigint), 0)::bigint AS failed
                   FROM jsonb_array_elements(w.work) AS k) AS b ON true;
COMMENT ON VIEW shop.job_worker IS
'Who works, or did lately: how many jobs he has, and has finished and failed since he began. alive: heard of within 20 seconds, and not told to end. Of one that does not say that he is there (shop.beat()) only the jobs that he claims are known, as far back as shop.job_log goes; he is alive if his lease on one is good, or he has asked for some within a minute.';

CREATE VIEW shop.job_reason AS
SELECT f.kind, f.error, count(*) AS jobs, count(*) FILTER (WHERE f.state = 'dead') AS dead, max(f.failed_at) AS last_at
FROM (SELECT x.kind, left(x.error, 200) AS error, x.state, x.failed_at FROM shop.job_failed AS x
      WHERE x.state <> 'cancelled' AND x.error IS NOT NULL ORDER BY x.failed_at DESC LIMIT 10000) AS f
GROUP BY f.kind, f.error;
COMMENT ON VIEW shop.job_reason IS
'Why jobs have failed, of the 10,000 that failed last and are dead or to be tried again: by kind and reason (its first 200 characters), how many, and when the last one.';

GRANT USAGE ON SCHEMA shop TO pg_monitor;
GRANT SELECT ON shop.job_list, shop.job_waiting, shop.job_running, shop.job_failed, shop.job_throughput, shop.job_percentile, shop.job_summary, shop.job_worker, shop.job_reason TO pg_monitor;

COMMIT;

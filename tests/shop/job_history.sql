-- What has become of jobs: counters that only rise, and the attempts of a job that failed.
\ir include/begin.sql
SELECT plan(39);
TRUNCATE shop.job, shop.job_log, shop.job_key, shop.job_dead, shop.job_total, shop.job_duration, shop.job_periodic;
UPDATE shop.job_slot SET summed_at = NULL, emptied_at = NULL;
INSERT INTO shop.job_kind (kind, lease, attempts, backoff, backoff_max) VALUES ('test', '10 min', 3, '0', '0');
CREATE FUNCTION total(p_event text) RETURNS bigint LANGUAGE sql AS $$SELECT coalesce(sum(jobs), 0)::bigint FROM shop.job_total WHERE kind = 'test' AND event = p_event$$;
CREATE FUNCTION older(p_age interval) RETURNS void LANGUAGE sql AS $$
    UPDATE shop.job_log SET at = at - p_age;
    UPDATE shop.job_slot SET summed_at = summed_at - p_age;
$$;
CREATE FUNCTION attempt(p_reason text DEFAULT NULL, p_worker text DEFAULT 'w', p_final boolean DEFAULT false) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_ids uuid[];
    v_lease uuid;
BEGIN
    SELECT array_agg(c.id), min(c.lease::text) INTO v_ids, v_lease FROM shop.claim_jobs(p_worker, '{test}', 100) AS c;
    IF p_reason IS NULL THEN
        RETURN (SELECT count(*) FROM shop.finish_jobs(v_lease, v_ids));
    END IF;
    RETURN (SELECT count(*) FROM shop.fail_jobs(v_lease, v_ids, array_fill(p_reason, ARRAY[cardinality(v_ids)]), p_final));
END $$;
CREATE FUNCTION head() RETURNS integer LANGUAGE sql AS $$SELECT slot FROM shop.job_head$$;

-- Totals.
SELECT count(shop.enqueue('test', '{}')) FROM generate_series(1, 5) \g /dev/null
SELECT is(attempt(), 5::bigint, 'five jobs are done');
SELECT is((shop.tend_jobs(), total('claim'), total('finish'))::text, '(t,0,0)', 'what was a moment ago is not counted yet');
SELECT older('30 s') \g /dev/null
SELECT is((shop.tend_jobs(), total('claim'), total('finish'))::text, '(t,5,5)', 'seconds later it is, by whoever tends the queue');
SELECT is((shop.tend_jobs(), total('claim'), total('finish'))::text, '(t,5,5)', 'once');
SELECT older('30 s') \g /dev/null
SELECT is((shop.tend_jobs(), total('claim'), total('finish'))::text, '(t,5,5)', 'however often');
SELECT count(shop.enqueue('test', '{}')) FROM generate_series(1, 2) \g /dev/null
SELECT is(attempt('broken'), 2::bigint, 'two fail');
SELECT is(attempt('broken', 'w', true), 2::bigint, 'and die');
SELECT older('30 s') \g /dev/null
SELECT is((shop.tend_jobs(), total('claim'), total('finish'), total('retry'), total('die'))::text, '(t,9,5,2,2)', 'what is new is added');
SELECT ok((SELECT bool_and(took > '0') FROM shop.job_total WHERE event IN ('finish', 'retry', 'die')), 'and the time that it took');

-- A lease that runs out is a failure.
SELECT shop.enqueue('test', '{}') AS lost \gset
SELECT count(*) FROM shop.claim_jobs('gone', '{test}', 1) \g /dev/null
UPDATE shop.job SET leased_until = clock_timestamp() - interval '1 s' WHERE id = :'lost';
SELECT shop.tend_jobs() \g /dev/null
SELECT older('30 s') \g /dev/null
SELECT is((shop.tend_jobs(), total('retry'))::text, '(t,3)', 'a job whose worker is gone counts as one that failed');
SELECT is((SELECT (failures -> 0 ->> 'attempt', failures -> 0 ->> 'worker', failures -> 0 ->> 'error')::text FROM shop.job WHERE id = :'lost'), '(1,gone,"the lease ran out: its worker is gone, or too slow")',
    'and it is known whose it was');
SELECT is(attempt(), 1::bigint, 'it is done by another worker');

-- What was committed late is missing, and is there when the slot is truncated.
SELECT older('30 s') \g /dev/null
SELECT shop.tend_jobs() \g /dev/null
SELECT total('finish') AS before \gset
INSERT INTO shop.job_log (slot, event, kind, jobs, took, at) VALUES (head(), 'finish', 'test', 7, '7 s', clock_timestamp() - interval '1 h');
SELECT older('30 s') \g /dev/null
SELECT is((shop.tend_jobs(), total('finish') - :before)::text, '(t,0)', 'what was committed long after it was noted is not counted');
SELECT head() AS slot \gset
UPDATE shop.job_head SET slot = slot % 4 + 1;
SELECT shop.tend_jobs() \g /dev/null
UPDATE shop.job_slot SET emptied_at = clock_timestamp() - interval '61 s' WHERE slot = :slot;
INSERT INTO shop.job_log (slot, event, kind, jobs, took) VALUES (:slot, 'finish', 'test', 1, '1 s');
SELECT shop.tend_jobs() \g /dev/null
SELECT is((SELECT count(*) FROM shop.job_log WHERE slot = :slot), 0::bigint, 'when the slot is truncated');
SELECT is(total('finish') - :before, 8::bigint, 'all of its log is');
SELECT is((SELECT count(*) FROM shop.job_total WHERE slot = :slot), 0::bigint, 'in the place of what was added up before');
SELECT is((SELECT sum(jobs) FROM shop.job_minute WHERE kind = 'test' AND event = 'finish'), total('finish')::numeric, 'as by the minute');
SELECT is((SELECT summed_at FROM shop.job_slot WHERE slot = :slot), NULL, 'the slot begins anew');
SELECT is((SELECT sum(jobs) FROM shop.job_total WHERE slot = 0 AND kind = 'test' AND event = 'claim'), 11::numeric, 'of claims there are as many as before');
CREATE TABLE figure AS SELECT f ->> 'name' AS name, s -> 'labels' ->> 'kind' AS kind, (s ->> 'value')::numeric AS value
FROM rest.metrics(NULL) AS r, json_array_elements(r.body) AS f, json_array_elements(f -> 'samples') AS s WHERE f ->> 'name' ~ '^holdfast_job';
SELECT is((SELECT string_agg(value::text, ' ' ORDER BY name) FROM figure WHERE kind = 'test' AND name ~ '^holdfast_jobs_.*_total$'), '0 11 2 5 14 0 3', 'the metrics say so: cancelled, claimed, died, failed, finished, released, retried');
SELECT ok((SELECT value FROM figure WHERE kind = 'test' AND name = 'holdfast_job_run_seconds_total') BETWEEN 8 AND 60, 'and how long all attempts took');
SELECT is((SELECT count(DISTINCT kind) FROM figure WHERE name = 'holdfast_jobs_finished_total'), (SELECT count(*) FROM shop.job_kind), 'a kind of which nothing was done has a zero');

-- How long they take: 90 of a hundred jobs a hundred seconds, seven ten times as long, three a hundred times.
INSERT INTO shop.job_kind (kind, lease, attempts) VALUES ('slow', '10 min', 3);
SELECT count(shop.enqueue('slow', '{}', n::text)) FROM generate_series(1, 100) AS n \g /dev/null
CREATE FUNCTION takes(p_n integer) RETURNS interval LANGUAGE sql AS $$SELECT make_interval(secs => CASE WHEN p_n <= 90 THEN 100 WHEN p_n <= 97 THEN 1000 ELSE 10000 END)$$;
UPDATE shop.job SET due_at = clock_timestamp() - takes(key::integer) WHERE kind = 'slow';
CREATE TABLE slow AS SELECT * FROM shop.claim_jobs('w', '{slow}', 1000);
UPDATE shop.job SET claimed_at = clock_timestamp() - takes(key::integer) WHERE kind = 'slow';
SELECT is((SELECT count(*) FROM shop.finish_jobs((SELECT lease FROM slow LIMIT 1), ARRAY(SELECT id FROM slow))), 100::bigint, 'a hundred jobs are done');
CREATE FUNCTION tell(p_suffix text) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s %s %s', p50 BETWEEN 100 AND 130, p95 BETWEEN 1000 AND 1300, p99 BETWEEN 10000 AND 13000 AND p99 <= longest)
    FROM shop.job_summary AS s, LATERAL (SELECT extract(epoch FROM (to_jsonb(s) ->> (p_suffix || '_p50'))::interval) AS p50, extract(epoch FROM (to_jsonb(s) ->> (p_suffix || '_p95'))::interval) AS p95,
        extract(epoch FROM (to_jsonb(s) ->> (p_suffix || '_p99'))::interval) AS p99, extract(epoch FROM (to_jsonb(s) ->> (p_suffix || '_longest'))::interval) AS longest) AS v WHERE s.kind = 'slow'
$$;
SELECT older('30 s') \g /dev/null
SELECT shop.tend_jobs() \g /dev/null
SELECT is(tell('run'), 't t t', 'half of them have run a hundred seconds, 95 of a hundred ten times as long, and 99 a hundred times');
SELECT is(tell('wait'), 't t t', 'and so they have waited');
SELECT is((SELECT concat_ws(' ', k ->> 'run_p50_seconds', (k ->> 'run_p95_seconds')::numeric BETWEEN 1000 AND 1300, (k ->> 'wait_p99_seconds')::numeric >= 10000)
    FROM rest.admin_job_kinds(person('root', '{user,admin}')) AS r, json_array_elements(r.body -> 'items') AS k WHERE k ->> 'kind' = 'slow'), '125.893 t t', 'an admin sees that');
SELECT is((SELECT string_agg(s -> 'labels' ->> 'quantile' || ' ' || round((s ->> 'value')::numeric, 1), ', ' ORDER BY s -> 'labels' ->> 'quantile') FROM rest.metrics(NULL) AS r, json_array_elements(r.body) AS f,
    json_array_elements(f -> 'samples') AS s WHERE f ->> 'name' = 'holdfast_job_run_seconds' AND s -> 'labels' ->> 'kind' = 'slow'), '0.5 125.9, 0.95 1258.9, 0.99 12589.3', 'and the metrics');
UPDATE shop.job_slot SET emptied_at = clock_timestamp() - interval '61 s' WHERE slot = head();
SELECT is((SELECT sum(jobs) FROM shop.job_duration WHERE kind = 'slow'), 200::numeric, 'each is counted once as claimed, and once as finished');
SELECT shop.sum_jobs(head(), true) \g /dev/null
SELECT is((SELECT sum(jobs) FROM shop.job_duration WHERE kind = 'slow'), 200::numeric, 'also when its slot is truncated');
UPDATE shop.job_duration SET at = at - interval '1 h';
SELECT is((SELECT run_p50 FROM shop.job_summary WHERE kind = 'slow'), NULL, 'an hour later they are forgotten');
SELECT is((SELECT array_agg(shop.duration_step(t::interval) ORDER BY n) FROM unnest('{-1 s,0,1 ms,1.1 ms,10 ms,1 s,100 days}'::text[]) WITH ORDINALITY AS u (t, n)), '{0,0,0,1,10,30,100}', 'steps are ten to a power of ten');

-- Attempts.
SELECT shop.enqueue('test', '{"token": "secret", "n": 1}') AS job \gset
UPDATE shop.job_kind SET attempts = 100 WHERE kind = 'test';
SELECT is((SELECT failures FROM shop.job WHERE id = :'job'), NULL, 'a job that has not failed has no failures');
SELECT is((attempt('first', 'w1'), attempt('second', 'w2'))::text, '(1,1)', 'it fails twice');
SELECT is((SELECT string_agg(concat_ws(' ', f ->> 'attempt', f ->> 'worker', f ->> 'error'), ', ' ORDER BY n) FROM shop.job, jsonb_array_elements(failures) WITH ORDINALITY AS f (f, n) WHERE id = :'job'),
    '1 w1 first, 2 w2 second', 'each is remembered');
SELECT sum(attempt('again ' || n)) FROM generate_series(3, 21) AS n \g /dev/null
SELECT is((SELECT (jsonb_array_length(failures), failures -> 0 ->> 'attempt', failures -> 19 ->> 'error')::text FROM shop.job WHERE id = :'job'), '(20,2,"again 21")', 'the last twenty');
SELECT attempt('for good', 'w', true) \g /dev/null
SELECT is((SELECT (failures -> 19 ->> 'error', payload)::text FROM shop.job_dead WHERE id = :'job'), '("for good","{""n"": 1}")', 'a dead job has them');
SELECT shop.retry_job(:'job') \g /dev/null
SELECT is((SELECT jsonb_array_length(failures) FROM shop.job WHERE id = :'job'), 20, 'also when it is sent again');
SELECT shop.cancel_job(:'job') \g /dev/null
SELECT is((SELECT jsonb_array_length(failures) FROM shop.job_dead WHERE id = :'job'), 20, 'or cancelled');
UPDATE shop.job_head SET slot = 1;
SELECT is(length(shop.add_failure(NULL, 1, clock_timestamp(), 'w', repeat('x', 2000)) -> 0 ->> 'error'), 500, 'a reason is cut');
SELECT finish();
ROLLBACK;

-- What a worker may do, and what a monitor sees.
\ir include/begin.sql
SELECT plan(50);
DELETE FROM shop.job_log;
DELETE FROM shop.job_periodic;
INSERT INTO shop.job_kind (kind, lease, attempts) VALUES ('test', '10 min', 2);
SELECT count(shop.enqueue('test', to_jsonb(n), n::text)) FROM generate_series(1, 4) AS n \g /dev/null
SELECT shop.enqueue('test', '5', NULL, clock_timestamp() + interval '1 h') AS scheduled \gset

-- As the role that a worker connects as.
SET LOCAL ROLE shop_worker;
SELECT set_config('test.claim', json_object_agg(c.payload::text, c.id)::text, true), set_config('test.lease', min(c.lease::text), true)
FROM shop.claim_jobs('w1', '{test}', 3) AS c \g /dev/null
CREATE FUNCTION pg_temp.job(p_n integer) RETURNS uuid[] LANGUAGE sql AS $$SELECT ARRAY[(current_setting('test.claim')::json ->> p_n::text)::uuid]$$;
CREATE FUNCTION pg_temp.lease() RETURNS uuid LANGUAGE sql AS $$SELECT current_setting('test.lease')::uuid$$;
SELECT is((SELECT count(*)::integer FROM json_object_keys(current_setting('test.claim')::json)), 3, 'a worker may claim');
SELECT is((SELECT count(*) FROM shop.heartbeat_jobs(pg_temp.lease(), pg_temp.job(1) || pg_temp.job(2))), 2::bigint, 'hold on to what he has claimed');
SELECT is((SELECT count(*) FROM shop.finish_jobs(pg_temp.lease(), pg_temp.job(1))), 1::bigint, 'finish');
SELECT is((SELECT dead FROM shop.fail_jobs(pg_temp.lease(), pg_temp.job(2), '{because}', true)), true, 'fail');
SELECT is((SELECT count(*) FROM shop.release_jobs(pg_temp.lease(), pg_temp.job(3))), 1::bigint, 'and give back');
SELECT is(shop.run_periodic(), 0, 'he may be the clock');
SELECT lives_ok($$SELECT shop.beat('w9', '{}')$$, 'and say that he is there');
SELECT throws_ok($$SELECT shop.enqueue('test', '{}')$$, '42501', NULL, 'he may not enqueue');
SELECT throws_ok($$SELECT shop.cancel_job(gen_random_uuid())$$, '42501', NULL, 'nor cancel');
SELECT throws_ok($$SELECT shop.retry_job(gen_random_uuid())$$, '42501', NULL, 'nor send dead letters');
SELECT throws_ok($$SELECT shop.tend_jobs()$$, '42501', NULL, 'nor tend the queue himself');
SELECT throws_ok($$SELECT shop.end_attempts('{}', '{}', '{}', true)$$, '42501', NULL, 'nor end the attempts of others');
SELECT throws_ok($$SELECT FROM shop.job$$, '42501', NULL, 'nor see the queue');
SELECT throws_ok($$DELETE FROM shop.job$$, '42501', NULL, 'nor touch it');
RESET ROLE;
DELETE FROM shop.worker;

-- The monitor.
SELECT is((SELECT count(*) FROM shop.claim_jobs('w2', '{test}', 1)), 1::bigint, 'another worker has one');
SELECT is((SELECT string_agg(state, ' ' ORDER BY state) FROM shop.job_waiting), 'scheduled waiting', 'waiting and scheduled are told apart');
SELECT is((SELECT (worker, attempts, overdue)::text FROM shop.job_running), '(w2,1,f)', 'who runs what');
UPDATE shop.job SET leased_until = clock_timestamp() - interval '1 s' WHERE lease IS NOT NULL;
SELECT is((SELECT overdue FROM shop.job_running), true, 'and who is late');
SELECT is((SELECT (state, kind, error, worker)::text FROM shop.job_failed), '(dead,test,because,w1)', 'what has failed, and why');
SELECT is((SELECT (waiting, scheduled, retrying, running, overdue, dead)::text FROM shop.job_summary WHERE kind = 'test'), '(1,1,0,1,1,1)', 'all of a kind at a glance');
SELECT is((SELECT (claimed, finished, retried, died)::text FROM (SELECT sum(claimed) AS claimed, sum(finished) AS finished, sum(retried) AS retried, sum(died) AS died FROM shop.job_throughput WHERE kind = 'test') AS t),
    '(4,1,0,1)', 'and what went through');
SELECT ok(wait_average <= wait_longest AND run_average <= run_longest AND wait_average > '0', 'with times') FROM shop.job_throughput WHERE kind = 'test' AND finished > 0;
SELECT is((SELECT string_agg((worker, running, finished, failed)::text, ' ' ORDER BY worker) FROM shop.job_worker), '(w1,0,1,1) (w2,1,0,0)', 'and who works');
SELECT is((SELECT bool_and(alive) FROM shop.job_worker), true, 'as long as he is heard of');
UPDATE shop.job_log SET at = at - interval '2 min';
UPDATE shop.job SET claimed_at = claimed_at - interval '2 min' WHERE lease IS NOT NULL;
SELECT is((SELECT bool_or(alive) FROM shop.job_worker), false, 'and no longer');
SELECT is((SELECT oldest_due_at FROM shop.job_summary WHERE kind = 'test'), (SELECT min(due_at) FROM shop.job WHERE lease IS NULL), 'the oldest that waits is known');
SELECT is((SELECT string_agg(v.relname || '.' || a.attname, ', ') FROM pg_class AS v JOIN pg_attribute AS a ON a.attrelid = v.oid
           WHERE v.relnamespace = 'shop'::regnamespace AND v.relkind = 'v' AND v.relname ~ '^job' AND a.attname IN ('payload', 'lease')), NULL, 'no view gives away a payload or a lease');
SET LOCAL ROLE pg_monitor;
SELECT is((SELECT (waiting, scheduled, running, dead)::text FROM shop.job_summary WHERE kind = 'test'), '(1,1,1,1)', 'a monitor needs no rights of the owner');
SELECT is((SELECT count(*) FROM shop.job_list), 4::bigint, 'he sees each job');
SELECT ok((SELECT count(*) FROM shop.job_waiting) + (SELECT count(*) FROM shop.job_running) + (SELECT count(*) FROM shop.job_failed)
    + (SELECT count(*) FROM shop.job_throughput) + (SELECT count(*) FROM shop.job_worker) > 0, 'and whatever else there is');
SELECT throws_ok($$SELECT FROM shop.job$$, '42501', NULL, 'but not what is in it');
SELECT throws_ok($$SELECT FROM shop.job_dead$$, '42501', NULL, 'nor in the dead letters');
RESET ROLE;

-- Workers that say that they are there.
CREATE FUNCTION seen(p_worker text) RETURNS text LANGUAGE sql AS $$SELECT (alive, running, finished, failed, host, pid, version, kinds)::text FROM shop.job_worker WHERE worker = p_worker$$;
CREATE FUNCTION pulse() RETURNS text LANGUAGE sql AS $$SELECT (alive, workers)::text FROM shop.job_pulse()$$;
TRUNCATE shop.job, shop.job_log, shop.job_key;
SELECT is(pulse(), '(f,0)', 'nobody is there');
SELECT shop.beat('w3', '{"host": "h", "pid": 7, "version": "1", "starting": true, "work": [{"label": "a", "kinds": ["test", "noop"], "most": 3, "running": 0, "finished": 5, "failed": 1, "away": false}, {"label": "b", "kinds": ["mail"], "finished": 2}]}') \g /dev/null
SELECT is(seen('w3'), '(t,0,7,1,h,7,1,"{mail,noop,test}")', 'a worker without anything to do is heard of');
SELECT is(pulse(), '(t,1)', 'so somebody is there');
SELECT is((SELECT string_agg(kind, ' ' ORDER BY kind) FROM shop.job_summary WHERE workers = 1 AND kind IN ('test', 'noop', 'order_placed')), 'noop test', 'for the kinds that he does');
UPDATE shop.worker SET seen_at = seen_at - interval '21 s', started_at = started_at - interval '1 h';
SELECT is((seen('w3'), pulse())::text, '("(f,0,7,1,h,7,1,""{mail,noop,test}"")","(f,0)")', 'who is silent for longer than 20 s is not');
SELECT shop.beat('w3', '{"host": "h", "pid": 7, "version": "1"}') \g /dev/null
SELECT is((seen('w3'), pulse())::text, '("(t,0,0,0,h,7,1,{})","(f,1)")', 'who comes back is, for those who do jobs only if he does');
SELECT is((SELECT started_at < seen_at - interval '59 min' FROM shop.job_worker WHERE worker = 'w3'), true, 'he has been there all the time');
SELECT shop.beat('w3', '{"starting": true, "work": [{"kinds": ["test"]}]}') \g /dev/null
SELECT is((SELECT started_at > seen_at - interval '1 min' FROM shop.job_worker WHERE worker = 'w3'), true, 'until another one begins by the same name');
SELECT shop.enqueue('test', '{}') \g /dev/null
SELECT count(*) FROM shop.claim_jobs('w3', '{test}', 1) \g /dev/null
SELECT is(seen('w3'), '(t,1,0,0,,,,{test})', 'what he has claimed is his');
SELECT shop.beat('w3', '{"stopping": true, "work": [{"kinds": ["test"]}]}') \g /dev/null
SELECT is((seen('w3'), pulse())::text, '("(f,1,0,0,,,,{test})","(f,0)")', 'who was told to end is not alive, though his lease is good and he was heard of');
SELECT is((SELECT stopped_at <= seen_at FROM shop.job_worker WHERE worker = 'w3'), true, 'and it is known since when');
SELECT count(*) FROM shop.claim_jobs('silent', '{test}', 1) \g /dev/null
UPDATE shop.job_log SET at = at - interval '2 s' WHERE worker = 'w3';
UPDATE shop.job_log SET worker = 'silent' WHERE event = 'tend';
SELECT is((seen('silent'), pulse())::text, '("(t,0,0,0,,,,)","(t,0)")', 'one that does not say that he is there, and asks for jobs, is alive');
SELECT is((SELECT string_agg(worker, ' ' ORDER BY worker) FROM shop.job_worker), 'silent w3', 'both are known');
UPDATE shop.worker SET seen_at = seen_at - interval '25 h';
UPDATE shop.job_log SET worker = 'silent';
UPDATE shop.job SET worker = 'silent' WHERE lease IS NOT NULL;
SELECT shop.beat('w4', '{}') IS NULL \g /dev/null
SELECT is((SELECT string_agg(name, ' ') FROM shop.worker), 'w4', 'after a day one is forgotten');
SELECT throws_ok($$SELECT shop.beat('', '{}')$$, 'HS012', NULL, 'a worker has a name');
SELECT throws_ok($$SELECT shop.beat('w', json_build_object('host', repeat('x', 30000)))$$, 'HS012', NULL, 'and not too much to say');
SELECT throws_ok($$SELECT shop.beat('w', '{"colour": "red"}')$$, 'HS009', NULL, 'nothing else');
SELECT throws_ok($$SELECT shop.beat('w', '[]')$$, 'HS011', NULL, 'and not in another way');
SELECT finish();
ROLLBACK;

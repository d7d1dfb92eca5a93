-- The queue stays small and fast without vacuum: slots that are truncated, and marks. (What an old snapshot cannot prevent
-- is shown by isolation/specs/job_slot.spec, and measured by bench/jobs.)
\ir include/begin.sql
SELECT plan(57);
UPDATE shop.job_head SET slot = 1;
TRUNCATE shop.job, shop.job_log, shop.job_key;
UPDATE shop.job_slot SET emptied_at = NULL;
INSERT INTO shop.job_kind (kind, lease) VALUES ('test', '10 min');
CREATE FUNCTION bulk(p_jobs integer) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(shop.enqueue('test', to_jsonb(repeat(md5(n::text), 57)))) FROM generate_series(1, p_jobs) AS n
$$;
CREATE TABLE claimed AS SELECT * FROM shop.claim_jobs('w') WITH NO DATA;
CREATE FUNCTION head() RETURNS integer LANGUAGE sql AS 'SELECT slot FROM shop.job_head';
CREATE FUNCTION slots() RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(format('%s in %s', n, slot), ', ' ORDER BY slot), 'nothing') FROM (SELECT slot, count(*) AS n FROM shop.job GROUP BY slot) AS s
$$;

CREATE FUNCTION waiting() RETURNS text LANGUAGE sql AS $$SELECT coalesce(string_agg(slot::text, ' ' ORDER BY slot), 'none') FROM shop.job_slot WHERE emptied_at IS NOT NULL$$;
CREATE PROCEDURE pass(p_time interval) LANGUAGE sql AS $$UPDATE shop.job_slot SET emptied_at = emptied_at - p_time$$;

SELECT is(head(), 1, 'the first slot is filled');
SELECT is(bulk(1000), 1000::bigint, 'a thousand jobs');
SELECT is((shop.tend_jobs(), head())::text, '(t,1)', 'fit into it');
SELECT is(bulk(9000), 9000::bigint, 'ten thousand large ones');
SELECT is((shop.tend_jobs(), head())::text, '(t,2)', 'do not: the next slot is filled');
SELECT is(slots(), '10000 in 1', 'the first is full of jobs');
SELECT is(bulk(1), 1::bigint, 'more of them');
SELECT is(slots(), '10000 in 1, 1 in 2', 'come to the second');
INSERT INTO claimed SELECT * FROM shop.claim_jobs('w', '{test}', 9998);
SELECT is((SELECT count(*) FROM shop.finish_jobs((SELECT lease FROM claimed LIMIT 1), ARRAY(SELECT id FROM claimed ORDER BY id LIMIT 9990))), 9990::bigint, 'when almost all of the first are done');
SELECT is(slots(), '10 in 1, 1 in 2', 'and few are left');
SELECT ok(pg_relation_size('shop.job_1') > 16000000, 'the dead ones still take their room');
SELECT is(shop.tend_jobs(), true, 'then those that are left');
SELECT is(slots(), '10 in 0, 1 in 2', 'are moved');
SELECT ok(pg_relation_size('shop.job_1') > 16000000, 'and the slot stays as it is, for a dump may have begun before');
SELECT is((shop.tend_jobs(), waiting())::text, '(t,1)', 'that it has no jobs is noted');
CALL pass(interval '59 s');
SELECT is((shop.tend_jobs(), waiting())::text, '(t,1)', 'for a minute it waits');
SELECT ok(pg_relation_size('shop.job_1') > 16000000, 'as it is');
INSERT INTO shop.job (due_at, slot, kind, payload) VALUES (clock_timestamp(), 1, 'test', '"late"');
CALL pass(interval '1 s');
SELECT is((shop.tend_jobs(), slots())::text, '(t,"11 in 0, 1 in 2")', 'what an enqueuer with an old snapshot has put into it moves');
SELECT is(waiting(), 'none', 'and the minute begins anew');
DELETE FROM shop.job WHERE payload = '"late"';
SELECT is((shop.tend_jobs(), waiting())::text, '(t,1)', 'when it is noted again');
CALL pass(interval '60 s');
SELECT is((shop.tend_jobs(), waiting())::text, '(t,none)', 'after that');
SELECT is(pg_relation_size('shop.job_1') + pg_relation_size('shop.job_log_1'), 0::bigint, 'the slot is empty again, and its log');
SELECT is((SELECT (sum(claimed), sum(finished))::text FROM shop.job_throughput WHERE kind = 'test'), '(9998,9990)', 'the monitor has them all');
SELECT is((SELECT count(*) FROM shop.finish_jobs((SELECT lease FROM claimed LIMIT 1), ARRAY(SELECT id FROM claimed ORDER BY id DESC LIMIT 8))), 8::bigint, 'those that run are finished where they are');
SELECT is((SELECT count(*) FROM shop.claim_jobs('w', '{test}', 10)), 3::bigint, 'those that wait are claimed');
SELECT is(slots(), '2 in 0, 1 in 2', 'nothing is lost');

-- A slot that is full of jobs that nobody takes.
UPDATE shop.job_kind SET paused = true WHERE kind = 'test';
SELECT is(bulk(9000), 9000::bigint, 'jobs that nobody takes');
SELECT is((shop.tend_jobs(), head())::text, '(t,3)', 'fill the second slot');
SELECT is((shop.tend_jobs(), slots())::text, '(t,"2 in 0, 9001 in 2")', 'and stay there');
SELECT is((bulk(9000), shop.tend_jobs(), bulk(9000), shop.tend_jobs(), head())::text, '(9000,t,9000,t,1)', 'as long as there are others');
SELECT is((bulk(9000), shop.tend_jobs(), head())::text, '(9000,t,1)', 'when there is none, the last one grows');
SELECT is(slots(), '5002 in 0, 9000 in 1, 4001 in 2, 9000 in 3, 9000 in 4', 'and some move');
SELECT is((shop.tend_jobs(), slots())::text, '(t,"9003 in 0, 9000 in 1, 9000 in 3, 9000 in 4")', 'until a slot is empty');
SELECT is((shop.tend_jobs(), shop.tend_jobs(), head(), slots())::text, '(t,t,1,"9003 in 0, 9000 in 1, 9000 in 3, 9000 in 4")', 'while that waits no others move, and the head grows');
CALL pass(interval '60 s');
SELECT is((shop.tend_jobs(), pg_relation_size('shop.job_2'))::text, '(t,0)', 'until it is truncated');
SELECT is((SELECT (sum(jobs) FILTER (WHERE event = 'claim'), sum(jobs) FILTER (WHERE event = 'finish'))::text FROM shop.job_minute WHERE kind = 'test'), '(10001,9998)', 'what is in its log is summed up');
SELECT is((SELECT (sum(claimed), sum(finished))::text FROM shop.job_throughput WHERE kind = 'test'), '(10001,9998)', 'and still shown');
SELECT is((shop.tend_jobs(), head())::text, '(t,2)', 'which is filled next');

-- What waits longer.
DELETE FROM shop.job WHERE slot = 0 AND lease IS NULL AND id NOT IN (SELECT id FROM shop.job WHERE slot = 0 LIMIT 10);
CREATE FUNCTION later() RETURNS text LANGUAGE sql AS $$
    SELECT format('%s jobs for later, %s in slot 0, %s', count(*) FILTER (WHERE due_at > clock_timestamp()), count(*) FILTER (WHERE slot = 0),
        CASE WHEN pg_relation_size('shop.job_0') > 0 THEN 'which has a size' ELSE 'which has none' END) FROM shop.job
$$;
CREATE FUNCTION enqueue_later() RETURNS smallint LANGUAGE plpgsql AS $$
DECLARE
    v_id CONSTANT uuid := shop.enqueue('test', '{}', NULL, clock_timestamp() + interval '1 day');
BEGIN
    RETURN (SELECT slot FROM shop.job WHERE id = v_id);
END $$;
SELECT is((shop.tend_jobs(), later())::text, '(t,"0 jobs for later, 0 in slot 0, which has a size")', 'a slot 0 that has become large is emptied likewise');
SELECT is(enqueue_later(), head()::smallint, 'meanwhile the head takes the jobs for later');
SELECT is((shop.tend_jobs(), waiting(), later())::text, '(t,0,"1 jobs for later, 0 in slot 0, which has a size")', 'it waits');
CALL pass(interval '60 s');
SELECT is((shop.tend_jobs(), later())::text, '(t,"1 jobs for later, 0 in slot 0, which has none")', 'it is truncated');
SELECT is(enqueue_later(), 0::smallint, 'and takes the jobs for later again');
UPDATE shop.job_kind SET paused = false WHERE kind = 'test';

-- Marks.
DELETE FROM shop.job;
INSERT INTO shop.job_log (slot, event, kind, jobs, took) VALUES (head(), 'tend', '', 0, interval '1 h'), (head(), 'look', 'test', 0, interval '1 h');
INSERT INTO shop.job_log (slot, event, kind, priority, due_at, job_id) VALUES (head(), 'claim', 'test', 0, clock_timestamp() - interval '1 h', holdfast.uuid7());
INSERT INTO shop.job (due_at, slot, kind, payload) VALUES (clock_timestamp() - interval '2 h', head(), 'test', '"late"'), (clock_timestamp() - interval '1 min', head(), 'test', '"soon"');
SELECT is((SELECT payload FROM shop.claim_jobs('w', '{test}', 1)), '"soon"', 'a claim begins where the last one has ended');
SELECT is((SELECT count(*) FROM shop.claim_jobs('w', '{test}', 1)), 0::bigint, 'and does not look back each time');
UPDATE shop.job_log SET took = '0', at = at - interval '2 s' WHERE event IN ('tend', 'look');
SELECT is((SELECT payload FROM shop.claim_jobs('w', '{test}', 1)), '"late"', 'but once a second, and finds what was committed late');
SELECT is((SELECT jobs FROM shop.job_log WHERE event = 'look' AND kind = 'test' ORDER BY at DESC LIMIT 1), 1, 'then the next one looks back at once, for there may be more');
SELECT is((SELECT count(*) FROM shop.claim_jobs('w', '{test}', 1)), 0::bigint, 'there is no more');
UPDATE shop.job_log SET took = '0', at = at - interval '2 s' WHERE event IN ('tend', 'look');
INSERT INTO shop.job (due_at, slot, kind, payload) VALUES (clock_timestamp() - interval '3 h', head(), 'test', '"later"');
SELECT is((SELECT count(*) FROM shop.claim_jobs('w', '{noop}', 1)), 0::bigint, 'another kind is looked at');
SELECT is((SELECT payload FROM shop.claim_jobs('w', '{test}', 1)), '"later"', 'and this one nevertheless');
UPDATE shop.job_log SET took = '0', at = at + interval '1 h' WHERE event IN ('tend', 'look', 'claim');
INSERT INTO shop.job (due_at, slot, kind, payload) VALUES (clock_timestamp() - interval '1 h', head(), 'test', '"earlier"');
SELECT is((SELECT payload FROM shop.claim_jobs('w', '{test}', 1)), '"earlier"', 'what is noted of the future, because the clock was set back, keeps nobody from looking');

-- A planner who believes the slot empty, because all in it are dead, does no harm.
CREATE FUNCTION pages(p_sql text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || p_sql INTO v_plan;
    RETURN (v_plan #>> '{0,Plan,Shared Hit Blocks}')::bigint + (v_plan #>> '{0,Plan,Shared Read Blocks}')::bigint;
END $$;
SELECT count(shop.enqueue('test', '{}', 'k' || n)) FROM generate_series(1, 10000) AS n \g /dev/null
TRUNCATE claimed;
INSERT INTO claimed SELECT * FROM shop.claim_jobs('w', '{test}', 10000);
SELECT is((SELECT count(*) FROM shop.finish_jobs((SELECT lease FROM claimed LIMIT 1), ARRAY(SELECT id FROM claimed))), 10000::bigint, 'ten thousand jobs are done');
ANALYZE shop.job, shop.job_key, shop.job_log;
SELECT count(shop.enqueue('test', '{}', 'k' || n)) FROM generate_series(1, 100) AS n \g /dev/null
INSERT INTO shop.job_log (slot, event, kind, jobs, took) VALUES (head(), 'tend', '', 0, interval '1 h'), (head(), 'look', 'test', 0, interval '1 h');
TRUNCATE claimed;
SELECT is((SELECT reltuples FROM pg_class WHERE oid = 'shop.job_key'::regclass), 0::real, 'statistics say that there is nothing');
SELECT cmp_ok(pages('INSERT INTO claimed SELECT * FROM shop.claim_jobs(''w'', ''{test}'', 100)'), '<', 10000::bigint, 'a claim does not look at all the dead ones');
SELECT cmp_ok(pages('SELECT shop.heartbeat_jobs((SELECT lease FROM claimed LIMIT 1), ARRAY(SELECT id FROM claimed))'), '<', 5000::bigint, 'nor does a heartbeat');
SELECT cmp_ok(pages('SELECT shop.fail_jobs((SELECT lease FROM claimed LIMIT 1), ARRAY(SELECT id FROM claimed LIMIT 50), ARRAY(SELECT kind FROM claimed LIMIT 50))'), '<', 5000::bigint, 'nor a failure');
SELECT cmp_ok(pages('SELECT shop.finish_jobs((SELECT lease FROM claimed LIMIT 1), ARRAY(SELECT id FROM claimed))'), '<', 5000::bigint, 'nor the end');

SELECT finish();
ROLLBACK;

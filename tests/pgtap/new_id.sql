-- new_id(): ids of things, unique and in the order of time.
\ir include/begin.sql
SELECT plan(10);

CREATE TABLE id AS SELECT n, holdfast.new_id() AS id FROM generate_series(1, 20000) AS n;
SELECT is((SELECT count(DISTINCT id) FROM id), 20000::bigint, 'twenty thousand ids, all different');
SELECT is((SELECT count(*) FROM (SELECT id <= lag(id) OVER (ORDER BY n) AS back FROM id) AS s WHERE back), 0::bigint, 'each is greater than the one before');
SELECT ok((SELECT min(id) > 0 FROM id), 'they are positive');
SELECT ok((SELECT to_timestamp((id >> 22) / 1000.0) + (timestamptz '2020-01-01 00:00+00' - to_timestamp(0))
    BETWEEN now() - interval '1 s' AND clock_timestamp() + interval '1 s' FROM id ORDER BY n DESC LIMIT 1), 'the time is in them, in milliseconds since 2020');
SELECT is((SELECT (id >> 12) & 1023 FROM id LIMIT 1), 0::bigint, 'and the number of the server');
SELECT is((SELECT provolatile::text || proparallel::text FROM pg_proc WHERE oid = 'holdfast.new_id()'::regprocedure), 'vs', 'every call makes a new one, in parallel workers too');
CREATE TABLE ordered (id bigint DEFAULT holdfast.new_id() PRIMARY KEY, n integer);
INSERT INTO ordered (n) SELECT generate_series(1, 3);
SELECT is((SELECT array_agg(n ORDER BY id) FROM ordered), '{1,2,3}', 'it can be the default of a primary key');
CREATE ROLE hf_stranger;
GRANT USAGE ON SCHEMA holdfast TO hf_stranger;
SELECT ok(has_function_privilege('hf_stranger', 'holdfast.new_id()', 'EXECUTE'), 'anybody may make one');
SELECT throws_ok('SET holdfast.node = 3', '55P02', NULL, 'the number of the server is not a session''s to choose');
SELECT is(current_setting('holdfast.node'), '0', 'it is 0 by default');
SELECT finish();
ROLLBACK;

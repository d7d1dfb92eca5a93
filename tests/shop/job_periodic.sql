-- Jobs again and again.
\ir include/begin.sql
SELECT plan(13);
INSERT INTO shop.job_kind (kind) VALUES ('test');
DELETE FROM shop.job_periodic;
INSERT INTO shop.job_periodic (name, every, kind, payload, priority, next_at) VALUES
    ('hourly', '1 h', 'test', '{"n": 1}', 2, clock_timestamp() - interval '150 min'), ('later', '1 day', 'test', '{}', 0, clock_timestamp() + interval '1 h');
CREATE TEMPORARY TABLE first AS SELECT next_at FROM shop.job_periodic WHERE name = 'hourly';

SELECT is(shop.run_periodic(), 1, 'what is due is enqueued, once, however often it was missed');
SELECT is((SELECT (kind, payload, priority, key)::text FROM shop.job), '(test,"{""n"": 1}",2,periodic:hourly)', 'with its payload and priority');
SELECT is((SELECT p.next_at - f.next_at FROM shop.job_periodic AS p, first AS f WHERE p.name = 'hourly'), interval '3 h', 'the next time is in step with the first');
SELECT is(shop.run_periodic(), 0, 'calling again enqueues nothing');
UPDATE shop.job_periodic SET next_at = clock_timestamp() WHERE name = 'hourly';
SELECT is(shop.run_periodic(), 0, 'nor does the next hour, while the job of this one is not finished');
SELECT is((SELECT count(f) FROM (SELECT lease, array_agg(id) AS ids FROM shop.claim_jobs('w', '{test}') GROUP BY lease) AS c, shop.finish_jobs(c.lease, c.ids) AS f), 1::bigint, 'when it is finished');
SELECT is(shop.run_periodic(), 0, 'the hour that was left out is not made up for');
UPDATE shop.job_periodic SET next_at = clock_timestamp() WHERE name = 'hourly';
SELECT is(shop.run_periodic(), 1, 'but the next one comes');
UPDATE shop.job SET attempts = 1, lease = gen_random_uuid(), leased_until = clock_timestamp() - interval '1 s', claimed_at = clock_timestamp();
SELECT is(shop.run_periodic(), 0, 'the clock tends the queue, too');
SELECT is((SELECT lease FROM shop.job), NULL, 'so that leases run out though nobody claims');

SELECT throws_ok($$INSERT INTO shop.job_periodic (name, every, kind) VALUES ('x', '1 month', 'test')$$, '23514', NULL, 'months are not all of one length');
SELECT throws_ok($$INSERT INTO shop.job_periodic (name, every, kind) VALUES ('x', '0', 'test')$$, '23514', NULL, 'a period is not nothing');
SELECT throws_ok($$INSERT INTO shop.job_periodic (name, every, kind) VALUES ('x', '1 h', 'no_such_kind')$$, '23503', NULL, 'the kind is known');
SELECT finish();
ROLLBACK;

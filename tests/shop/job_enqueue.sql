-- Putting jobs into the queue.
\ir include/begin.sql
SELECT plan(30);
INSERT INTO shop.job_kind (kind) VALUES ('test');

SELECT shop.enqueue('test', '{"n": 1}') AS id \gset
SELECT is((SELECT (kind, payload, key, priority, attempts, lease IS NULL, due_at <= clock_timestamp())::text FROM shop.job WHERE id = :'id'),
    '(test,"{""n"": 1}",,0,0,t,t)', 'a job is in the queue, due at once');
SAVEPOINT before;
SELECT isnt(shop.enqueue('test', '{"n": 2}'), NULL, 'its id is returned');
ROLLBACK TO before;
SELECT is((SELECT count(*) FROM shop.job WHERE payload = '{"n": 2}'), 0::bigint, 'it is part of the caller''s transaction');
SELECT shop.enqueue('test', NULL) AS id \gset
SELECT is((SELECT payload FROM shop.job WHERE id = :'id'), '{}', 'no payload is an empty one');

-- Keys.
SELECT isnt(shop.enqueue('test', '{"n": 3}', 'once'), NULL, 'a job with a key');
SELECT is(shop.enqueue('test', '{"n": 4}', 'once'), NULL, 'is there once');
SELECT is(shop.enqueue('order_placed', '{"n": 4}', 'once'), NULL, 'whatever the kind');
SELECT is((SELECT array_agg(payload) FROM shop.job WHERE key = 'once'), ARRAY['{"n": 3}'::jsonb], 'the second changes nothing');
SELECT isnt(shop.enqueue('test', '{}', 'Once'), NULL, 'another key is another one');
CREATE TEMPORARY TABLE claim AS SELECT * FROM shop.claim_jobs('w', '{test}', 10);
SELECT is(shop.enqueue('test', '{}', 'once'), NULL, 'its key is taken while it runs');
SELECT is((SELECT count(*) FROM shop.fail_jobs((SELECT min(lease::text)::uuid FROM claim), ARRAY(SELECT id FROM claim WHERE payload = '{"n": 3}'), '{because}')), 1::bigint, 'it fails');
SELECT is(shop.enqueue('test', '{}', 'once'), NULL, 'and while it waits for its next attempt');
UPDATE shop.job SET due_at = clock_timestamp() WHERE key = 'once';
CREATE TEMPORARY TABLE again AS SELECT * FROM shop.claim_jobs('w', '{test}', 10);
SELECT is((SELECT count(*) FROM shop.finish_jobs((SELECT lease FROM again), ARRAY(SELECT id FROM again))), 1::bigint, 'it is finished');
SELECT isnt(shop.enqueue('test', '{"n": 5}', 'once'), NULL, 'then the key is free');

INSERT INTO shop.job_key (key, job_id) VALUES ('orphan', gen_random_uuid());
SELECT shop.enqueue('test', '{"n": 6}', 'orphan') AS id \gset
SELECT is((SELECT job_id FROM shop.job_key WHERE key = 'orphan'), :'id'::uuid, 'a key whose job is nowhere is taken over');
SELECT is(shop.enqueue('test', '{"n": 7}', 'orphan'), NULL, 'once');
UPDATE shop.job SET slot = 0 WHERE id = :'id';
SELECT is(shop.enqueue('test', '{"n": 7}', 'orphan'), NULL, 'wherever its job has moved');
SELECT is((SELECT count(*) FROM shop.job WHERE key = 'orphan'), 1::bigint, 'there is one job');

-- Times.
SELECT shop.enqueue('test', '{}', NULL, '2100-01-01') AS id \gset
SELECT is((SELECT (due_at = timestamptz '2100-01-01', slot)::text FROM shop.job WHERE id = :'id'), '(t,0)', 'a job for later has a slot of its own');
SELECT shop.enqueue('test', '{}', NULL, '-infinity') AS id \gset
SELECT ok(due_at = enqueued_at, 'a time that has passed is now') FROM shop.job WHERE id = :'id';

-- What is refused.
SELECT refuses($$SELECT shop.enqueue('no_such_kind', '{}')$$, 'HS501', 'a kind that nobody knows is refused', '/kind');
SELECT refuses($$SELECT shop.enqueue(NULL, '{}')$$, 'HS501', 'so is none', '/kind');
SELECT refuses($$SELECT shop.enqueue('no_such_kind', '{}', 'fresh')$$, 'HS501', 'and takes no key with it');
SELECT refuses($$SELECT shop.enqueue('test', '{}', NULL, NULL, 10)$$, 'HS014', 'a priority is at most 9', '/priority');
SELECT refuses($$SELECT shop.enqueue('test', '{}', NULL, NULL, -10)$$, 'HS014', 'and at least -9', '/priority');
SELECT refuses($$SELECT shop.enqueue('test', '{}', NULL, NULL, NULL)$$, 'HS014', 'and a number', '/priority');
SELECT refuses($$SELECT shop.enqueue('test', '{}', '')$$, 'HS012', 'a key is not empty', '/key');
SELECT refuses($$SELECT shop.enqueue('test', '{}', repeat('x', 256))$$, 'HS012', 'nor longer than 255 characters', '/key');
SELECT refuses($$SELECT shop.enqueue('test', '{}', NULL, 'infinity')$$, 'HS014', 'never is no time', '/due_at');
SELECT is((SELECT count(*) FROM shop.verify()), 0::bigint, 'the keys are those of the unfinished jobs');
SELECT finish();
ROLLBACK;

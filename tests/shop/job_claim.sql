-- Taking jobs out of the queue, in the right order and by the right worker.
\ir include/begin.sql
SELECT plan(40);
INSERT INTO shop.job_kind (kind, lease) VALUES ('test', '10 min'), ('other', '10 min'), ('narrow', '10 min'), ('still', '10 min');
UPDATE shop.job_kind SET concurrency = 2 WHERE kind = 'narrow';
UPDATE shop.job_kind SET paused = true WHERE kind = 'still';

-- Jobs by name, and what a claim gets, in its order.
CREATE FUNCTION job(p_name text, p_kind text DEFAULT 'test', p_priority integer DEFAULT 0, p_due_at timestamptz DEFAULT NULL) RETURNS uuid LANGUAGE sql AS $$
    SELECT shop.enqueue(p_kind, to_jsonb(p_name), NULL, p_due_at, p_priority)
$$;
CREATE TABLE claimed (n integer GENERATED ALWAYS AS IDENTITY, worker text, id uuid, lease uuid, kind text, payload jsonb, attempt integer, leased_until timestamptz, enqueued_at timestamptz);
CREATE FUNCTION claim(p_limit integer DEFAULT 1, p_kinds text[] DEFAULT '{test}', p_worker text DEFAULT 'w', p_lease interval DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
    WITH c AS (INSERT INTO claimed (worker, id, lease, kind, payload, attempt, leased_until, enqueued_at)
               SELECT p_worker, c.* FROM shop.claim_jobs(p_worker, p_kinds, p_limit, p_lease) AS c RETURNING *)
    SELECT coalesce(string_agg(payload #>> '{}', ' ' ORDER BY n), '') FROM c
$$;
CREATE FUNCTION lease_of(p_name text) RETURNS uuid LANGUAGE sql AS $$SELECT lease FROM claimed WHERE payload = to_jsonb(p_name) ORDER BY n DESC LIMIT 1$$;
CREATE FUNCTION id_of(p_name text) RETURNS uuid LANGUAGE sql AS $$SELECT id FROM claimed WHERE payload = to_jsonb(p_name) ORDER BY n DESC LIMIT 1$$;

-- Order.
SELECT is(claim(), '', 'an empty queue gives nothing');
SELECT count(job(n)) FROM unnest('{a,b,c}'::text[]) AS n \g /dev/null
SELECT is(claim(2), 'a b', 'first come, first served');
SELECT is(claim(10), 'c', 'what is claimed is not claimed again');
SELECT is(claim(10), '', 'by anybody');
SELECT count(job(n, 'test', p)) FROM (VALUES ('low', -1), ('normal', 0), ('high', 1), ('highest', 9)) AS v (n, p) \g /dev/null
SELECT is(claim(3), 'highest high normal', 'a higher priority goes first');
SELECT is(claim(3), 'low', 'and the lowest at last');
SELECT isnt(job('tomorrow', 'test', 9, clock_timestamp() + interval '1 day'), NULL, 'a job for tomorrow');
SELECT is(claim(10), '', 'is not claimed today, whatever its priority');
UPDATE shop.job SET due_at = clock_timestamp() WHERE payload = '"tomorrow"';
SELECT is(claim(10), 'tomorrow', 'but tomorrow');

-- Kinds.
SELECT count(job('t' || n)), count(job('o' || n, 'other')) FROM generate_series(1, 9) AS n \g /dev/null
SELECT is(claim(2, '{other}'), 'o1 o2', 'a worker gets the kinds that he asks for');
SELECT is(claim(2, '{nothing}'), '', 'and nothing else');
SELECT is((SELECT string_agg(count::text, ' ') FROM (SELECT count(*) FROM shop.claim_jobs('w', '{test,other}', 4) GROUP BY kind) AS k), '2 2', 'kinds of one priority share');
SELECT is((SELECT count(*) FROM shop.claim_jobs('w', NULL, 100)), 12::bigint, 'what one has too little of is the other''s');
SELECT count(job('s', 'still')) \g /dev/null
SELECT is(claim(1, NULL), '', 'a kind that is paused is left alone');
UPDATE shop.job_kind SET paused = false WHERE kind = 'still';
SELECT is(claim(1, NULL), 's', 'until it is no more');
SELECT count(job('n' || n, 'narrow')) FROM generate_series(1, 5) AS n \g /dev/null
SELECT is(claim(10, NULL), 'n1 n2', 'of some kinds only so many run at once');
SELECT is(claim(10, NULL), '', 'on all workers together');
SELECT is((SELECT count(*) FROM shop.finish_jobs(lease_of('n1'), ARRAY[id_of('n1')])), 1::bigint, 'when one has ended');
SELECT is(claim(10, NULL), 'n3', 'there is room for the next');

-- Leases.
SELECT isnt(job('x'), NULL, 'a job');
SELECT is(claim(1, '{test}', 'slow'), 'x', 'is claimed');
SELECT ok(leased_until - clock_timestamp() BETWEEN interval '9 min' AND interval '10 min' AND attempt = 1, 'for as long as its kind says') FROM claimed WHERE payload = '"x"';
SELECT is((SELECT array_agg(h) FROM shop.heartbeat_jobs(lease_of('x'), ARRAY[id_of('x')], '1 h') AS h), ARRAY[id_of('x')], 'a heartbeat');
SELECT ok(leased_until - clock_timestamp() > interval '59 min', 'makes it last longer') FROM shop.job WHERE id = id_of('x');
SELECT is((SELECT count(*) FROM shop.heartbeat_jobs(gen_random_uuid(), ARRAY[id_of('x')])), 0::bigint, 'of the one who has the lease');
SELECT is((SELECT count(*) FROM shop.finish_jobs(gen_random_uuid(), ARRAY[id_of('x')])), 0::bigint, 'nobody else can finish it');
SELECT is((SELECT count(*) FROM shop.fail_jobs(gen_random_uuid(), ARRAY[id_of('x')], '{no}')), 0::bigint, 'nor fail it');
SELECT is((SELECT count(*) FROM shop.release_jobs(gen_random_uuid(), ARRAY[id_of('x')])), 0::bigint, 'nor give it back');
UPDATE shop.job SET leased_until = clock_timestamp() - interval '1 s' WHERE id = id_of('x');
SELECT is(shop.tend_jobs(), true, 'when the lease has run out');
UPDATE shop.job SET due_at = clock_timestamp() WHERE id = id_of('x');
SELECT set_config('test.lease', lease_of('x')::text, true) \g /dev/null
SELECT is(claim(1, '{test}', 'quick', '1 min'), 'x', 'somebody else gets it');
SELECT is((SELECT count(*) FROM shop.finish_jobs(current_setting('test.lease')::uuid, ARRAY[id_of('x')])), 0::bigint, 'and the first, who comes late, cannot finish it');
SELECT is((SELECT (attempts, worker, error)::text FROM shop.job WHERE id = id_of('x')), '(2,quick,"the lease ran out: its worker is gone, or too slow")', 'the attempt counts, and has a reason');
SELECT is((SELECT count(*) FROM shop.release_jobs(lease_of('x'), ARRAY[id_of('x')])), 1::bigint, 'a job that is given back');
SELECT is((SELECT (attempts, lease)::text FROM shop.job WHERE id = id_of('x')), '(1,)', 'has not been tried');
SELECT is(claim(1), 'x', 'and waits for the next');

-- What is refused.
SELECT refuses($$SELECT shop.claim_jobs(NULL)$$, 'HS012', 'a worker has a name', '/worker');
SELECT refuses($$SELECT shop.claim_jobs('w', NULL, 0)$$, 'HS014', 'to claim nothing is no claim', '/limit');
SELECT refuses($$SELECT shop.claim_jobs('w', NULL, 10001)$$, 'HS014', 'nor everything', '/limit');
SELECT refuses($$SELECT shop.claim_jobs('w', NULL, 1, '-1 s')$$, 'HS014', 'a lease lasts', '/lease');
SELECT refuses($$SELECT shop.heartbeat_jobs(NULL, NULL, '2 days')$$, 'HS014', 'but not for ever', '/for');
SELECT finish();
ROLLBACK;

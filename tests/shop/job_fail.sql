-- Jobs that fail: again, later, and at last not any more.
\ir include/begin.sql
SELECT plan(50);
INSERT INTO shop.job_kind (kind, attempts, backoff, backoff_max) VALUES ('test', 3, '10 s', '15 s');

CREATE TABLE claimed AS SELECT * FROM shop.claim_jobs('w') WITH NO DATA;
CREATE FUNCTION claim() RETURNS integer LANGUAGE sql AS $$
    DELETE FROM claimed;
    UPDATE shop.job SET due_at = clock_timestamp() WHERE lease IS NULL;
    INSERT INTO claimed SELECT * FROM shop.claim_jobs('w', '{test}', 10);
    SELECT max(attempt) FROM claimed;
$$;
CREATE FUNCTION flop(p_reason text, p_final boolean DEFAULT false) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(CASE WHEN f.dead THEN 'dead' ELSE 'again' END, ' ')
    FROM shop.fail_jobs((SELECT lease FROM claimed LIMIT 1), ARRAY(SELECT id FROM claimed), ARRAY(SELECT p_reason FROM claimed), p_final) AS f
$$;
CREATE FUNCTION wait() RETURNS interval LANGUAGE sql AS $$SELECT due_at - clock_timestamp() FROM shop.job$$;

-- Retries.
SELECT shop.enqueue('test', '{}', 'k') AS job \gset
SELECT is(claim(), 1, 'the first attempt');
SELECT is(flop('no luck'), 'again', 'fails');
SELECT ok(wait() BETWEEN interval '4 s' AND interval '10 s', 'the second waits for the back-off of the kind, more or less');
SELECT is((SELECT (error, lease)::text FROM shop.job), '("no luck",)', 'the reason is kept');
SELECT is((SELECT (state, error)::text FROM shop.job_failed), '(retrying,"no luck")', 'and shown');
SELECT is(claim(), 2, 'it is tried again');
SELECT is(flop('no luck'), 'again', 'fails again');
SELECT ok(wait() BETWEEN interval '7 s' AND interval '15 s', 'and waits twice as long, but no longer than the longest');
SELECT is(claim(), 3, 'the last attempt');
SELECT is(flop('no luck at all'), 'dead', 'fails for good');
SELECT is((SELECT count(*) FROM shop.job), 0::bigint, 'it is not in the queue any more');
SELECT is((SELECT (id, attempts, error, worker, key)::text FROM shop.job_dead), format('(%s,3,"no luck at all",w,k)', :'job'), 'but among the dead letters');
SELECT isnt(shop.enqueue('test', '{}', 'k'), NULL, 'its key is free');

-- Sent again.
SELECT refuses(format('SELECT shop.retry_job(%L)', :'job'), 'HS502', 'a dead job whose key is taken is not sent again');
SELECT is(claim(), 1, 'when the other one');
SELECT is((SELECT count(*) FROM shop.finish_jobs((SELECT lease FROM claimed), ARRAY(SELECT id FROM claimed))), 1::bigint, 'is finished');
SELECT lives_ok(format('SELECT shop.retry_job(%L)', :'job'), 'it is');
SELECT is((SELECT count(*) FROM shop.job_dead), 0::bigint, 'the dead letter is gone');
SELECT is(shop.enqueue('test', '{}', 'k'), NULL, 'the key is its again');
SELECT is(claim(), 1, 'and its attempts count anew');
SELECT refuses(format('SELECT shop.retry_job(%L)', :'job'), 'HS504', 'one that runs cannot be tried again');
SELECT is(flop('bad address', true), 'dead', 'a worker may know that there is no use');
SELECT refuses('SELECT shop.retry_job(gen_random_uuid())', 'HS004', 'what is not there cannot be sent');

-- A job that kills its worker.
SELECT shop.enqueue('test', '{}') AS poison \gset
CREATE FUNCTION crash() RETURNS text LANGUAGE sql AS $$
    SELECT claim();
    UPDATE shop.job SET leased_until = clock_timestamp() - interval '1 s';
    SELECT shop.tend_jobs();
    SELECT (count(*), max(attempts), bool_or(lease IS NOT NULL))::text FROM shop.job;
$$;
SELECT is(crash(), '(1,1,f)', 'a job whose worker has died waits again');
SELECT is(crash(), '(1,2,f)', 'and again');
SELECT is(crash(), '(0,,)', 'but not for ever');
SELECT is((SELECT attempts FROM shop.job_dead WHERE id = :'poison'), 3, 'it is dead after its last attempt, though nobody ever said that it has failed');

-- Cancelled.
SELECT shop.enqueue('test', '{}', 'k2') AS waiting \gset
SELECT lives_ok(format('SELECT shop.cancel_job(%L)', :'waiting'), 'a job that waits can be cancelled');
SELECT is(claim(), NULL, 'then nobody gets it');
SELECT lives_ok(format('SELECT shop.cancel_job(%L)', :'waiting'), 'twice, if one likes');
SELECT isnt(shop.enqueue('test', '{}', 'k2'), NULL, 'its key is free');
SELECT is(claim(), 1, 'one that runs');
SELECT lives_ok('SELECT shop.cancel_job(id) FROM claimed', 'can be cancelled, too');
SELECT is((SELECT count(*) FROM shop.heartbeat_jobs((SELECT lease FROM claimed), ARRAY(SELECT id FROM claimed))), 0::bigint, 'its worker learns of it by his heartbeat');
SELECT is((SELECT count(*) FROM shop.finish_jobs((SELECT lease FROM claimed), ARRAY(SELECT id FROM claimed))), 0::bigint, 'and cannot finish it');
SELECT is((SELECT string_agg(state, ' ' ORDER BY state) FROM shop.job_list), 'cancelled cancelled dead dead', 'dead and cancelled letters are told apart');
SELECT refuses('SELECT shop.cancel_job(gen_random_uuid())', 'HS004', 'what is not there cannot be cancelled');

-- Secrets.
CREATE FUNCTION reset() RETURNS uuid LANGUAGE sql AS $$SELECT shop.enqueue('password_reset', '{"account_id": "7", "token": "7.secret"}')$$;
CREATE FUNCTION buried(p_id uuid) RETURNS text LANGUAGE sql AS $$SELECT payload FROM shop.job_dead WHERE id = p_id$$;
SELECT reset() AS reset \gset
SELECT is((SELECT count(*) FROM shop.claim_jobs('w', '{password_reset}') AS c, shop.fail_jobs(c.lease, ARRAY[c.id], '{no}', true) AS f WHERE f.dead), 1::bigint, 'a job with a token dies');
SELECT is(buried(:'reset'), '{"account_id": "7"}', 'and leaves the token behind');
SELECT reset() AS reset \gset
UPDATE shop.job_kind SET attempts = 1 WHERE kind = 'password_reset';
SELECT is((SELECT count(*) FROM shop.claim_jobs('w', '{password_reset}')), 1::bigint, 'so does one');
UPDATE shop.job SET leased_until = clock_timestamp() - interval '1 s' WHERE id = :'reset';
SELECT is((shop.tend_jobs(), buried(:'reset'))::text, '(t,"{""account_id"": ""7""}")', 'whose worker has died');
SELECT reset() AS reset \gset
SELECT lives_ok(format('SELECT shop.cancel_job(%L)', :'reset'), 'and one that is cancelled');
SELECT is(buried(:'reset'), '{"account_id": "7"}', 'does as well');
SELECT is(shop.buried_payload(v), v, format('nothing is taken out of %s', v)) FROM unnest('{"\"token\"","[\"token\"]"}'::jsonb[]) AS v;

-- Others.
SELECT refuses($$SELECT shop.fail_jobs(gen_random_uuid(), ARRAY[gen_random_uuid()], '{}')$$, 'HS015', 'each failure has its reason', '/reasons');
SELECT is((SELECT count(*) FROM shop.fail_jobs(gen_random_uuid(), '{}', '{}')), 0::bigint, 'no failures are none');
UPDATE shop.job_dead SET died_at = clock_timestamp() - interval '91 days' WHERE id = :'poison';
SELECT is(shop.tend_jobs(), true, 'the queue is tended');
SELECT is((SELECT count(*) FROM shop.job_dead WHERE id = :'poison'), 0::bigint, 'and dead letters are forgotten after 90 days');
SELECT is((SELECT count(*) FROM shop.verify()), 0::bigint, 'the keys are those of the unfinished jobs');
SELECT finish();
ROLLBACK;

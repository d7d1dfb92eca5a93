-- GET /v1/admin/jobs, and what an admin can do about a job.
\ir include/begin.sql
SELECT plan(76);
DELETE FROM shop.job_log;
INSERT INTO shop.job_kind (kind, lease) VALUES ('test', '10 min'), ('other', '10 min');
SELECT person('root', '{user,admin}') AS root, person('eve') AS eve, merchant('mallory') AS mallory \gset
SELECT set_config('test.root', :'root', true), set_config('test.eve', :'eve', true) \g /dev/null
CREATE FUNCTION root() RETURNS bigint LANGUAGE sql AS $$SELECT current_setting('test.root')::bigint$$;
CREATE FUNCTION eve() RETURNS bigint LANGUAGE sql AS $$SELECT current_setting('test.eve')::bigint$$;
CREATE FUNCTION jobs(p_query jsonb DEFAULT '{}') RETURNS json LANGUAGE sql AS $$SELECT body FROM rest.admin_jobs(root(), p_query)$$;
CREATE FUNCTION ids(p_query jsonb DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(i.value ->> 'key', ' ' ORDER BY i.n), '') FROM json_array_elements(jobs(p_query) -> 'items') WITH ORDINALITY AS i (value, n)
$$;

SELECT is((SELECT status FROM rest.admin_jobs(root(), '{}')), 200, 'an admin sees the queue');
SELECT is((jobs() ->> 'items', jobs() ->> 'next')::text, '([],)', 'which is empty');
SELECT is((SELECT string_agg(k ->> 'kind', ' ') FROM json_array_elements(jobs() -> 'monitor' -> 'kinds') AS k), (SELECT string_agg(kind, ' ' ORDER BY kind) FROM shop.job_kind), 'all kinds are there');
SELECT count(shop.enqueue(k, '{"token": "secret"}', k || n)) FROM generate_series(1, 3) AS n, unnest('{test,other}'::text[]) AS k \g /dev/null
SELECT shop.enqueue('test', '{}', 'scheduled', clock_timestamp() + interval '1 h') AS scheduled \gset
CREATE TABLE claimed AS SELECT c.*, j.key FROM shop.claim_jobs('w', '{other}', 2) AS c, LATERAL (SELECT NULL::text AS key) AS j;
UPDATE claimed AS c SET key = j.key FROM shop.job AS j WHERE j.id = c.id;
SELECT is((SELECT count(*) FROM shop.fail_jobs((SELECT lease FROM claimed LIMIT 1), ARRAY(SELECT id FROM claimed WHERE key = 'other1'), '{broken}', true)), 1::bigint, 'one is dead');

SELECT is((SELECT count(*) FROM json_array_elements(jobs() -> 'items')), 7::bigint, 'all jobs are listed');
SELECT is((SELECT string_agg(value ->> 'id', ' ' ORDER BY n) FROM json_array_elements(jobs() -> 'items') WITH ORDINALITY AS i (value, n)),
    (SELECT string_agg(id::text, ' ' ORDER BY id DESC) FROM shop.job_list), 'the newest first');
SELECT is(ids('{"state": "dead"}'), 'other1', 'those that are dead');
SELECT is(ids('{"state": "running"}'), 'other2', 'those that run');
SELECT is(ids('{"state": "scheduled"}'), 'scheduled', 'those for later');
SELECT is(ids('{"state": "retrying"}'), '', 'those that have failed');
SELECT is(ids('{"state": "waiting", "kind": "other"}'), 'other3', 'those of a kind');
SELECT is(ids('{"kind": "nothing"}'), '', 'of which there may be none');
SELECT is((jobs('{"state": "dead"}') -> 'items' -> 0 ->> 'error', jobs('{"state": "dead"}') -> 'items' -> 0 ->> 'worker', jobs('{"state": "dead"}') -> 'items' -> 0 ->> 'attempts')::text, '(broken,w,1)', 'with the reason');
SELECT ok(jobs()::text !~ 'secret', 'but without payloads');
SELECT is((SELECT (k ->> 'waiting', k ->> 'running', k ->> 'dead')::text FROM json_array_elements(jobs() -> 'monitor' -> 'kinds') AS k WHERE k ->> 'kind' = 'other'), '(1,1,1)', 'counts by kind');
SELECT is((SELECT (w ->> 'alive', w ->> 'running', w ->> 'failed')::text FROM json_array_elements(jobs() -> 'monitor' -> 'workers') AS w WHERE w ->> 'worker' = 'w'), '(true,1,1)', 'and by worker');
SELECT is((SELECT sum((m ->> 'claimed')::integer) FROM json_array_elements(jobs() -> 'monitor' -> 'minutes') AS m), 2::bigint, 'and by minute');

-- Pages.
CREATE FUNCTION pages(p_limit text) RETURNS integer[] LANGUAGE plpgsql AS $$
DECLARE
    v_query jsonb := jsonb_build_object('limit', p_limit);
    v_page json;
    v_pages integer[];
    v_seen text[];
BEGIN
    LOOP
        v_page := jobs(v_query);
        v_pages := v_pages || json_array_length(v_page -> 'items');
        v_seen := v_seen || ARRAY(SELECT i ->> 'id' FROM json_array_elements(v_page -> 'items') AS i);
        EXIT WHEN v_page ->> 'next' IS NULL;
        v_query := v_query || jsonb_build_object('cursor', v_page ->> 'next');
    END LOOP;
    RETURN v_pages || (SELECT count(DISTINCT s)::integer FROM unnest(v_seen) AS s);
END $$;
SELECT is(pages('3'), '{3,3,1,7}', 'page by page each is seen once');
SELECT is(pages('7'), '{7,7}', 'a full page may be the last');

-- What an admin can do.
SELECT id AS dead FROM shop.job_dead \gset
SELECT id AS running FROM claimed WHERE key = 'other2' \gset
SELECT is((SELECT (status, body ->> 'state', body ->> 'attempts')::text FROM rest.admin_job_retry(root(), :'dead')), '(200,waiting,0)', 'a dead job is sent again');
SELECT is((SELECT (status, body ->> 'state')::text FROM rest.admin_job_retry(root(), :'scheduled')), '(200,waiting)', 'one for later is due now');
SELECT is((SELECT (status, body ->> 'state')::text FROM rest.admin_job_cancel(root(), :'scheduled')), '(200,cancelled)', 'or cancelled');
SELECT is((SELECT (status, body ->> 'state')::text FROM rest.admin_job_cancel(root(), :'scheduled')), '(200,cancelled)', 'twice is as good as once');
SELECT is((SELECT body ->> 'state' FROM rest.admin_job_retry(root(), :'scheduled')), 'waiting', 'and sent again');
SELECT refuses(format('SELECT rest.admin_job_retry(root(), %L)', :'running'), 'HS504', 'one that runs cannot be tried again');
SELECT is((SELECT body ->> 'state' FROM rest.admin_job_cancel(root(), :'running')), 'cancelled', 'but cancelled');
SELECT lives_ok($$SELECT shop.enqueue('test', '{}', 'other2')$$, 'its key is free');
SELECT refuses(format('SELECT rest.admin_job_retry(root(), %L)', :'running'), 'HS502', 'and if somebody has taken it, it is not sent again');
SELECT refuses('SELECT rest.admin_job_retry(root(), gen_random_uuid())', 'HS004', 'there must be such a job to be sent');
SELECT refuses('SELECT rest.admin_job_cancel(root(), gen_random_uuid())', 'HS004', 'or cancelled');
SELECT refuses('SELECT rest.admin_job_cancel(root(), NULL)', 'HS004', 'none is none');
SELECT refuses($$SELECT rest.admin_job_cancel(root(), 'x'::text::uuid)$$, '22P02', 'what is no id cannot be read');

-- One job.
SELECT shop.enqueue('other', '{"token": "secret", "n": 1}', 'looked at', NULL, 9) AS job \gset
UPDATE shop.job_kind SET backoff = '1 h' WHERE kind = 'other';
CREATE TABLE attempt AS SELECT * FROM shop.claim_jobs('w', '{other}', 1);
SELECT is((SELECT (status, body ->> 'id', body ->> 'state', body ->> 'worker', body ->> 'payload', body ->> 'failures', (body ->> 'running_seconds')::numeric < 60)::text FROM rest.admin_job_get(root(), :'job')),
    format('(200,%s,running,w,"{""n"": 1}",[],t)', :'job'), 'an admin looks at one job: what it is about, but for the secret');
SELECT count(*) FROM shop.fail_jobs((SELECT lease FROM attempt), ARRAY(SELECT id FROM attempt), '{451 try again}') \g /dev/null
SELECT is((SELECT (body ->> 'state', body ->> 'error', body #>> '{failures,0,attempt}', body #>> '{failures,0,worker}', body #>> '{failures,0,error}', body #>> '{failures,0,ended_at}' ~ 'Z$', body ->> 'running_seconds')::text
    FROM rest.admin_job_get(root(), :'job')), '(retrying,"451 try again",1,w,"451 try again",t,)', 'and how it went');
SELECT is((SELECT (f ->> 'kind', f ->> 'error', f ->> 'jobs', f ->> 'dead', f ->> 'last_at' IS NOT NULL)::text FROM json_array_elements(jobs() -> 'monitor' -> 'failures') AS f WHERE f ->> 'error' ~ '451'),
    '(other,"451 try again",1,0,t)', 'reasons are counted');
SELECT is((SELECT (status, body ->> 'state')::text FROM rest.admin_job_retry(root(), :'job')), '(200,waiting)', 'it is tried again at once');
SELECT shop.cancel_job(:'job') \g /dev/null
SELECT is((SELECT (body ->> 'state', body ->> 'payload', json_array_length(body -> 'failures'))::text FROM rest.admin_job_get(root(), :'job')), '(cancelled,"{""n"": 1}",1)', 'one that was cancelled is still there');
SELECT is((SELECT count(*) FROM json_array_elements(jobs() -> 'monitor' -> 'failures') AS f WHERE f ->> 'error' ~ '451'), 0::bigint, 'but has not failed');
SELECT refuses('SELECT rest.admin_job_get(root(), gen_random_uuid())', 'HS004', 'there must be such a job to be looked at');
SELECT refuses(format('SELECT rest.admin_job_get(eve(), %L)', :'job'), 'HS003', 'it is for admins');

-- Kinds.
CREATE FUNCTION kind(p_kind text) RETURNS text LANGUAGE sql AS $$
    SELECT (k ->> 'paused', k ->> 'concurrency', k ->> 'attempts', k ->> 'waiting', k ->> 'dead', k ->> 'workers')::text
    FROM rest.admin_job_kinds(root()) AS r, json_array_elements(r.body -> 'items') AS k WHERE k ->> 'kind' = p_kind
$$;
UPDATE shop.job SET due_at = clock_timestamp() - interval '1 min' WHERE kind = 'test';
SELECT count(*) AS waiting FROM shop.job WHERE kind = 'test' \gset
SELECT is((SELECT json_array_length(body -> 'items') FROM rest.admin_job_kinds(root())), (SELECT count(*)::integer FROM shop.job_kind), 'kinds are listed');
SELECT is(kind('test'), format('(false,,10,%s,0,0)', :waiting), 'with settings and figures');
SELECT is((SELECT (status, body ->> 'kind', body ->> 'paused')::text FROM rest.admin_job_kind_update(root(), 'test', '{"paused": true}')), '(200,test,true)', 'one is paused');
CREATE FUNCTION looked_at() RETURNS numeric LANGUAGE sql AS $$
    SELECT sum(pg_stat_get_xact_tuples_returned(r.oid)) FROM (SELECT c.oid FROM pg_class AS c WHERE c.relnamespace = 'shop'::regnamespace AND c.relname ~ '^job_([0-4]|log|minute|dead|duration)') AS r
$$;
SELECT looked_at() AS before \gset
SELECT is((SELECT array_agg(k ORDER BY k) FROM rest.admin_job_kind_update(root(), 'test', '{"paused": true}') AS r, json_object_keys(r.body) AS k),
    '{attempts,backoff_max_seconds,backoff_seconds,concurrency,kind,lease_seconds,paused}', 'the answer is its settings');
SELECT is(looked_at(), :before::numeric, 'for which no job is looked at');
SELECT is((SELECT count(*) FROM shop.claim_jobs('w', '{test}', 100)), 0::bigint, 'and not done');
SELECT isnt(shop.enqueue('test', '{}'), NULL, 'but taken in');
SELECT is((rest.admin_job_kind_update(root(), 'test', '{"paused": false, "concurrency": 2, "attempts": 1}')).status, 200, 'it goes on');
SELECT is(kind('test'), format('(false,2,1,%s,0,0)', :waiting + 1), 'with limits');
CREATE TABLE limited AS SELECT * FROM shop.claim_jobs('w', '{test}', 100);
SELECT is((SELECT count(*) FROM limited), 2::bigint, 'which hold');
SELECT is((SELECT (body ->> 'concurrency', body ->> 'attempts')::text FROM rest.admin_job_kind_update(root(), 'test', '{"concurrency": null}')), '(,1)', 'null takes one away');
SELECT is((SELECT count(*) FROM shop.fail_jobs((SELECT lease FROM limited LIMIT 1), ARRAY(SELECT id FROM limited), '{"no route","no route"}')), 2::bigint, 'after the only attempt they are dead');

-- All that are dead.
SELECT shop.enqueue('test', '{}', 'twice') \g /dev/null
UPDATE shop.job_dead SET key = 'twice' WHERE id = (SELECT min(id::text)::uuid FROM limited);
SELECT is((SELECT body::text FROM rest.admin_job_kind_retry(root(), 'test', '{}')), '{"retried" : 1, "passed_over" : 1, "dead" : 1}', 'the dead ones of a kind are sent again, but for one whose key is taken');
SELECT is((SELECT (body ->> 'state', json_array_length(body -> 'failures'))::text FROM rest.admin_job_get(root(), (SELECT max(id::text)::uuid FROM limited))), '(waiting,1)', 'they wait to be done');
SELECT is((SELECT body::text FROM rest.admin_job_kind_retry(root(), 'test', NULL)), '{"retried" : 0, "passed_over" : 1, "dead" : 1}', 'which stays');
DELETE FROM shop.job WHERE key = 'twice';
SELECT is((SELECT body::text FROM rest.admin_job_kind_retry(root(), 'test', '{"limit": 1}')), '{"retried" : 1, "passed_over" : 0, "dead" : 0}', 'until the key is free');
SELECT refuses(format('SELECT rest.admin_job_kind_update(root(), %L, %L)', k, b), c, format('%s of %s is refused', b, k), p)
FROM (VALUES ('nothing', '{}', 'HS004', ''), ('test', '{"paused": null}', 'HS010', '/paused'), ('test', '{"attempts": 0}', 'HS014', '/attempts'), ('test', '{"concurrency": -1}', 'HS014', '/concurrency'),
    ('test', '{"lease": 1}', 'HS009', '/lease')) AS v (k, b, c, p);
SELECT refuses($$SELECT rest.admin_job_kind_retry(root(), 'nothing', '{}')$$, 'HS004', 'nothing is sent of a kind that there is not');
SELECT refuses($$SELECT rest.admin_job_kind_retry(root(), 'test', '{"limit": 1001}')$$, 'HS014', 'nor too much at once', '/limit');
SELECT refuses($$SELECT rest.admin_job_kinds(eve())$$, 'HS003', 'kinds are for admins');

-- Bad input.
SELECT refuses(format('SELECT rest.admin_jobs(root(), %L)', q), c, format('%s is refused', left(q, 40)), p)
FROM (VALUES ('{"state": "done"}', 'HS015', '?state'), ('{"limit": "0"}', 'HS014', '?limit'), ('{"limit": "201"}', 'HS014', '?limit'), ('{"limit": "x"}', 'HS011', '?limit'),
    ('{"cursor": "x"}', 'HS016', '?cursor'), ('{"sort": "x"}', 'HS009', '?sort'), ('[]', 'HS011', '?')) AS v (q, c, p);
SELECT refuses($$SELECT rest.admin_jobs(eve(), '{}')$$, 'HS003', 'a user does not see the queue');
SELECT refuses($$SELECT rest.admin_jobs(NULL, '{}')$$, 'HS001', 'nor does nobody');
SELECT refuses('SELECT rest.admin_job_retry(eve(), gen_random_uuid())', 'HS003', 'nor send jobs');
SELECT refuses('SELECT rest.admin_job_cancel(eve(), gen_random_uuid())', 'HS003', 'nor cancel them');
UPDATE shop.account SET suspended_at = clock_timestamp() WHERE id = root();
SELECT refuses($$SELECT rest.admin_jobs(root(), '{}')$$, 'HS002', 'nor an admin who is suspended');
SELECT finish();
ROLLBACK;

-- What operators and monitors ask for: rest.ready() and rest.metrics().
\ir include/begin.sql
SELECT plan(54);
DELETE FROM shop.job_log;
INSERT INTO shop.job_kind (kind, lease) VALUES ('test', '10 min'), ('other', '10 min');
SELECT person('root', '{user,admin}') AS root, person('eve') AS eve, person('olga') AS olga \gset
SELECT set_config('test.olga', :'olga', true) \g /dev/null
CREATE FUNCTION olga() RETURNS bigint LANGUAGE sql AS $$SELECT current_setting('test.olga')::bigint$$;
CREATE FUNCTION ready(VARIADIC p_path text[]) RETURNS text LANGUAGE sql AS $$SELECT body #>> p_path FROM rest.ready(NULL)$$;
-- The samples of a family, or those with some labels: "label value", one after the other.
CREATE FUNCTION family(p_name text) RETURNS json LANGUAGE sql AS $$
    SELECT f FROM rest.metrics(NULL) AS r, json_array_elements(r.body) AS f WHERE f ->> 'name' = 'holdfast_' || p_name
$$;
CREATE FUNCTION figure(p_name text, p_labels jsonb DEFAULT '{}') RETURNS numeric LANGUAGE sql AS $$
    SELECT sum((s ->> 'value')::numeric) FROM json_array_elements(family(p_name) -> 'samples') AS s WHERE (s -> 'labels')::jsonb @> p_labels
$$;

-- Who may ask.
SELECT is((SELECT status FROM rest.ready(NULL)), 200, 'the application asks whether all is well');
SELECT is((SELECT status FROM rest.metrics(NULL)), 200, 'and what the figures are');
SELECT is((SELECT (r.status, m.status)::text FROM rest.ready(:root) AS r, rest.metrics(:root) AS m), '(200,200)', 'as does an admin');
SELECT refuses(format('SELECT rest.%s(%s)', f, :'eve'), 'HS003', format('a user does not see %s', f)) FROM unnest('{ready,metrics}'::text[]) AS f;
SELECT refuses(format('SELECT rest.%s(4711)', f), 'HS001', format('nor a stranger %s', f)) FROM unnest('{ready,metrics}'::text[]) AS f;

-- Readiness.
SELECT is((SELECT string_agg(k, ' ') FROM rest.ready(NULL) AS r, json_object_keys(r.body) AS k), 'database invalidation jobs worker version', 'readiness has five parts');
SELECT is(ready('database'), 'up', 'the database is up');
SELECT is(ready('version', 'holdfast'), (SELECT extversion FROM pg_extension WHERE extname = 'holdfast'), 'it has a version');
SELECT is(ready('version', 'server'), current_setting('server_version_num')::integer / 10000 || '.' || current_setting('server_version_num')::integer % 10000, 'so has its server');
SELECT is(ready('invalidation', 'state'), (SELECT state FROM holdfast.cache_status), 'invalidation is in the state that it is in');
SELECT is((SELECT body::text ~ '"lag_ms" : [0-9.]+, "backlog" : [0-9]+' FROM rest.ready(NULL)), true, 'behind by so much');
SELECT is((SELECT body ->> 'jobs' FROM rest.ready(NULL)), '{"waiting" : 0, "running" : 0, "dead" : 0, "oldest_waiting_seconds" : null}', 'nothing is to be done');
SELECT is((SELECT body ->> 'worker' FROM rest.ready(NULL)), '{"alive" : false, "seen_at" : null, "workers" : 0}', 'and nobody is there to do it');
SAVEPOINT read_only;
SET LOCAL transaction_read_only = on;
SELECT is(ready('database'), 'read_only', 'a database that cannot be written to says so');
ROLLBACK TO read_only;

SELECT count(*) FROM shop.claim_jobs('w', '{test}') \g /dev/null
SELECT is(ready('worker', 'alive'), 'true', 'a worker that finds nothing is alive');
SELECT is(ready('worker', 'seen_at'), (SELECT shop.json_time(max(at)) FROM shop.job_log WHERE event = 'tend'), 'and was seen');
UPDATE shop.job_log SET at = at - interval '61 s';
SELECT is(ready('worker', 'alive'), 'false', 'one that has not asked for a minute is not');
SELECT shop.enqueue('test', '{}', 'test' || n, clock_timestamp() - interval '5 s') FROM generate_series(1, 3) AS n \g /dev/null
SELECT shop.enqueue('test', '{}', 'first', NULL, 5), shop.enqueue('other', '{}'), shop.enqueue('other', '{}', 'later', clock_timestamp() + interval '1 h') \g /dev/null
UPDATE shop.job SET due_at = clock_timestamp() - interval '90 s' WHERE key = 'test2';
SELECT is((ready('jobs', 'waiting'), ready('jobs', 'running'), ready('jobs', 'dead'))::text, '(5,0,0)', 'jobs that are due wait');
SELECT ok(ready('jobs', 'oldest_waiting_seconds')::numeric BETWEEN 90 AND 100, 'since when the oldest is due');
CREATE TABLE claimed AS SELECT * FROM shop.claim_jobs('w', '{test}', 4);
UPDATE shop.job_log SET at = at - interval '61 s' WHERE at > clock_timestamp() - interval '61 s';
SELECT is((ready('jobs', 'waiting'), ready('jobs', 'running'), ready('jobs', 'dead'))::text, '(1,4,0)', 'jobs that are claimed run');
SELECT is(ready('worker', 'alive'), 'true', 'who has a lease that is good is alive');
SELECT figure('jobs', '{"kind": "test", "state": "overdue"}') AS overdue \gset
UPDATE shop.job SET leased_until = clock_timestamp() - interval '1 s' WHERE lease IS NOT NULL;
SELECT is(ready('worker', 'alive'), 'false', 'and not for longer');
SELECT is((:overdue, figure('jobs', '{"kind": "test", "state": "overdue"}'))::text, '(0,4)', 'then the jobs are overdue');
SELECT count(*) FROM shop.fail_jobs((SELECT lease FROM claimed LIMIT 1), ARRAY(SELECT id FROM claimed ORDER BY id LIMIT 1), '{broken}', true) \g /dev/null
SELECT count(*) FROM shop.fail_jobs((SELECT lease FROM claimed LIMIT 1), ARRAY(SELECT id FROM claimed ORDER BY id DESC LIMIT 1), '{broken}') \g /dev/null
SELECT is((ready('jobs', 'waiting'), ready('jobs', 'running'), ready('jobs', 'dead'))::text, '(1,2,1)', 'one that has failed for good is dead');

-- The figures of jobs.
SELECT is((SELECT string_agg(s -> 'labels' ->> 'state' || ' ' || (s ->> 'value'), ', ' ORDER BY s -> 'labels' ->> 'state') FROM json_array_elements(family('jobs') -> 'samples') AS s
    WHERE s -> 'labels' ->> 'kind' = 'test'), 'dead 1, later 1, overdue 2, running 2, waiting 0', 'jobs are counted by state');
SELECT is((figure('jobs', '{"kind": "other", "state": "waiting"}'), figure('jobs', '{"kind": "other", "state": "later"}'))::text, '(1,1)', 'and by kind');
SELECT is((SELECT count(*) FROM json_array_elements(family('jobs') -> 'samples')), 5 * (SELECT count(*) FROM shop.job_kind), 'kinds without jobs have zeros');
SELECT is((figure('jobs_oldest_waiting_seconds', '{"kind": "test"}') = 0, figure('jobs_oldest_waiting_seconds', '{"kind": "other"}') > 0)::text, '(t,t)', 'and no age');
SELECT is(figure('jobs_seen_timestamp_seconds'), (SELECT extract(epoch FROM max(at)) FROM shop.job_log WHERE event = 'tend'), 'when a worker was seen is a time');
SELECT is((SELECT string_agg(format('%s %s %s %s %s', f.kind, f.waiting, f.running, f.overdue, f.dead), ', ' ORDER BY f.kind) FROM shop.job_figures(10000) AS f),
    (SELECT string_agg(format('%s %s %s %s %s', s.kind, s.waiting, s.running, s.overdue, s.dead), ', ' ORDER BY s.kind) FROM shop.job_summary AS s), 'below their bound the figures are those of the views');
SELECT shop.enqueue('test', '{}', 'many' || n, NULL, n % 3) FROM generate_series(1, 30) AS n \g /dev/null
SELECT is((SELECT (waiting, later, running, dead)::text FROM shop.job_figures(7) WHERE kind = 'test'), '(7,1,2,1)', 'they are counted up to it');

-- The others.
SELECT is((SELECT string_agg(DISTINCT f ->> 'type', ' ') FROM rest.metrics(NULL) AS r, json_array_elements(r.body) AS f
    WHERE (f ->> 'name' ~ '_total$') <> (f ->> 'type' = 'counter') OR f ->> 'name' !~ '^holdfast_[a-z_]+$' OR f ->> 'help' !~ '\.$' OR f ->> 'type' NOT IN ('counter', 'gauge', 'summary')), NULL,
    'families are named as Prometheus wants it');
SELECT is((SELECT count(*) FROM rest.metrics(NULL) AS r, json_array_elements(r.body) AS f), (SELECT count(*) FROM shop.metric_families()), 'all of them are there');
SELECT is((SELECT string_agg(DISTINCT x.name, ' ') FROM (SELECT name FROM shop.extension_figures() UNION ALL SELECT name FROM shop.shop_figures() UNION ALL SELECT name FROM shop.work_figures()) AS x
    WHERE x.name NOT IN (SELECT name FROM shop.metric_families())), NULL, 'and there is no figure of another');
SELECT is((SELECT string_agg(json_typeof(s -> 'value') || ' ' || json_typeof(s -> 'labels'), ' ') FROM rest.metrics(NULL) AS r, json_array_elements(r.body) AS f, json_array_elements(f -> 'samples') AS s
    WHERE json_typeof(s -> 'value') <> 'number' OR json_typeof(s -> 'labels') <> 'object'), NULL, 'a sample is a number with labels');
SELECT is((SELECT string_agg(s -> 'labels' ->> 'state', ' ') FROM json_array_elements(family('invalidation_state') -> 'samples') AS s WHERE (s ->> 'value')::integer = 1),
    (SELECT state FROM holdfast.cache_status), 'invalidation is in one state');
SELECT is((SELECT (figure('invalidation_generations_total'), figure('invalidation_lost_transactions_total'), figure('invalidation_ring_used_ratio'))::text),
    (SELECT (generations::numeric, lost::numeric, ring_used)::text FROM holdfast.cache_status), 'its figures are those of cache_status');
SELECT cmp_ok(figure('invalidation_heartbeat_timestamp_seconds'), '<=', extract(epoch FROM clock_timestamp()), 'its heartbeat is a time');
SELECT cmp_ok(figure('database_sessions'), '>=', 1::numeric, 'this session is one of the database''s');
SELECT is(figure('database_deadlocks_total'), (SELECT deadlocks::numeric FROM pg_stat_database WHERE datname = current_database()), 'deadlocks are counted');
SELECT is((SELECT string_agg(s -> 'labels' ->> 'type', ' ' ORDER BY s -> 'labels' ->> 'type') FROM json_array_elements(family('database_locks_waiting') -> 'samples') AS s),
    'advisory other relation transactionid tuple', 'waits are told apart by what is waited for');
SELECT cmp_ok(figure('database_lock_longest_wait_seconds'), '>=', 0::numeric, 'the longest takes so long');

-- Orders, calls of providers, sales.
SELECT figure('orders_pending') AS pending \gset
SELECT holdfast.add_provider('simulated') \g /dev/null
CREATE TABLE ordered AS SELECT (rest.order_place(olga(), 'key of order ' || n, jsonb_build_object('items', jsonb_build_array(jsonb_build_object('sku_id', sku('mark', 'S1')::text, 'quantity', 1))))).body ->> 'id' AS id
FROM generate_series(1, 3) AS n;
SELECT is(figure('orders_pending') - :pending, 3::numeric, 'orders that are to be paid are counted');
SELECT is(figure('orders_overdue_seconds'), 0::numeric, 'none is over');
UPDATE shop.order SET expires_at = clock_timestamp() - interval '30 s' WHERE id = (SELECT id::uuid FROM ordered LIMIT 1);
SELECT cmp_ok(figure('orders_overdue_seconds'), '>=', 30::numeric, 'until one is, and nobody writes it down');
SELECT is((family('provider_calls_open') ->> 'samples'), '[]', 'nothing is open at a provider');
SELECT rest.payment_create(olga(), (SELECT id::uuid FROM ordered OFFSET 1 LIMIT 1), 'payment of order', '{"provider": "simulated", "method": "test_approve"}') \g /dev/null
SELECT is(figure('provider_calls_open', '{"provider": "simulated", "state": "pending"}'), 1::numeric, 'but a payment is a call');
SELECT cmp_ok(figure('provider_calls_late_seconds', '{"provider": "simulated"}'), '>=', 0::numeric, 'which is late in time');
SELECT figure('sales', '{"state": "open"}') AS open, figure('sales', '{"state": "scheduled"}') AS scheduled, figure('sales', '{"state": "unsettled"}') AS unsettled \gset
INSERT INTO shop.sale (merchant_id, sku_id, price, currency, quantity, starts_at, ends_at, per_account_limit, ticket_quota, preheated_at, closed_at)
SELECT merchant('mark'), sku('mark', 'S1'), 100, 'EUR', 10, clock_timestamp() + s.begins, clock_timestamp() + s.ends, 1, 10, s.preheated, s.closed
FROM (VALUES (interval '-1 min', interval '1 h', clock_timestamp(), NULL::timestamptz), ('-1 min', '1 h', NULL, NULL), ('1 min', '1 h', clock_timestamp(), NULL),
    ('1 min', '2 h', clock_timestamp(), NULL), ('-2 h', '-1 h', clock_timestamp(), NULL), ('-1 min', '1 h', clock_timestamp(), clock_timestamp())) AS s (begins, ends, preheated, closed);
SELECT is((figure('sales', '{"state": "open"}') - :open, figure('sales', '{"state": "scheduled"}') - :scheduled, figure('sales', '{"state": "unsettled"}') - :unsettled)::text, '(1,2,2)',
    'sales are counted by what the clock makes of them');

-- That it is cheap: nothing large is read as a whole, whatever the statistics say.
CREATE FUNCTION scans() RETURNS bigint LANGUAGE sql AS $$
    SELECT sum(pg_stat_get_xact_numscans(c.oid)) FROM pg_class AS c WHERE c.relkind = 'r'
    AND (c.relname ~ '^job_[0-4]$' OR c.relname ~ '^job_log_' OR c.relname IN ('job_dead', 'order', 'sale', 'provider_call', 'payment', 'hold'))
$$;
SELECT scans() AS before \gset
SELECT status FROM rest.ready(NULL) UNION ALL SELECT status FROM rest.metrics(NULL) \g /dev/null
SELECT is(scans() - :before, 0::bigint, 'no large table is read from end to end');
SELECT count(*) FROM shop.job_summary \g /dev/null
SELECT cmp_ok(scans(), '>', :before::bigint, 'as the views read them');
SELECT ok((SELECT bool_and(p.prosecdef) FROM pg_proc AS p WHERE p.pronamespace = 'rest'::regnamespace AND p.proname IN ('ready', 'metrics')), 'both act for the shop');
SELECT finish();
ROLLBACK;

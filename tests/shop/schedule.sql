-- What the clock has to do, and when: shop.schedule.
\ir include/begin.sql
SELECT plan(61);
SELECT person('root', '{user,admin}') AS root, person('eve') AS eve \gset
SELECT set_config('test.root', :'root', true) \g /dev/null
CREATE FUNCTION root() RETURNS bigint LANGUAGE sql AS $$SELECT current_setting('test.root')::bigint$$;

-- What there is.
SELECT is((SELECT string_agg(name, ' ' ORDER BY name) FROM shop.schedule), 'expiry_mail low_stock partitions purge reports sales tend', 'what the clock has to do');
SELECT is(shop.run_schedule(name), 'done', name || ' works') FROM shop.schedule ORDER BY name;
SELECT is((SELECT count(*) FROM shop.schedule_run WHERE runs = 1 AND failures = 0 AND last_error IS NULL AND last_ok_at = last_run_at AND took >= '0' AND next_at > last_run_at), 7::bigint, 'that is noted, and when it is next');

-- Times.
SELECT is(shop.next_run(e, a, t), w, format('every %s after %s, from %s', e, a, t))
FROM (VALUES (interval '1 min', interval '0', timestamptz '2026-03-29 01:00:00+00', timestamptz '2026-03-29 01:01:00+00'), ('1 min', '0', '2026-03-29 01:00:59.9+00', '2026-03-29 01:01:00+00'),
    ('10 min', '3 min', '2026-03-29 01:02:00+00', '2026-03-29 01:03:00+00'), ('1 h', '27 min', '2026-03-29 01:27:00+00', '2026-03-29 02:27:00+00'),
    ('1 day', '3 h 17 min', '2026-03-29 03:16:00+00', '2026-03-29 03:17:00+00'), ('1 day', '3 h 17 min', '2026-03-29 03:17:01+00', '2026-03-30 03:17:00+00')) AS v (e, a, t, w);
SELECT is(shop.cron_text(e, a), w, format('every %s after %s is %s', e, a, w))
FROM (VALUES (interval '1 min', interval '0', '* * * * *'), ('10 min', '3 min', '3-59/10 * * * *'), ('1 h', '27 min', '27 * * * *'), ('60 min', '0', '0 * * * *'),
    ('6 h', '2 h 5 min', '5 2-23/6 * * *'), ('1 day', '3 h 17 min', '17 3 * * *'), ('24 h', '0', '0 0 * * *')) AS v (e, a, w);
SELECT throws_ok(format('INSERT INTO shop.schedule (name, every, at, command, does) VALUES (''x'', %L, %L, ''1'', '''')', e, a), '23514', NULL, format('every %s after %s is no schedule', e, a))
FROM (VALUES ('7 min', '0'), ('90 min', '0'), ('5 h', '0'), ('30 s', '0'), ('2 days', '0'), ('1 month', '0'), ('1 min', '1 min'), ('1 h', '90 s'), ('1 h', '-1 min')) AS v (e, a);

-- One that fails harms no other.
CREATE TABLE done (n integer);
GRANT INSERT ON done TO shop_owner;
CREATE FUNCTION shop.test_act(p_n integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.done VALUES (p_n);
    PERFORM 1 / (p_n % 2);
END $$;
CREATE FUNCTION acts() RETURNS text LANGUAGE plpgsql VOLATILE AS $$BEGIN RETURN (SELECT string_agg(d.n::text, ' ' ORDER BY d.ctid) FROM public.done AS d); END $$;
CREATE FUNCTION why(p_name text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$BEGIN RETURN (SELECT r.last_error FROM shop.schedule_run AS r WHERE r.name = p_name); END $$;
GRANT EXECUTE ON FUNCTION shop.test_act(integer) TO shop_owner;
UPDATE shop.schedule SET active = false;
INSERT INTO shop.schedule (name, every, command, does) VALUES ('odd', '1 h', 'shop.test_act(1)', 'works'), ('even', '1 h', 'shop.test_act(2)', 'fails'), ('none', '1 h', 'shop.no_such_function()', 'cannot be called');
SELECT is(shop.run_schedule('even'), 'failed', 'one that fails says so');
SELECT is((SELECT count(*) FROM done), 0::bigint, 'what it did is undone');
SELECT is((SELECT (runs, failures, last_error, last_ok_at)::text FROM shop.schedule_run WHERE name = 'even'), '(1,1,"division by zero (SQLSTATE 22012)",)', 'the reason is known');
SELECT is(shop.run_schedule('none'), 'failed', 'so does one that cannot be called');
SELECT is((shop.run_schedule('odd'), acts())::text, '(done,1)', 'the next one is done all the same');
CREATE OR REPLACE FUNCTION shop.test_act(p_n integer) RETURNS void LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.done VALUES (p_n); END $$;
SELECT is(shop.run_schedule('even'), 'done', 'when it is repaired it works');
SELECT is((SELECT (runs, failures, last_error)::text FROM shop.schedule_run WHERE name = 'even'), '(2,1,)', 'and the reason is gone, not the count');
CREATE OR REPLACE FUNCTION shop.test_act(p_n integer) RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE query_canceled; END $$;
SELECT is((shop.run_schedule('even'), why('even') ~ '57014')::text, '(failed,t)', 'one that takes too long has failed');
CREATE OR REPLACE FUNCTION shop.test_act(p_n integer) RETURNS void LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.done VALUES (p_n); END $$;

-- Switched off.
UPDATE shop.schedule SET active = false WHERE name = 'odd';
SELECT is(shop.run_schedule('odd'), 'inactive', 'one that is switched off is not run');
SELECT is(shop.run_schedule('odd', true), 'done', 'but by force');
SELECT refuses($$SELECT shop.run_schedule('nothing')$$, 'HS004', 'there must be such a schedule');

-- The clock that asks what is due.
TRUNCATE done;
UPDATE shop.schedule_run SET next_at = clock_timestamp() + interval '1 h';
SELECT is(shop.run_schedules(), 0, 'nothing is due');
UPDATE shop.schedule_run SET next_at = clock_timestamp() - interval '1 min' WHERE name = 'odd';
SELECT is(shop.run_schedules(), 0, 'nor is what is switched off');
UPDATE shop.schedule SET active = true WHERE name = 'odd';
UPDATE shop.schedule_run SET next_at = clock_timestamp() - interval '3 h' WHERE name = 'even';
SELECT is((shop.run_schedules(), acts())::text, '(1,2)', 'of two the one that has been due for longer is run');
SELECT is((shop.run_schedules(), acts())::text, '(1,"2 1")', 'then the other');
SELECT is(shop.run_schedules(100), 0, 'each once, however often it was missed');
SELECT ok((SELECT bool_and(next_at BETWEEN last_run_at AND last_run_at + interval '1 h' AND extract(epoch FROM next_at) % 3600 = 0) FROM shop.schedule_run WHERE name IN ('odd', 'even')), 'they are due again on the hour');
SET LOCAL ROLE shop_worker;
SELECT is(shop.run_schedules(), 0, 'a worker may be the clock');
SELECT is(shop.run_schedule('odd'), 'done', 'and run one');
RESET ROLE;

-- The routes.
SELECT is((SELECT string_agg(i ->> 'name', ' ' ORDER BY n) FROM rest.admin_schedules(root()) AS r, json_array_elements(r.body -> 'items') WITH ORDINALITY AS i (i, n)),
    'even expiry_mail low_stock none odd partitions purge reports sales tend', 'an admin sees them');
CREATE FUNCTION entry(p_reply rest.reply) RETURNS text LANGUAGE sql AS $$
    SELECT (p_reply.status, b ->> 'active', b ->> 'cron', b ->> 'every_seconds', b ->> 'runs', b ->> 'failures', b ->> 'last_error', b ->> 'next_at' IS NULL)::text FROM (SELECT p_reply.body) AS x (b)
$$;
SELECT is(entry(rest.admin_schedule_update(root(), 'even', '{"active": false}')), '(200,false,"0 * * * *",3600,4,2,,t)', 'and switches one off');
SELECT is(entry(rest.admin_schedule_run(root(), 'even')), '(200,false,"0 * * * *",3600,5,2,,t)', 'runs it now');
SELECT is(entry(rest.admin_schedule_update(root(), 'even', '{"active": true}')), '(200,true,"0 * * * *",3600,5,2,,f)', 'and switches it on');
SELECT is(entry(rest.admin_schedule_run(root(), 'none')), '(200,true,"0 * * * *",3600,2,2,"function shop.no_such_function() does not exist (SQLSTATE 42883)",f)', 'one that fails says why');
SELECT refuses(format('SELECT rest.admin_schedule_update(root(), %L, %L)', n, b), c, format('%s of %s is refused', b, n), p)
FROM (VALUES ('even', '{}', 'HS010', '/active'), ('even', '{"active": 1}', 'HS011', '/active'), ('even', '{"active": true, "every": "1 h"}', 'HS009', '/every'), ('nothing', '{"active": true}', 'HS004', '')) AS v (n, b, c, p);
SELECT refuses($$SELECT rest.admin_schedule_run(root(), 'nothing')$$, 'HS004', 'nothing is run that there is not');
SELECT refuses(format('SELECT rest.admin_schedules(%s)', :'eve'), 'HS003', 'it is for admins');
SELECT finish();
ROLLBACK;

-- Bad input loses nothing: each argument of each route is spoiled in every way that somebody could think of, one at a
-- time, and each field of each body. What is refused is refused with a code of shop.problem as one of 4xx, says where
-- the fault is, and changes nothing.
\ir include/begin.sql
\ir include/route.sql
SELECT plan((SELECT 3 + 3 * count(*)::integer FROM route) + (SELECT count(*)::integer FROM argument WHERE name = 'p_key'));

-- Values that a field of JSON may have instead of the right one.
CREATE TEMPORARY TABLE wrong_json AS
SELECT v::jsonb AS value FROM unnest(ARRAY['null', 'true', 'false', '""', '" "', '"x"', '"\u0007"', '"\u202e"', '"a\nb"', '"'';DROP TABLE shop.account;--"', '"%s%n"', '"\\"', '0', '-0', '-1', '1.5', '1e30', '1e-30', '1e400',
    '2147483648', '9223372036854775807', '9223372036854775808', '-9223372036854775809', '"0"', '"-1"', '"7"', '"9223372036854775807"', '"9223372036854775808"', '"1e3"', '"NaN"', '"Infinity"', '"0x10"',
    '"2026-02-30T25:00:00Z"', '"infinity"', '"00000000-0000-0000-0000-000000000000"', '[]', '{}', '[null]', '[[]]', '[{}]', '["x"]', '[1]', '{"x": 1}', '{"": null}']) AS v
UNION ALL SELECT to_jsonb(repeat(c, 100000)) FROM unnest(ARRAY['é', ' ', '9', '.']) AS c
UNION ALL SELECT to_jsonb(array_fill(x, ARRAY[20000])) FROM unnest(ARRAY['"x"'::jsonb, '{}']) AS x
UNION ALL SELECT (repeat('[', 1000) || repeat(']', 1000))::jsonb
UNION ALL SELECT (SELECT jsonb_object_agg('k' || i, i) FROM generate_series(1, 2000) AS i)
UNION ALL SELECT to_jsonb(thing(t)) FROM unnest(ARRAY['otto', 'other merchant', 'other sku', 'draft', 'closed sale', 'order']) AS t;

-- Where something stands in a document, itself included.
CREATE FUNCTION places(p_value jsonb) RETURNS TABLE (path text[], value jsonb) LANGUAGE sql AS $$
    WITH RECURSIVE p (path, value) AS (
        SELECT ARRAY[]::text[], p_value
        UNION ALL
        SELECT p.path || c.key, c.value FROM p, LATERAL (
            SELECT o.key, o.value FROM jsonb_each(CASE jsonb_typeof(p.value) WHEN 'object' THEN p.value ELSE '{}' END) AS o
            UNION ALL
            SELECT (a.n - 1)::text, a.value FROM jsonb_array_elements(CASE jsonb_typeof(p.value) WHEN 'array' THEN p.value ELSE '[]' END) WITH ORDINALITY AS a (value, n)) AS c)
    SELECT * FROM p
$$;
CREATE FUNCTION spoiled_json(p_value jsonb) RETURNS TABLE (value jsonb, how text) LANGUAGE sql AS $$
    SELECT CASE WHEN p.path = '{}' THEN w.value ELSE jsonb_set(p_value, p.path, w.value) END, format('%s := %s', p.path, left(w.value::text, 60)) FROM places(p_value) AS p, wrong_json AS w
    UNION ALL
    SELECT p_value #- p.path, format('%s removed', p.path) FROM places(p_value) AS p WHERE p.path <> '{}'
    UNION ALL
    SELECT CASE WHEN p.path = '{}' THEN p.value || f ELSE jsonb_set(p_value, p.path, p.value || f) END, format('%s with %s', p.path, left(f::text, 60))
    FROM places(p_value) AS p, unnest(ARRAY['{"unknown": 1}'::jsonb, '{"": 1}', '{"a/b~c": null}', '{"__proto__": {}}', jsonb_build_object(repeat('k', 100000), 1)]) AS f
    WHERE jsonb_typeof(p.value) = 'object'
    UNION ALL
    SELECT jsonb_set(jsonb_build_object('a', p_value), ARRAY['a'] || p.path, to_jsonb(array_fill(coalesce(p.value -> 0, 'null'), ARRAY[n]))) -> 'a', format('%s of %s', p.path, n)
    FROM places(p_value) AS p, unnest(ARRAY[2, 20000]) AS n WHERE jsonb_typeof(p.value) = 'array'
$$;

-- Values that an argument of a type may have instead of the right one, as the web application could send them: bytea and
-- interval it makes itself, the rest is text of the client's.
CREATE TEMPORARY TABLE wrong AS
SELECT t.type::regtype, v.value FROM (VALUES
    ('bigint', ARRAY['0', '-1', '1', '7', '9223372036854775807', '-9223372036854775808', '9223372036854775808', '1.5', 'x', '']),
    ('integer', ARRAY['0', '-1', '1', '2147483647', '-2147483648', '2147483648', '1.5', 'x', '']),
    ('boolean', ARRAY['maybe', '']),
    ('uuid', ARRAY['00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '7', '']),
    ('interval', ARRAY['0', '-1 day', '1 us', '178000000 years', '-178000000 years', '1 month']),
    ('timestamptz', ARRAY['infinity', '-infinity', '4713-01-01 BC', '294276-12-31', '2026-02-30', 'x', '']),
    ('text', ARRAY['', ' ', 'x', E'\x07', E'a\nb', E'\u202e', ''';DROP TABLE shop.account;--', '%s%n', '\', '*', '"1"', '"999999"', 'W/"1"', '0', '-1', '99999999999999999999', '{}', '$argon2id$', 'olga@example.org',
        repeat('x', 100000), repeat('é', 100000), repeat(' ', 100000), repeat('"x",', 30000), repeat('%', 100000), repeat('(', 100000), repeat('a.', 50000)]),
    ('bytea', ARRAY['', '\x00', '\xff', '\x' || repeat('00', 32), '\x' || repeat('61', 100000), '\x7b7d', '\x5b5d']),
    ('jsonb', ARRAY['', '{', '{"a": "\u0000"}', '{"a": "\ud800"}', '{"a": 1e999999}', repeat('[', 100000), 'NaN', '{"a": 1,}', '''']),
    ('bigint[]', ARRAY['{}', '{NULL}', '{0}', '{-1}', '{1,2}', '{{1},{2}}', '{9223372036854775808}', '{x}', 'x', array_fill(1, ARRAY[20000])::text]),
    ('integer[]', ARRAY['{}', '{NULL}', '{0}', '{-1}', '{1,2}', '{{1},{2}}', '{2147483648}', '{x}', 'x', array_fill(1, ARRAY[20000])::text]),
    ('uuid[]', ARRAY['{}', '{NULL}', '{00000000-0000-0000-0000-000000000000}', '{{00000000-0000-0000-0000-000000000000}}', '{x}', 'x']),
    ('text[]', ARRAY['{}', '{NULL}', '{""}', '{x}', '{x,y}', '{{x},{y}}', '{', array_fill('x'::text, ARRAY[20000])::text])) AS t (type, values),
    unnest(t.values) AS v (value)
UNION ALL SELECT 'bigint', id FROM thing WHERE id ~ '^[0-9]+$'
UNION ALL SELECT 'uuid', id FROM thing WHERE id ~ '-.*-.*-'
UNION ALL SELECT 'text', id FROM thing;

CREATE FUNCTION spoiled(p_type regtype, p_value text) RETURNS TABLE (value text, how text) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT NULL, 'NULL'::text UNION ALL SELECT w.value, left(w.value, 60) FROM wrong AS w WHERE w.type = p_type;
    IF p_type = 'jsonb'::regtype THEN
        RETURN QUERY SELECT s.value::text, s.how FROM spoiled_json(p_value::jsonb) AS s;
    END IF;
END $$;

-- The actor is an argument as well: others than him are for privileges.sql.
INSERT INTO argument
SELECT r.name, 0, p.proargnames[1], p.proargtypes[0], actor(r.name, CASE WHEN r.who IN ('user', 'buyer', 'party') THEN thing('olga') WHEN r.who = 'newcomer' THEN thing('otto')
    WHEN r.who = 'admin' THEN thing('root') WHEN r.who IN ('merchant', 'seller', 'maker', 'shipper', 'drafter', 'keeper') THEN thing('mark') END)
FROM route AS r JOIN pg_proc AS p ON p.proname = r.name AND p.pronamespace = 'rest'::regnamespace;

-- All calls of a route, and what became of them.
CREATE TEMPORARY TABLE verdict (route text, argument text, how text, status integer, state text, pointer text, message text, is_json boolean);
CREATE FUNCTION spoil(p_route text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_actor CONSTANT text := (SELECT value FROM argument WHERE route = p_route AND n = 0);
    v_argument argument;
    v_spoiled record;
    v_call record;
BEGIN
    FOR v_argument IN SELECT * FROM argument WHERE route = p_route ORDER BY n LOOP
        FOR v_spoiled IN SELECT * FROM spoiled(v_argument.type, v_argument.value) LOOP
            IF v_argument.n = 0 THEN
                SELECT * INTO v_call FROM call(p_route, v_spoiled.value, (SELECT string_agg(literal(value, type), ', ' ORDER BY n) FROM argument WHERE route = p_route AND n > 0));
            ELSE
                SELECT * INTO v_call FROM call(p_route, v_actor,
                    (SELECT string_agg(literal(CASE WHEN n = v_argument.n THEN v_spoiled.value ELSE value END, type), ', ' ORDER BY n) FROM argument WHERE route = p_route AND n > 0));
            END IF;
            INSERT INTO verdict VALUES (p_route, v_argument.name, v_spoiled.how, v_call.status, v_call.state, v_call.pointer, v_call.message, v_argument.type = 'jsonb'::regtype);
        END LOOP;
    END LOOP;
    SELECT * INTO v_call FROM call(p_route, v_actor, (SELECT string_agg(literal(NULL, type), ', ' ORDER BY n) FROM argument WHERE route = p_route AND n > 0));
    INSERT INTO verdict VALUES (p_route, 'all', 'NULL', v_call.status, v_call.state, v_call.pointer, v_call.message, false);
END $$;

CREATE FUNCTION complain(p_route text, p_sentence text, p_complaints text[]) RETURNS text LANGUAGE sql AS $$
    SELECT ok(p_complaints IS NULL, format('%s: %s', p_route, p_sentence)) || coalesce((SELECT string_agg(E'\n' || diag(c), '') FROM unnest(p_complaints[:12]) AS c), '')
        || CASE WHEN cardinality(p_complaints) > 12 THEN E'\n' || diag(format('and %s more', cardinality(p_complaints) - 12)) ELSE '' END
$$;
CREATE FUNCTION test(p_route text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    was CONSTANT text := contents();
    v_call record;
BEGIN
    SELECT * INTO v_call FROM call(p_route, (SELECT value FROM argument WHERE route = p_route AND n = 0), (SELECT string_agg(literal(value, type), ', ' ORDER BY n) FROM argument WHERE route = p_route AND n > 0));
    RETURN NEXT ok(v_call.status < 300, format('%s: what is right is served', p_route)) || CASE WHEN v_call.status >= 300 THEN E'\n' || diag(concat_ws(' ', v_call.status, v_call.state, v_call.pointer, v_call.message)) ELSE '' END;
    PERFORM spoil(p_route);
    RETURN NEXT complain(p_route, 'what is wrong is refused with a code, and where it is', (
        SELECT array_agg(format('%s %s: %s %s %s %s', v.argument, v.how, v.status, v.state, v.pointer, v.message)) FROM verdict AS v
        WHERE v.route = p_route AND (v.status >= 500 OR v.is_json AND v.state BETWEEN 'HS009' AND 'HS016' AND v.pointer = '')));
    RETURN NEXT ok(contents() = was, format('%s: and changes nothing', p_route));
END $$;
SELECT test(name) FROM route ORDER BY name;

-- What is sent again with its key is no fault, and has no effect.
CREATE FUNCTION send_again(p_route text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_call CONSTANT text := format('SELECT r.status, r.location, r.replayed, r.body::text FROM rest.%I(%s) AS r', p_route,
        (SELECT string_agg(literal(value, type), ', ' ORDER BY n) FROM argument WHERE route = p_route));
    v_first record;
    v_second record;
    was text;
    complaint text;
BEGIN
    BEGIN
        EXECUTE v_call INTO v_first;
        was := contents();
        EXECUTE v_call INTO v_second;
        complaint := concat_ws('; ', CASE WHEN contents() <> was THEN 'something has changed' END, CASE WHEN NOT v_second.replayed THEN 'it does not say so' END,
            CASE WHEN (v_first.status, v_first.location, v_first.body) IS DISTINCT FROM (v_second.status, v_second.location, v_second.body) THEN 'the answer differs' END);
        RAISE EXCEPTION USING ERRCODE = 'T0000';
    EXCEPTION WHEN SQLSTATE 'T0000' THEN
        NULL;
    WHEN OTHERS THEN
        complaint := SQLSTATE || ' ' || SQLERRM;
    END;
    RETURN ok(complaint = '', format('%s: sent again with its key it gets the same answer, and does nothing', p_route)) || CASE WHEN complaint <> '' THEN E'\n' || diag(complaint) ELSE '' END;
END $$;
SELECT send_again(route) FROM argument WHERE name = 'p_key' ORDER BY route;

SELECT is(string_agg(c, ', '), NULL, 'what is no UTF-8 is refused as well, before a function sees it') FROM unnest(ARRAY['22021', '22P02', '22P05', '22003']) AS c
WHERE NOT EXISTS (SELECT FROM shop.problem WHERE code = c AND status BETWEEN 400 AND 499);
SELECT is(string_agg(DISTINCT a.type::text, ', '), NULL, 'there is something wrong for every type of argument') FROM argument AS a WHERE a.type NOT IN (SELECT type FROM wrong);
SELECT is(string_agg(p.proname, ', ' ORDER BY p.proname), NULL, 'and no function of rest is left out')
FROM pg_proc AS p WHERE p.pronamespace = 'rest'::regnamespace AND p.proname NOT IN (SELECT name FROM route);
SELECT finish();
ROLLBACK;

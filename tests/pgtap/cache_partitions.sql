-- Partitioned tables: all partitions have the triggers, whenever and however they become partitions, and
-- none is left with them when it is one no more.
\ir include/cache.sql
SELECT plan(48);

CREATE TABLE sale (id integer, region text, day date) PARTITION BY LIST (region);
CREATE TABLE sale_eu PARTITION OF sale FOR VALUES IN ('eu');
CREATE TABLE sale_us PARTITION OF sale FOR VALUES IN ('us') PARTITION BY RANGE (id);
CREATE TABLE sale_us_1 PARTITION OF sale_us FOR VALUES FROM (1) TO (10);

-- The tables that have triggers of ours, and those that lack one, have another one, or one that does not fire always.
CREATE FUNCTION tree(p_whole regclass DEFAULT 'sale') RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(relid::regclass::text || CASE
        WHEN triggers(relid) IS NULL THEN ' without'
        WHEN triggers(relid) <> 'holdfast_cache A, holdfast_cache_truncate A' THEN format(' with %s', triggers(relid))
        WHEN EXISTS (SELECT FROM pg_trigger AS t, pg_trigger AS w WHERE t.tgrelid = p.relid AND w.tgrelid = p_whole AND w.tgname = 'holdfast_cache' AND t.tgargs <> w.tgargs) THEN ' differs'
        ELSE '' END, ', ' ORDER BY relid::regclass::text)
    FROM pg_partition_tree(p_whole) AS p
$$;

-- Watching
SELECT is(tree(), 'sale without, sale_eu without, sale_us without, sale_us_1 without', 'partitions have no triggers of ours');
SELECT is(holdfast.watch('sale', 'sale:{id}', 'tag:sales')::text, '', 'a partitioned table is watched');
SELECT is(tree(), 'sale, sale_eu, sale_us, sale_us_1', 'and so are all partitions');
SELECT is((SELECT array_agg(table_name::text) FROM holdfast.watched), '{sale,sale}', 'the view shows the whole');
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgname = 'holdfast_cache' AND tgparentid <> 0), 3::bigint, 'the triggers for rows belong to that of the whole');
SELECT is(holdfast.watch('sale', 's:{day}')::text || tree(), 'sale, sale_eu, sale_us, sale_us_1', 'it is watched again');
SELECT is((SELECT array_agg(DISTINCT tgargs) FROM pg_trigger WHERE tgname LIKE 'holdfast\_cache%'), ARRAY['s:{day}\000'::bytea], 'with the new templates, everywhere');

-- New partitions
CREATE TABLE sale_jp PARTITION OF sale FOR VALUES IN ('jp');
SELECT is(tree(), 'sale, sale_eu, sale_jp, sale_us, sale_us_1', 'a new partition has the triggers');
CREATE TABLE sale_us_2 PARTITION OF sale_us FOR VALUES FROM (10) TO (20);
CREATE TABLE sale_us_rest PARTITION OF sale_us DEFAULT PARTITION BY HASH (id);
CREATE TABLE sale_us_rest_0 PARTITION OF sale_us_rest FOR VALUES WITH (MODULUS 1, REMAINDER 0);
SELECT is(tree(), 'sale, sale_eu, sale_jp, sale_us, sale_us_1, sale_us_2, sale_us_rest, sale_us_rest_0', 'also one of a partition, and one of that');
CREATE TABLE lone (region text, gone text, day date, id integer);
ALTER TABLE lone DROP gone;
ALTER TABLE sale ATTACH PARTITION lone FOR VALUES IN ('lone');
SELECT is(undone('SELECT tree()'), 'lone, sale, sale_eu, sale_jp, sale_us, sale_us_1, sale_us_2, sale_us_rest, sale_us_rest_0', 'a table that is attached gets them');
CREATE TABLE twig (LIKE sale) PARTITION BY LIST (id);
CREATE TABLE twig_1 PARTITION OF twig FOR VALUES IN (1);
CREATE TABLE twig_2 PARTITION OF twig DEFAULT PARTITION BY LIST (id);
CREATE TABLE twig_2_3 PARTITION OF twig_2 FOR VALUES IN (3);
SELECT is(tree('twig'), 'twig without, twig_1 without, twig_2 without, twig_2_3 without', 'a copy of the table has none');
ALTER TABLE sale ATTACH PARTITION twig FOR VALUES IN ('twig');
SELECT is(tree('twig'), 'twig, twig_1, twig_2, twig_2_3', 'if it is attached, all that belongs to it gets them');
SELECT is((SELECT tree() !~ 'with|differs'), true, 'with the templates of the whole');
CREATE SCHEMA later CREATE TABLE sale_kr PARTITION OF public.sale FOR VALUES IN ('kr');
SELECT is(triggers('later.sale_kr'), 'holdfast_cache A, holdfast_cache_truncate A', 'a partition that is made with its schema gets them');
CREATE TABLE sale_rest PARTITION OF sale DEFAULT;
SELECT is(triggers('sale_rest'), 'holdfast_cache A, holdfast_cache_truncate A', 'and so does the default partition');
SELECT lives_ok($$INSERT INTO sale VALUES (1, 'eu', '2020-01-01'), (2, 'us', '2020-01-02'), (3, 'lone', NULL), (4, NULL, NULL), (1, 'twig', NULL), (3, 'twig', NULL), (30, 'us', NULL)$$,
    'rows come into all of them');
SELECT lives_ok($$UPDATE sale SET region = 'eu', id = id + 1$$, 'they move from one to another');
SELECT is((SELECT array_agg(id ORDER BY id) FROM sale_eu), '{2,2,3,4,4,5,31}', 'where they should');
SELECT lives_ok('TRUNCATE sale', 'and go');
SELECT is((SELECT array_agg(DISTINCT tgargs) FROM pg_trigger WHERE tgname LIKE 'holdfast\_cache%'), ARRAY['s:{day}\000'::bytea], 'all triggers have the same templates');

-- Partitions go
ALTER TABLE sale DETACH PARTITION lone;
SELECT is(triggers('lone'), NULL, 'a partition that is detached has no triggers of ours');
ALTER TABLE sale DETACH PARTITION twig;
SELECT is(tree('twig'), 'twig without, twig_1 without, twig_2 without, twig_2_3 without', 'nor has one with partitions of its own, or those');
SELECT holdfast.watch('sale', 'sale:{id}');
ALTER TABLE sale ATTACH PARTITION lone FOR VALUES IN ('lone');
ALTER TABLE sale ATTACH PARTITION twig FOR VALUES IN ('twig');
SELECT is(triggers('lone'), 'holdfast_cache A, holdfast_cache_truncate A', 'when it comes back it gets them');
SELECT is((SELECT array_agg(DISTINCT tgargs) FROM pg_trigger WHERE tgname LIKE 'holdfast\_cache%'), ARRAY['sale:{id}\000'::bytea], 'with the templates of now');
ALTER TABLE sale DETACH PARTITION lone;
ALTER TABLE sale DETACH PARTITION twig;
SELECT is(watched_as('lone', 'k') || watched_as('twig', 'q'), 'kq', 'what was detached can be watched by itself');
SELECT holdfast.watch('lone', 'k');
SELECT throws_ok($$ALTER TABLE sale ATTACH PARTITION lone FOR VALUES IN ('lone')$$, '42710', NULL, 'what is watched by itself cannot be attached');
SELECT is(triggers('lone') || templates('lone'), 'holdfast_cache A, holdfast_cache_truncate Ak', 'and stays watched');
SELECT holdfast.unwatch('lone');
SELECT is(undone('SELECT triggers(''lone'')', $$ALTER TABLE sale ATTACH PARTITION lone FOR VALUES IN ('lone')$$), 'holdfast_cache A, holdfast_cache_truncate A', 'until it is unwatched');
SELECT lives_ok('DROP TABLE sale_rest', 'a partition can be dropped');

-- Partitions of which the whole is watched
SELECT refuses(format('SELECT holdfast.watch(%L, ''k'')', name), 'HF046', name || ' cannot be watched by itself', 'is a partition') FROM unnest('{sale_eu,sale_us,sale_us_1}'::text[]) AS name;
SELECT refuses(format('SELECT holdfast.unwatch(%L)', name), 'HF044', name || ' cannot be unwatched by itself', name) FROM unnest('{sale_eu,sale_us,sale_us_1}'::text[]) AS name;
SELECT is(undone('SELECT bool_or(fires_always) FROM holdfast.watched', change), 'false', 'the view knows of ' || change)
FROM (VALUES ('ALTER TABLE sale_eu DISABLE TRIGGER holdfast_cache'), ('ALTER TABLE sale_us_1 DISABLE TRIGGER holdfast_cache'), ('ALTER TABLE sale_eu DISABLE TRIGGER holdfast_cache_truncate'),
             ('ALTER TABLE sale_eu ENABLE TRIGGER ALL'), ('ALTER TABLE sale_us DISABLE TRIGGER ALL'), ('ALTER TABLE ONLY sale DISABLE TRIGGER ALL')) AS c (change) ORDER BY change;
ALTER TABLE sale_us_1 DISABLE TRIGGER ALL;
ALTER TABLE sale_eu ENABLE TRIGGER ALL;
SELECT holdfast.watch('sale', 'sale:{id}');
SELECT is((SELECT bool_and(fires_always) AND tree() !~ 'with|differs' FROM holdfast.watched), true, 'watch() puts right what was changed on partitions');

-- Foreign partitions, whose changes nobody sees
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
CREATE FOREIGN TABLE far (id integer, region text, day date) SERVER nowhere;
SELECT is(undone('SELECT ''made''', 'CREATE FOREIGN TABLE far_cn PARTITION OF sale FOR VALUES IN (''cn'') SERVER nowhere'), 'HF046', 'a foreign partition cannot be made');
SELECT is(undone('SELECT ''attached''', 'ALTER TABLE sale ATTACH PARTITION far FOR VALUES IN (''cn'')'), 'HF046', 'nor attached');
CREATE TABLE mixed (id integer) PARTITION BY LIST (id);
CREATE FOREIGN TABLE mixed_far PARTITION OF mixed FOR VALUES IN (1) SERVER nowhere;
SELECT refuses($$SELECT holdfast.watch('mixed', 'k')$$, 'HF046', 'and what has one cannot be watched', 'mixed_far');

-- Unwatching
SELECT is(holdfast.unwatch('sale')::text, '', 'the whole is unwatched');
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgfoid = 'holdfast.invalidate_cache()'::regprocedure), 0::bigint, 'and no trigger is left');
CREATE TABLE sale_in PARTITION OF sale FOR VALUES IN ('in');
SELECT is(triggers('sale_in'), NULL, 'a new partition has none');

SELECT * FROM finish();
ROLLBACK;

-- watch() and unwatch(): what they make, what holdfast.watched shows, and what cannot be watched.
\ir include/cache.sql
SELECT plan(74);

-- Watching
SELECT is(triggers('product'), NULL, 'a table has no triggers of ours');
SELECT is(templates('product'), NULL, 'and is not in the view');
SELECT is(holdfast.watch('product', 'product:{id}', 'tag:products ON price,title')::text, '', 'watch() returns nothing');
SELECT is(triggers('product'), 'holdfast_cache A, holdfast_cache_truncate A', 'the table has two triggers, which fire always');
SELECT is((SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'holdfast_cache'),
    'CREATE TRIGGER holdfast_cache AFTER INSERT OR DELETE OR UPDATE ON public.product FOR EACH ROW '
    'EXECUTE FUNCTION holdfast.invalidate_cache(''product:{id}'', ''tag:products ON price,title'')', 'one for rows, with the templates');
SELECT is((SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'holdfast_cache_truncate'),
    'CREATE TRIGGER holdfast_cache_truncate AFTER TRUNCATE ON public.product FOR EACH STATEMENT '
    'EXECUTE FUNCTION holdfast.invalidate_cache(''product:{id}'', ''tag:products ON price,title'')', 'and one for TRUNCATE');
SELECT is((SELECT array_agg(w::text) FROM holdfast.watched AS w), '{"(product,product:{id},t)","(product,\"tag:products ON price,title\",t)"}',
    'the view shows its templates, in their order');
SELECT lives_ok($$INSERT INTO product VALUES (1, 'one', 10), (2, NULL, NULL)$$, 'rows come');
SELECT lives_ok($$UPDATE product SET id = id + 10, title = title || '!'$$, 'change');
SELECT lives_ok($$MERGE INTO product AS p USING (VALUES (11), (3)) AS v (id) ON p.id = v.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (v.id)$$, 'are merged');
SELECT lives_ok('DELETE FROM product WHERE id = 3', 'go');
SELECT is((SELECT array_agg(id) FROM product), '{12}', 'and are what they would be');
SELECT lives_ok('TRUNCATE product', 'all of them may go');

-- Watching again
CREATE TRIGGER holdfast_cached BEFORE INSERT ON product FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
SELECT is(holdfast.watch('product', 'p:{price}')::text, '', 'a watched table is watched again');
SELECT is(templates('product'), 'p:{price}', 'the new templates take the place of the old ones');
SELECT is(triggers('product'), 'holdfast_cache A, holdfast_cache_truncate A, holdfast_cached O', 'as do the triggers; others stay');
SELECT is((SELECT array_agg(DISTINCT tgargs) FROM pg_trigger WHERE tgname LIKE 'holdfast\_cache%' AND tgnargs > 0), ARRAY['p:{price}\000'::bytea], 'both have them');
SELECT is(watched_as('product', 'q'), 'q', 'a third time');
SELECT is(templates('product'), 'p:{price}', 'and when that rolls back, the second one is good');
SELECT is(undone('SELECT triggers(''product'')', 'SELECT holdfast.unwatch(''product'')'), 'holdfast_cached O', 'unwatch() takes our triggers away, and no others');
SELECT is(triggers('product'), 'holdfast_cache A, holdfast_cache_truncate A, holdfast_cached O', 'when it rolls back they are there');

-- Names
ALTER TABLE product RENAME TO "Our ""goods""";
SELECT is((SELECT table_name::text FROM holdfast.watched), '"Our ""goods"""', 'a renamed table stays watched');
CREATE SCHEMA "Shop's";
ALTER TABLE "Our ""goods""" SET SCHEMA "Shop's";
SELECT is((SELECT table_name::text FROM holdfast.watched), '"Shop''s"."Our ""goods"""', 'one that is moved to another schema, too');
SELECT is(holdfast.watch('"Shop''s"."Our ""goods"""', 'product:{id}')::text, '', 'it can be watched by that name');
SELECT is(templates('"Shop''s"."Our ""goods"""'), 'product:{id}', 'which the view shows');
CREATE TABLE product (id integer);
SELECT is(templates('product'), NULL, 'a table of its old name is another one');
SELECT is(holdfast.unwatch('"Shop''s"."Our ""goods"""')::text, '', 'and it can be unwatched');
SELECT is(triggers('"Shop''s"."Our ""goods"""'), 'holdfast_cached O', 'then our triggers are gone');
SELECT is((SELECT count(*) FROM holdfast.watched), 0::bigint, 'and nothing is in the view');

-- Triggers that somebody has changed
SELECT holdfast.watch('product', 'product:{id}', 'tag:products');
SELECT is(undone('SELECT array_agg(fires_always) FROM holdfast.watched', format('ALTER TABLE product %s', change)), result, 'fires_always after ' || change)
FROM (VALUES ('DISABLE TRIGGER holdfast_cache', '{f,f}'), ('DISABLE TRIGGER ALL', '{f,f}'), ('DISABLE TRIGGER USER', '{f,f}'), ('ENABLE TRIGGER holdfast_cache', '{f,f}'),
             ('ENABLE TRIGGER ALL', '{f,f}'), ('ENABLE REPLICA TRIGGER holdfast_cache', '{f,f}'), ('ENABLE ALWAYS TRIGGER holdfast_cache', '{t,t}'),
             ('DISABLE TRIGGER holdfast_cache_truncate', '{f,f}'), ('ENABLE TRIGGER holdfast_cache_truncate', '{f,f}')) AS c (change, result) ORDER BY change;
ALTER TABLE product DISABLE TRIGGER ALL;
SELECT holdfast.watch('product', 'product:{id}');
SELECT is((SELECT array_agg(fires_always) FROM holdfast.watched), '{t}', 'watch() puts right what was switched off');
ALTER TABLE product ENABLE TRIGGER ALL;
SELECT holdfast.watch('product', 'product:{id}');
SELECT is((SELECT array_agg(fires_always) FROM holdfast.watched), '{t}', 'and what was switched on as others are');
DROP TRIGGER holdfast_cache ON product;
SELECT is(templates('product'), NULL, 'a table whose trigger was dropped is not watched');
SELECT is(undone('SELECT triggers(''product'')', 'SELECT holdfast.watch(''product'', ''k'')'), 'holdfast_cache A, holdfast_cache_truncate A', 'it can be watched');
ALTER TABLE product DISABLE TRIGGER ALL;
SELECT refuses('SELECT holdfast.unwatch(''product'')', 'HF044', 'but not unwatched');
DROP TABLE product;

-- Tables that can be watched
CREATE UNLOGGED TABLE unlogged (id integer);
CREATE TABLE keyless ();
CREATE TABLE parent (id integer);
CREATE TABLE child () INHERITS (parent);
CREATE TYPE pair AS (id integer, other integer);
CREATE TABLE typed OF pair;
CREATE TABLE whole (id integer) PARTITION BY LIST (id);
SELECT is(watched_as(name::regclass, 'k'), 'k', what || ' can be watched')
FROM (VALUES ('unlogged', 'an unlogged table'), ('keyless', 'a table without columns'), ('child', 'a table that inherits'), ('typed', 'a typed table'),
             ('whole', 'a partitioned table without partitions'), ('_holdfast.stock_lane', 'a table of this extension')) AS t (name, what) ORDER BY what;

-- And those that cannot
CREATE VIEW seen AS SELECT 1 AS id;
CREATE MATERIALIZED VIEW kept AS SELECT 1 AS id;
CREATE SEQUENCE counter;
CREATE INDEX found ON parent (id);
CREATE TEMPORARY TABLE brief (id integer);
CREATE TEMPORARY TABLE brief_whole (id integer) PARTITION BY LIST (id);
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
CREATE FOREIGN TABLE far (id integer) SERVER nowhere;
CREATE TABLE part PARTITION OF whole FOR VALUES IN (1);
CREATE TABLE part_whole PARTITION OF whole FOR VALUES IN (2) PARTITION BY LIST (id);
CREATE TABLE long (text text);
SELECT refuses(format('SELECT holdfast.watch(%L, %L)', name, 'k'), 'HF046', what || ' cannot be watched', detail, 'Watch the tables that hold the rows')
FROM (VALUES ('seen', 'a view', '"seen" is no table'), ('kept', 'a materialized view', '"kept" is no table'), ('counter', 'a sequence', 'is no table'), ('found', 'an index', 'is no table'),
             ('pair', 'a composite type', 'is no table'), ('far', 'a foreign table', 'is no table'), ('brief', 'a temporary table', '"brief" is temporary'),
             ('brief_whole', 'a temporary partitioned table', 'is temporary'), ('pg_class', 'a system catalogue', '"pg_class" is a system catalogue'),
             ((SELECT reltoastrelid::regclass::text FROM pg_class WHERE oid = 'long'::regclass), 'a TOAST table', 'is no table'),
             ('part', 'a partition', '"part" is a partition'), ('part_whole', 'one with partitions', 'is a partition'), ('parent', 'a table that another inherits from', 'inherit from it')) AS t (name, what, detail) ORDER BY what;
SELECT refuses('SELECT holdfast.unwatch(''seen'')', 'HF044', 'nor can they be unwatched', '"seen"');
DROP TABLE child;
SELECT is(watched_as('parent', 'k'), 'k', 'when the heir is gone, the parent can be watched');

-- Arguments
CREATE TABLE product (id integer PRIMARY KEY);
SELECT refuses('SELECT holdfast.watch(NULL, ''k'')', '22004', 'watch() needs a table');
SELECT refuses('SELECT holdfast.unwatch(NULL)', '22004', 'and so does unwatch()');
SELECT refuses('SELECT holdfast.watch(4294967295::oid, ''k'')', '42P01', 'watch() needs one that exists', '4294967295');
SELECT refuses('SELECT holdfast.unwatch(4294967295::oid)', '42P01', 'and so does unwatch()', '4294967295');
SELECT refuses('SELECT holdfast.watch(0::oid, ''k'')', '42P01', 'none is none');
SELECT refuses('SELECT holdfast.unwatch(''product'')', 'HF044', 'unwatch() needs one that is watched', '"product"');
SELECT refuses('CREATE TRIGGER t BEFORE INSERT ON product FOR EACH ROW EXECUTE FUNCTION holdfast.invalidate_cache(''k''); INSERT INTO product VALUES (1)', '39P01',
    'the trigger is not for BEFORE', NULL, 'watch\(\)');
SELECT refuses('SELECT holdfast.invalidate_cache()', '39P01', 'and is no function to be called');

-- Read only
SELECT holdfast.watch('product', 'k');
SET LOCAL transaction_read_only = on;
SELECT refuses('SELECT holdfast.watch(''product'', ''product:{id}'')', '25006', 'watch() is refused in a read-only transaction');
SELECT refuses('SELECT holdfast.unwatch(''product'')', '25006', 'and so is unwatch()');

SELECT * FROM finish();
ROLLBACK;

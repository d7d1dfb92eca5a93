-- DDL: what a watched table allows, and that whoever has nothing to do with the cache does not notice it.
\ir include/cache.sql
SELECT plan(68);

ALTER TABLE product ADD stock integer, ADD twice integer GENERATED ALWAYS AS (stock * 2) STORED;
CREATE DOMAIN money_amount AS bigint;
ALTER TABLE product ADD cost money_amount, ADD taxes money_amount;
SELECT holdfast.watch('product', 'product:{id}', 'by:{cost}:{twice}', 'tag:products ON price,title');

-- Columns that templates name
SELECT refuses(statement, '42703', statement, detail, 'unwatch\(\)')
FROM (VALUES ('ALTER TABLE product RENAME id TO number', 'product:\{id\}'), ('ALTER TABLE product RENAME COLUMN price TO "Price"', 'tag:products ON price,title'),
             ('ALTER TABLE product DROP id', 'product:\{id\}'), ('ALTER TABLE product DROP COLUMN title CASCADE', 'ON price,title'),
             ('ALTER TABLE product DROP stock CASCADE', 'by:\{cost\}:\{twice\}'), ('DROP DOMAIN money_amount CASCADE', 'by:\{cost\}:\{twice\}')) AS s (statement, detail) ORDER BY statement;
SELECT is(undone('SELECT ''renamed''', format('ALTER %s product RENAME id TO number', word)), '42703', format('ALTER %s, which PostgreSQL takes for ALTER TABLE here', word))
FROM unnest('{VIEW,MATERIALIZED VIEW,FOREIGN TABLE}'::text[]) AS word;
SELECT is(templates('product') || ' ' || triggers('product'),
    'product:{id}; by:{cost}:{twice}; tag:products ON price,title holdfast_cache A, holdfast_cache_truncate A', 'after that the table is watched as before');

-- Everything else
SELECT lives_ok(statement, statement)
FROM (VALUES (1, 'ALTER TABLE product RENAME stock TO units'), (2, 'ALTER TABLE product DROP taxes'), (3, 'ALTER TABLE product ADD weight numeric DEFAULT 1'),
             (4, 'ALTER TABLE product ALTER price TYPE numeric'), (5, 'ALTER TABLE product ALTER id TYPE bigint USING id + 1'), (6, 'ALTER TABLE product ALTER title SET NOT NULL'),
             (7, 'ALTER TABLE product ADD CHECK (price > 0)'), (8, 'ALTER TABLE product SET UNLOGGED'), (9, 'CREATE INDEX product_title ON product (title)'),
             (10, 'ALTER TABLE product RENAME CONSTRAINT product_pkey TO product_key'), (11, 'ALTER TABLE product ENABLE ROW LEVEL SECURITY'), (12, 'CLUSTER product USING product_key'),
             (13, 'ALTER TABLE product RENAME TO goods'), (14, 'ALTER TABLE goods RENAME TO product'), (15, 'COMMENT ON TABLE product IS ''goods''')) AS s (n, statement) ORDER BY n;
SELECT is(templates('product') || ' ' || triggers('product'),
    'product:{id}; by:{cost}:{twice}; tag:products ON price,title holdfast_cache A, holdfast_cache_truncate A', 'the table is watched as before');
SELECT lives_ok($$INSERT INTO product VALUES (1, 'one', 1.5, 2, DEFAULT, 3)$$, 'and takes rows');
SELECT holdfast.unwatch('product');
ALTER TABLE product RENAME id TO number;
ALTER TABLE product DROP title;
SELECT is(holdfast.watch('product', 'product:{number}', 'tag:products ON price')::text, '', 'to change columns that templates name it is unwatched and watched again');
SELECT lives_ok('UPDATE product SET number = number + 1, price = price + 1', 'all in one transaction');
SELECT is(undone('SELECT count(*) FROM holdfast.watched', 'DROP TABLE product'), '0', 'a watched table can be dropped');

-- Heirs, whose rows are the table's and whose changes nobody would see
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
CREATE TABLE heir (LIKE product INCLUDING ALL);
SELECT refuses(statement, 'HF046', what || ' is refused', detail, 'unwatch\(\)')
FROM (VALUES ('CREATE TABLE child () INHERITS (product)', 'a table that inherits', 'child would inherit'), ('CREATE TABLE child (extra integer) INHERITS (heir, product)', 'one that inherits from two', 'child'),
             ('CREATE TEMPORARY TABLE child () INHERITS (product)', 'a temporary one', 'child'),
             ('ALTER TABLE heir INHERIT product', 'beginning to inherit', 'heir')) AS s (statement, what, detail) ORDER BY what;
SELECT is(undone('SELECT ''made''', 'CREATE SCHEMA later CREATE TABLE child () INHERITS (public.product)'), 'HF046', 'so is one that is made with its schema');
SELECT is(undone('SELECT ''made''', 'CREATE FOREIGN TABLE far () INHERITS (product) SERVER nowhere'), 'HF046', 'and a foreign one');
SELECT is(undone('SELECT count(*) FROM pg_inherits WHERE inhparent = ''product''::regclass', 'SELECT holdfast.unwatch(''product''); CREATE TABLE child () INHERITS (product)'), '1',
    'when the table is unwatched it can have heirs');

-- The extension
SELECT refuses('DROP EXTENSION holdfast', '2BP01', 'the extension cannot be dropped while a table is watched', 'holdfast_cache', 'CASCADE');
SELECT is(undone('SELECT count(*) FROM pg_trigger WHERE tgrelid = ''product''::regclass', 'DROP EXTENSION holdfast CASCADE'), '0', 'with CASCADE the triggers go with it');
SELECT is(undone('SELECT triggers(''product'')', 'DROP EXTENSION holdfast CASCADE; CREATE EXTENSION holdfast; SELECT holdfast.watch(''product'', ''k'')'),
    'holdfast_cache A, holdfast_cache_truncate A', 'and it can be made and used again');

-- A role that has nothing to do with it
CREATE ROLE dev;
CREATE SCHEMA dev AUTHORIZATION dev;
GRANT CREATE ON DATABASE holdfast_test TO dev;
SET LOCAL search_path = dev, public;
CREATE FUNCTION as_dev(p_sql text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    SET LOCAL ROLE dev;
    EXECUTE p_sql;
    RESET ROLE;
    RETURN 'done';
END
$$;
SELECT is(undone(format('SELECT as_dev(%L)', statement)), 'done', 'whoever has no rights may ' || statement)
FROM (VALUES ('CREATE TABLE t (id integer PRIMARY KEY, name text)'), ('CREATE TEMPORARY TABLE t (id integer)'), ('CREATE TABLE t AS SELECT 1 AS id'),
             ('CREATE TABLE t (id integer); ALTER TABLE t ADD name text; ALTER TABLE t RENAME name TO title; ALTER TABLE t DROP title; DROP TABLE t'),
             ('CREATE TABLE t (id integer); CREATE TABLE u () INHERITS (t); ALTER TABLE u NO INHERIT t; DROP TABLE t, u'),
             ('CREATE TABLE t (id integer) PARTITION BY LIST (id); CREATE TABLE u PARTITION OF t DEFAULT; ALTER TABLE t DETACH PARTITION u; ALTER TABLE t ATTACH PARTITION u DEFAULT; DROP TABLE t'),
             ('CREATE TABLE t (id integer); CREATE TRIGGER x BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger(); ALTER TABLE t DISABLE TRIGGER x; ALTER TRIGGER x ON t RENAME TO y; DROP TRIGGER y ON t'),
             ('CREATE TABLE t (id integer); CREATE TRIGGER holdfast_cache BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger(); DROP TRIGGER holdfast_cache ON t'),
             ('CREATE TABLE t (id integer); ALTER TABLE t RENAME TO holdfast_cache; DROP TABLE holdfast_cache'),
             ('CREATE TYPE t AS ENUM (''a''); ALTER TYPE t ADD VALUE ''b''; ALTER TYPE t RENAME VALUE ''a'' TO ''c''; DROP TYPE t'),
             ('CREATE DOMAIN t AS integer; ALTER DOMAIN t SET NOT NULL; DROP DOMAIN t'), ('CREATE TYPE t AS (id integer); ALTER TYPE t ADD ATTRIBUTE name text; DROP TYPE t'),
             ('CREATE VIEW t AS SELECT 1 AS id; ALTER VIEW t RENAME TO u; DROP VIEW u'), ('CREATE SEQUENCE t; ALTER SEQUENCE t CACHE 2; DROP SEQUENCE t'),
             ('CREATE SCHEMA t CREATE TABLE u (id integer) CREATE VIEW v AS SELECT * FROM u; DROP SCHEMA t CASCADE'), ('CREATE FUNCTION t() RETURNS integer LANGUAGE sql AS ''SELECT 1''; DROP FUNCTION t()'),
             ('CREATE TABLE t (id integer); TRUNCATE t; DROP TABLE t'), ('CREATE TABLE t (id integer); DO ''BEGIN DROP TABLE t; EXCEPTION WHEN OTHERS THEN RAISE; END''')) AS s (statement)
ORDER BY statement;
SELECT is(undone('SELECT as_dev(''CREATE TABLE t (id integer); ALTER TABLE t ADD name text; DROP TABLE t'')', $$SELECT as_dev('CREATE TEMPORARY VIEW pg_trigger AS SELECT 1 / 0 AS tgrelid;
    CREATE TEMPORARY VIEW pg_class AS SELECT 1 / 0 AS oid; CREATE TEMPORARY VIEW pg_inherits AS SELECT 1 / 0 AS inhrelid')$$), 'done', 'views in the place of catalogues change nothing');

-- A role whose table somebody else has watched
SELECT as_dev('CREATE TABLE sale (id integer, day date) PARTITION BY LIST (id); CREATE TABLE sale_1 PARTITION OF sale FOR VALUES IN (1); CREATE TABLE sale_2 (id integer, day date)');
SELECT holdfast.watch('dev.sale', 'sale:{id}');
SELECT is(undone('SELECT as_dev(''ALTER TABLE sale DROP id'')'), '42P16', 'the owner of a watched table meets rules of PostgreSQL');
SELECT is(undone('SELECT as_dev(''ALTER TABLE sale RENAME id TO number'')'), '42703', 'and rules of the cache');
SELECT is(undone('SELECT as_dev(''CREATE TABLE sale_3 PARTITION OF sale FOR VALUES IN (3)'')'), '42501', 'the trigger of a new partition needs EXECUTE on its function, as any does');
GRANT EXECUTE ON FUNCTION holdfast.invalidate_cache() TO dev;
SELECT is(as_dev('CREATE TABLE sale_3 PARTITION OF sale FOR VALUES IN (3)') || as_dev('ALTER TABLE sale ATTACH PARTITION sale_2 FOR VALUES IN (2)'), 'donedone', 'with that he makes and attaches partitions');
SELECT is(concat_ws('; ', triggers('dev.sale_2'), triggers('dev.sale_3')), 'holdfast_cache A, holdfast_cache_truncate A; holdfast_cache A, holdfast_cache_truncate A', 'which have their triggers');
SELECT is(as_dev('INSERT INTO sale VALUES (1, NULL), (2, NULL), (3, NULL); UPDATE sale SET id = 4 - id; DELETE FROM sale WHERE id = 1; TRUNCATE sale_2; TRUNCATE sale'), 'done', 'changes rows');
SELECT is(as_dev('ALTER TABLE sale RENAME TO sales; ALTER TABLE sales ADD note text; ALTER TABLE sales DETACH PARTITION sale_3'), 'done', 'changes the table');
SELECT is(as_dev('CREATE DOMAIN note AS text; ALTER TABLE sales ALTER note TYPE note; DROP DOMAIN note CASCADE'), 'done', 'its types');
SELECT is(as_dev('DROP TABLE sales') || (SELECT count(*) FROM holdfast.watched WHERE table_name::text ~ 'sale'), 'done0', 'and drops it');

SELECT * FROM finish();
ROLLBACK;

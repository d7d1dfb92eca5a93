-- Who may do what with the cache: EXECUTE on functions, SELECT on views, and the table must be one's own.
\ir include/cache.sql
SELECT plan(42);

CREATE ROLE stranger;
CREATE ROLE guest;
CREATE ROLE owner;
CREATE ROLE colleague IN ROLE owner;
CREATE ROLE writer;
CREATE ROLE reporter;
GRANT USAGE ON SCHEMA holdfast TO guest, owner, reporter;
GRANT SELECT ON holdfast.cache_status, holdfast.watched TO reporter;
ALTER TABLE product OWNER TO owner;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER ON product TO guest, writer;

-- The answer that a role gets.
CREATE FUNCTION answer(p_role text, p_sql text) RETURNS text LANGUAGE sql AS $$ SELECT undone(p_sql, format('SET LOCAL ROLE %I', p_role)) $$;

-- Without rights
SELECT is(answer(role, sql), '42501', format('a %s may not: %s', role, sql))
FROM unnest('{stranger,guest}'::text[]) AS role,
     (VALUES ('SELECT holdfast.watch(''product'', ''k'')'), ('SELECT holdfast.unwatch(''product'')'), ('SELECT holdfast.cache_flush(''why'')'), ('SELECT holdfast.cache_sync()'),
             ('SELECT state FROM holdfast.cache_status'), ('SELECT * FROM holdfast.watched'), ('SELECT state FROM _holdfast.cache_report()'),
             ('CREATE TRIGGER t AFTER INSERT ON public.product FOR EACH ROW EXECUTE FUNCTION holdfast.invalidate_cache(''k'')')) AS s (sql) ORDER BY role, sql;
SELECT is(answer('reporter', sql), '42501', 'a reporter may not: ' || sql)
FROM (VALUES ('SELECT state FROM _holdfast.cache_report()'), ('SELECT * FROM _holdfast.cache_prepared'), ('SELECT _holdfast.abandon_cache(''why'')'),
             ('SELECT _holdfast.review_watch(''pg_class'', ''why'')'), ('SELECT holdfast.cache_sync()'), ('SELECT holdfast.cache_flush(''why'')')) AS s (sql) ORDER BY sql;

-- SELECT
SELECT holdfast.watch('product', 'product:{id}');
SELECT is(answer('reporter', 'SELECT state FROM holdfast.cache_status'), 'no worker', 'with SELECT on the views a reporter reads how the cache does');
SELECT is(answer('reporter', 'SELECT template FROM holdfast.watched'), 'product:{id}', 'and what is watched');
SELECT holdfast.unwatch('product');

-- EXECUTE
SELECT is(answer('owner', 'SELECT holdfast.watch(''product'', ''k'')'), '42501', 'a table''s owner needs EXECUTE on watch()');
GRANT EXECUTE ON FUNCTION holdfast.watch(regclass, text[]) TO owner, guest;
SELECT is(answer('owner', 'SELECT holdfast.watch(''product'', ''k'')'), '42501', 'and on the function of the trigger');
GRANT EXECUTE ON FUNCTION holdfast.invalidate_cache() TO owner, guest;
SELECT is(answer('owner', 'SELECT holdfast.watch(''product'', ''k'')'), '', 'then the owner watches');
SELECT is(answer('colleague', 'SELECT holdfast.watch(''product'', ''k'')'), '', 'or a member of the owner');
SELECT is(answer('guest', 'SELECT holdfast.watch(''product'', ''k'')'), '42501', 'but nobody else, whatever he may do with the rows');
SET LOCAL ROLE owner;
SELECT holdfast.watch('product', 'product:{id}');
RESET ROLE;
SELECT is(triggers('product'), 'holdfast_cache A, holdfast_cache_truncate A', 'the owner has watched the table');
SELECT is(answer('owner', 'SELECT holdfast.unwatch(''product'')'), '42501', 'to unwatch it he needs EXECUTE on unwatch()');
GRANT EXECUTE ON FUNCTION holdfast.unwatch(regclass) TO owner, guest;
SELECT is(answer('guest', 'SELECT holdfast.unwatch(''product'')'), '42501', 'which lets nobody else');
SELECT is(answer('owner', 'SELECT holdfast.unwatch(''product'')'), '', 'then he may');
SELECT is(answer('stranger', 'DELETE FROM product RETURNING id'), '42501', 'who could not write does not write');
SELECT is(answer('writer', 'WITH i AS (INSERT INTO product VALUES (1) RETURNING id) SELECT id FROM i'), '1', 'who could write writes, without any right to the cache');
SELECT is(undone('SELECT count(*) FROM product', 'SET LOCAL ROLE writer; INSERT INTO product VALUES (1); UPDATE product SET id = 2; DELETE FROM product; TRUNCATE product; RESET ROLE'), '0', 'whatever');
SELECT holdfast.unwatch('product');

-- Partitions of others
CREATE TABLE sale (id integer) PARTITION BY LIST (id);
CREATE TABLE sale_1 PARTITION OF sale FOR VALUES IN (1);
ALTER TABLE sale OWNER TO owner;
SELECT refuses('SET LOCAL ROLE owner; SELECT holdfast.watch(''sale'', ''k'')', '42501', 'all partitions must be one''s own');
ALTER TABLE sale_1 OWNER TO owner;
SELECT is(answer('owner', 'SELECT holdfast.watch(''sale'', ''k'')'), '', 'then the whole can be watched');

-- What belongs to roles that may watch
GRANT EXECUTE ON FUNCTION holdfast.cache_flush(text), holdfast.cache_sync(interval) TO reporter;
SELECT is(answer('reporter', 'SELECT holdfast.cache_flush(''why'')'), '', 'with EXECUTE cache_flush() is anybody''s');
SELECT is(answer('reporter', 'SHOW holdfast.redis_password'), '42501', 'nobody but a superuser reads the password');
SELECT is(answer('reporter', 'SELECT setting FROM pg_settings WHERE name = ''holdfast.redis_password'''), NULL, 'also not in pg_settings');
SELECT is(answer('reporter', 'SELECT current_setting(''holdfast.redis_password'')'), '42501', 'or otherwise');

SELECT * FROM finish();
ROLLBACK;

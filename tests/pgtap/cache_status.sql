-- cache_status, cache_sync() and cache_flush(): what they show and what they refuse.
\ir include/cache.sql
SELECT plan(30);

SELECT is(shape('holdfast.cache_status'), 'state text, lag_ms numeric, backlog bigint, published bigint, coalesced bigint, lost bigint, generation bigint, generation_reason text, '
    'generation_at timestamp with time zone, generations bigint, heartbeat_at timestamp with time zone, last_error text, last_error_at timestamp with time zone, ring_used numeric',
    'the columns of cache_status');
SELECT is(shape('holdfast.watched'), 'table_name regclass, template text, fires_always boolean', 'the columns of watched');
SELECT is((SELECT format('%s %s %s %s %s', state, lag_ms >= 0, backlog, lost >= 0, ring_used BETWEEN 0 AND 1) FROM holdfast.cache_status), 'nothing watched t 0 t t', 'cache_status has one row');
SELECT is(undone('SELECT state FROM holdfast.cache_status', 'SELECT holdfast.watch(''product'', ''k'')'), 'no worker', 'until the first watch() commits nobody works');
SELECT is((SELECT state FROM holdfast.cache_status), 'nothing watched', 'when it rolls back there is nothing to do');

-- cache_sync()
SELECT is(undone('SELECT holdfast.cache_sync(''50 ms'')') || undone('SELECT holdfast.cache_sync(''0'')'), '', 'where nothing is watched cache_sync() waits for nobody');
SELECT holdfast.watch('product', 'product:{id}');
SELECT refuses(format('SELECT holdfast.cache_sync(%L)', time), 'HF045', 'where nobody works, it waits for ' || what || ' and gives up', '^State: no worker', 'cache_status')
FROM (VALUES ('0', 'nothing'), ('-1 s', 'less than nothing'), ('-6000 years', 'far less than that'), ('1 microsecond', 'a microsecond'), ('20 ms', 'a moment')) AS t (time, what) ORDER BY what;
SELECT refuses('SELECT holdfast.cache_sync(NULL)', '22004', 'it needs a time');
SELECT refuses(format('SELECT holdfast.cache_sync(%L)', time), state, 'it refuses ' || time)
FROM (VALUES ('300000 years', '22008'), ('-300000 years', '22008'), ('infinity', '22007'), ('', '22007')) AS t (time, state) ORDER BY time;
SELECT is((SELECT pg_get_expr(proargdefaults, 0) FROM pg_proc WHERE oid = 'holdfast.cache_sync(interval)'::regprocedure), '''00:00:05''::interval', 'five seconds, if it is told nothing');

-- cache_flush()
SELECT is(holdfast.cache_flush('why')::text, '', 'cache_flush() takes a reason');
SELECT is(holdfast.cache_flush('w')::text || holdfast.cache_flush(repeat('w', 127))::text || holdfast.cache_flush(repeat('ü', 63))::text, '', 'of 1 to 127 bytes');
SELECT refuses(format('SELECT holdfast.cache_flush(%L)', reason), '22023', 'it refuses ' || what, detail)
FROM (VALUES ('', 'none', 'has 0 bytes; 1 to 127'), (repeat('w', 128), 'one of 128 bytes', 'has 128 bytes'), (repeat('ü', 64), 'one of 64 letters of two bytes', 'has 128 bytes'),
             (repeat('w', 1000000), 'a very long one', 'has 1000000 bytes')) AS r (reason, what, detail) ORDER BY what;
SELECT refuses('SELECT holdfast.cache_flush(NULL)', '22004', 'it needs one');
SELECT is((SELECT format('%s %s', state, generation_reason IS DISTINCT FROM 'why') FROM holdfast.cache_status), 'no worker t', 'nothing happens before the commit');

-- Read only
SET LOCAL transaction_read_only = on;
SELECT refuses('SELECT holdfast.cache_flush(''why'')', '25006', 'cache_flush() is refused in a read-only transaction');
SELECT refuses('SELECT holdfast.cache_flush('''')', '22023', 'with a reason that is none, it says that');
SELECT refuses('SELECT holdfast.cache_sync(''0'')', 'HF045', 'cache_sync() is not');
SELECT is((SELECT state FROM holdfast.cache_status), 'no worker', 'and the status can be read');
SELECT is((SELECT template FROM holdfast.watched), 'product:{id}', 'and what is watched');

SELECT * FROM finish();
ROLLBACK;

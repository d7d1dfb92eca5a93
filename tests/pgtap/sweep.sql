-- A sweep by hand does much, but never takes more locks than a bounded number.
\ir include/begin.sql
SELECT plan(9);

-- Locks of lanes that this transaction has.
CREATE FUNCTION lane_locks() RETURNS bigint LANGUAGE sql AS
    $$ SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid >= 16384 AND pid = pg_backend_pid() $$;

-- Calm SKUs with 64 lanes each, as contention would have made them, without any lock of ours.
INSERT INTO _holdfast.stock_movement SELECT sku, holdfast.uuid7(), 64, now(), 'r' FROM generate_series(1, 20) AS sku;
INSERT INTO _holdfast.stock_lane SELECT sku, lane, 1 FROM generate_series(1, 20) AS sku, generate_series(0, 63) AS lane;
SELECT is(lane_locks(), 0::bigint, 'before the sweep there are no locks');
SELECT is(holdfast.reap(), 0::bigint, 'there is no hold to end');
SELECT cmp_ok(lane_locks(), '<=', 512::bigint, 'the locks of one sweep are bounded, however many lanes are calm');
SELECT cmp_ok((SELECT count(*) FROM _holdfast.stock_lane), '<', 1280::bigint, 'some of the lanes are merged');
SELECT is((SELECT string_agg(DISTINCT account(sku), '; ') FROM generate_series(1, 20) AS sku), '64 available, 0 held, 0 sold',
    'and no unit is lost');

-- More SKUs with a due hold than one step looks at.
INSERT INTO _holdfast.stock_movement SELECT sku, holdfast.uuid7(), 1, now(), 'r' FROM generate_series(101, 700) AS sku;
INSERT INTO _holdfast.stock_lane SELECT sku, 0, 0 FROM generate_series(101, 700) AS sku;
INSERT INTO _holdfast.hold SELECT owner('o' || sku), sku, 1, 0, now() - interval '1 hour', now() - interval '1 minute' FROM generate_series(101, 700) AS sku;
SELECT is(holdfast.reap(450), 450::bigint, 'a sweep ends as many holds as it may');
SELECT is(holdfast.reap(), 150::bigint, 'or as there are, of however many SKUs');
SELECT is(holdfast.reap(), 0::bigint, 'and each of them once');
SELECT is((SELECT string_agg(DISTINCT account(sku), '; ') FROM generate_series(101, 700, 60) AS sku), '1 available, 0 held, 0 sold',
    'their units are available');

SELECT * FROM finish();
ROLLBACK;

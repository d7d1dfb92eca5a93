\ir include/begin.sql
SELECT plan(43);

-- The units in each lane of a SKU.
CREATE FUNCTION lanes(p_sku bigint) RETURNS bigint[] LANGUAGE sql AS
    $$ SELECT array_agg(available ORDER BY lane) FROM _holdfast.stock_lane WHERE sku = p_sku $$;

SELECT given(1, 10);
SELECT is(lanes(1), '{10}', 'a calm SKU has one lane');
SELECT is(holdfast.set_lanes(1, 4), 4, 'spreading returns the lanes there are');
SELECT is(lanes(1), '{3,3,2,2}', 'the units are spread evenly');
SELECT is((SELECT lanes FROM holdfast.stock WHERE sku = 1), 4, 'the view says so');
SELECT is(account(1), '10 available, 0 held, 0 sold', 'no unit is lost');
SELECT is(holdfast.set_lanes(1, 8), 8, 'there can be more lanes');
SELECT is(lanes(1), '{2,2,1,1,1,1,1,1}', 'again evenly');
SELECT is(holdfast.set_lanes(1, 12), 12, 'and more lanes than units');
SELECT is(account(1), '10 available, 0 held, 0 sold', 'no unit is lost');
SELECT is(holdfast.set_lanes(1, 3), 3, 'there can be fewer lanes');
SELECT is(lanes(1), '{4,3,3}', 'again evenly');
SELECT is(holdfast.set_lanes(1, 3), 3, 'or as many as there are');
SELECT is(lanes(1), '{4,3,3}', 'then nothing changes');

-- Units never hide in a lane
SELECT refuses($$SELECT holdfast.reserve(owner('ann'), 1, 11)$$, 'HF001', 'lanes do not make more units', '10 units available');
SELECT isnt(holdfast.reserve(owner('ann'), 1, 10), NULL, 'a buyer gathers units from all lanes');
SELECT is(lanes(1), '{0,0,0}', 'to the last one');
SELECT is(holdfast.release(owner('ann')), 10::bigint, 'which all go back');
SELECT is(account(1), '10 available, 0 held, 0 sold', 'and are available');
SELECT given(2, 40);
SELECT is(holdfast.set_lanes(2, 16), 16, 'a SKU has many lanes');
SELECT is((SELECT count(holdfast.reserve(owner('b' || g), 2, 1)) FROM generate_series(1, 40) AS g), 40::bigint,
    'buyers of single units get them all');
SELECT refuses($$SELECT holdfast.reserve(owner('late'), 2, 1)$$, 'HF001', 'and then there is none', '0 units available');
SELECT is(account(2), '0 available, 40 held, 0 sold', 'the account is right');
SELECT is((SELECT string_agg(DISTINCT verdict, ' ') FROM holdfast.reserve_batch((SELECT array_agg(owner('b' || g)) FROM generate_series(1, 40) AS g),
    array_fill(2::bigint, '{40}'), array_fill(1::bigint, '{40}'))), '00000', 'a batch that wants no more than it has needs no lane');
SELECT given(3, 30);
SELECT is(holdfast.set_lanes(3, 16), 16, 'a SKU has many lanes');
SELECT is((SELECT count(*) FROM holdfast.reserve_batch((SELECT array_agg(owner('c' || g)) FROM generate_series(1, 40) AS g),
    array_fill(3::bigint, '{40}'), array_fill(1::bigint, '{40}')) WHERE verdict = '00000'), 30::bigint, 'a batch gathers from all of them');
SELECT is(holdfast.set_lanes(3, 2), 2, 'empty lanes can be merged');
SELECT is(account(3), '0 available, 30 held, 0 sold', 'the account is right');

-- The reaper merges calm lanes, but not below what was asked for
SELECT is(holdfast.set_lanes(1, 8), 8, 'a sale is coming');
SELECT is(holdfast.reap(), 0::bigint, 'a sweep');
SELECT is(array_length(lanes(1), 1), 8, 'does not merge lanes that were asked for');
SELECT is(holdfast.set_lanes(1, 1), 1, 'the sale is over');
SELECT is(lanes(1), '{10}', 'one lane remains');
SELECT is((SELECT count(*) FROM _holdfast.lane_floor WHERE sku = 1), 0::bigint, 'and contention decides again');
INSERT INTO _holdfast.stock_lane VALUES (1, 1, 0), (1, 2, 0), (1, 3, 0);
SELECT is(undone($$SELECT holdfast.reap() || ' ' || lanes(1)::text$$), '0 {5,5}', 'lanes that are calm are merged by half in a sweep');
SELECT is(undone($$SELECT holdfast.reap() || ' ' || lanes(1)::text$$, 'SELECT holdfast.reap()'), '0 {10}', 'and again in the next');
UPDATE _holdfast.stock_lane SET contended_at = clock_timestamp() WHERE sku = 1 AND lane = 2;
SELECT is(undone($$SELECT holdfast.reap() || ' ' || lanes(1)::text$$), '0 {10,0,0,0}', 'unless one of them was contended lately');

-- Limits
SELECT is(undone('SELECT holdfast.set_lanes(1, 1024)'), '1024', 'as many lanes as holdfast.lane_max');
SELECT refuses('SELECT holdfast.set_lanes(1, 1025)', 'HF013', 'are the most', '1025; it must be from 1 to 1024', 'lane_max');
SELECT is(undone('SELECT holdfast.set_lanes(1, 1024)', 'SET LOCAL holdfast.lane_max = 1024'), '1024', 'which can be raised');
SELECT is(undone('SELECT holdfast.set_lanes(1, 5)', 'SET LOCAL holdfast.lane_max = 4'), 'HF013', 'and lowered');
SELECT refuses('SELECT holdfast.set_lanes(1, 0)', 'HF013', 'no lanes are refused', '0; it');
SELECT refuses('SELECT holdfast.set_lanes(1, -2147483648)', 'HF013', 'fewer than no lanes are refused');
SELECT refuses('SELECT holdfast.set_lanes(99, 4)', 'HF002', 'an unknown SKU has no lanes', '99', 'receive');

SELECT * FROM finish();
ROLLBACK;

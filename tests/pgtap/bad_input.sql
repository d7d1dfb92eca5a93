-- Arguments that the files of the single functions do not try.
\ir include/begin.sql
SELECT plan(57);

SELECT given(1, 10);
SELECT held('ann', 1, 2);
SELECT held('pin', 1, 1);
SELECT is(holdfast.pin(owner('pin')), 1::bigint, 'a hold is pinned');

-- reserve() of one SKU
SELECT refuses($$SELECT holdfast.reserve(owner('x'), 1, 0)$$, 'HF003', 'holding nothing is refused', '0');
SELECT refuses($$SELECT holdfast.reserve(owner('x'), 1, -1)$$, 'HF003', 'holding less than nothing is refused', '-1');
SELECT refuses($$SELECT holdfast.reserve(owner('x'), 1, -9223372036854775808)$$, 'HF003', 'holding the least bigint is refused',
    '-9223372036854775808');
SELECT refuses($$SELECT holdfast.reserve(owner('ann'), 1, 0)$$, 'HF003', 'holding nothing is no way to release', '0');
SELECT refuses($$SELECT holdfast.reserve(owner('x'), 99, 0)$$, 'HF003', 'nothing of an unknown SKU is refused too', '0');
SELECT refuses('SELECT holdfast.reserve(NULL, 1, 1)', '22004', 'an owner that is NULL is refused');
SELECT refuses($$SELECT holdfast.reserve(owner('x'), NULL::bigint, 1)$$, '22004', 'a SKU that is NULL is refused');
SELECT refuses($$SELECT holdfast.reserve(owner('x'), 1, NULL::bigint)$$, '22004', 'a quantity that is NULL is refused');
SELECT is(undone($$SELECT holdfast.reserve('00000000-0000-0000-0000-000000000000', 1, 1) IS NOT NULL$$), 'true', 'the nil UUID is an owner');
SELECT is(undone($$SELECT holdfast.reserve('ffffffff-ffff-ffff-ffff-ffffffffffff', 1, 1) IS NOT NULL$$), 'true', 'and so is the greatest');
SELECT is(undone($$SELECT string_agg(verdict, ' ') FROM holdfast.reserve_batch(ARRAY['00000000-0000-0000-0000-000000000000', NULL]::uuid[], '{1,1}', '{1,1}')$$), '00000 22004',
    'who is not taken for nobody');

-- Times to live: too short, too long, and so long that no deadline can be reckoned
SELECT refuses(format(call, ttl), 'HF004', format('%s with a ttl of %s is refused', what, ttl), '.', 'ttl_max')
FROM (VALUES ('reserve()', 'SELECT holdfast.reserve(owner(''x''), 1, 1, %L)'),
             ('reserve() of a cart', 'SELECT holdfast.reserve(owner(''x''), ARRAY[1], ARRAY[1], %L)'),
             ('reserve_batch()', 'SELECT * FROM holdfast.reserve_batch(ARRAY[owner(''x'')], ARRAY[1], ARRAY[1], %L)'),
             ('extend()', 'SELECT holdfast.extend(owner(''ann''), %L)'),
             ('unpin()', 'SELECT holdfast.unpin(owner(''pin''), %L)')) AS c (what, call),
    (VALUES ('0'), ('-1 microsecond'), ('24 hours 1 microsecond'), ('100 years'), ('-100 years'), ('300000 years'), ('-300000 years')) AS t (ttl);

-- Settings
SELECT throws_ok($$SET LOCAL holdfast.ttl_default = 0$$, '22023', NULL, 'a default ttl of zero is no setting');
SELECT throws_ok($$SET LOCAL holdfast.ttl_max = '-1 s'$$, '22023', NULL, 'nor a negative maximum');
SELECT throws_ok($$SET LOCAL holdfast.lane_max = 0$$, '22023', NULL, 'nor no lanes');
SELECT throws_ok($$SET LOCAL holdfast.lane_max = 1025$$, '22023', NULL, 'nor too many');
SELECT throws_ok($$SET LOCAL holdfast.colour = 'red'$$, '42602', NULL, 'nor one that does not exist');
SELECT is(undone($$SELECT holdfast.reserve(owner('x'), 1, 1) <= clock_timestamp() + '24 hours'$$, $$SET LOCAL holdfast.ttl_default = 2147483647$$), 'true',
    'a default that is longer than the maximum is shortened to it');
SELECT is(undone($$SELECT holdfast.reserve(owner('x'), 1, 1, '68 years') > clock_timestamp() + '67 years'$$,
    $$SET LOCAL holdfast.ttl_max = 2147483647; SET LOCAL holdfast.lifetime_max = 2147483647$$), 'true', 'the longest maximum does not overflow');

-- Others
SELECT refuses('SELECT holdfast.set_lanes(NULL, 2)', '22004', 'set_lanes() needs a SKU');
SELECT refuses('SELECT holdfast.set_lanes(1, NULL)', '22004', 'and a number');
SELECT is(holdfast.available(NULL), NULL, 'of no SKU nothing is known');

SELECT * FROM finish();
ROLLBACK;

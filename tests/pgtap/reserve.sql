\ir include/begin.sql
SELECT plan(47);

SELECT given(1, 10);
SELECT ok(holdfast.reserve(owner('ann'), 1, 4, '90 s') BETWEEN clock_timestamp() + '80 s' AND clock_timestamp() + '90 s',
    'reserving returns the deadline, p_ttl from now');
SELECT is(account(1), '6 available, 4 held, 0 sold', 'reserved units are held');
SELECT results_eq($$SELECT sku, quantity, returned, state, held_at <= clock_timestamp(), expires_at > held_at, ended_at
    FROM holdfast.holds WHERE owner = owner('ann')$$,
    $$VALUES (1::bigint, 4::bigint, 0::bigint, 'held', true, true, NULL::timestamptz)$$, 'the hold says so');
SELECT is((SELECT count(*) FROM holdfast.movements WHERE sku = 1), 1::bigint, 'reserving moves no unit: the ledger is as it was');

-- Deadlines
SELECT ok(holdfast.reserve(owner('bob'), 1, 1) BETWEEN clock_timestamp() + '590 s' AND clock_timestamp() + '600 s',
    'without p_ttl the hold lives for holdfast.ttl_default');
SELECT is(undone($$SELECT holdfast.reserve(owner('cid'), 1, 1) < clock_timestamp() + '6 s'$$, $$SET LOCAL holdfast.ttl_default = '5 s'$$),
    'true', 'the setting counts from the next call');
SELECT is(undone($$SELECT holdfast.reserve(owner('cid'), 1, 1) < clock_timestamp() + '6 s'$$, $$SET LOCAL holdfast.ttl_max = '5 s'$$),
    'true', 'the default is never above the maximum');
SELECT is(undone($$SELECT holdfast.reserve(owner('cid'), 1, 1, '5 s') IS NOT NULL$$, $$SET LOCAL holdfast.ttl_max = '5 s'$$),
    'true', 'a ttl of exactly the maximum is good');
SELECT is(undone($$SELECT holdfast.reserve(owner('cid'), 1, 1, '5.000001 s') IS NOT NULL$$, $$SET LOCAL holdfast.ttl_max = '5 s'$$),
    'HF004', 'a microsecond more is not');

-- Too few
SELECT refuses($$SELECT holdfast.reserve(owner('cid'), 1, 6)$$, 'HF001', 'reserving beyond stock reserves nothing',
    'SKU 1 has 5 units available; 6 are needed', 'fewer');
SELECT refuses($$SELECT holdfast.reserve(owner('cid'), 1, 9223372036854775807)$$, 'HF001', 'however many are wanted', '5 units');
SELECT isnt(holdfast.reserve(owner('cid'), 1, 5), NULL, 'the last units can be reserved');
SELECT refuses($$SELECT holdfast.reserve(owner('dan'), 1, 1)$$, 'HF001', 'then there is nothing left', '0 units available', 'Try again');

-- The same owner again
SELECT is(account(1), '0 available, 10 held, 0 sold', 'all is held');
SELECT isnt(holdfast.reserve(owner('cid'), 1, 5), NULL, 'an owner is not blocked by his own hold: his own units count');
SELECT isnt(holdfast.reserve(owner('cid'), 1, 2), NULL, 'holding again sets the quantity anew: fewer');
SELECT is(account(1), '3 available, 7 held, 0 sold', 'the rest is available again');
SELECT isnt(holdfast.reserve(owner('cid'), 1, 4), NULL, 'holding again sets the quantity anew: more');
SELECT is(account(1), '1 available, 9 held, 0 sold', 'only the difference is taken');
SELECT refuses($$SELECT holdfast.reserve(owner('cid'), 1, 6)$$, 'HF001', 'more than there are beside his own is refused, and he keeps those',
    '1 units available; 2 are needed');
SELECT ok(holdfast.reserve(owner('cid'), 1, 4, '7 s') < clock_timestamp() + '8 s', 'holding again sets the deadline anew, also to an earlier time');
SELECT is((SELECT count(*) FROM holdfast.holds WHERE owner = owner('cid')), 1::bigint, 'there is still one hold');
SELECT is((SELECT expires_at < clock_timestamp() + '8 s' FROM holdfast.holds WHERE owner = owner('cid')), true, 'with the new deadline');

-- Lifetime
SELECT is(undone($$SELECT holdfast.reserve(owner('cid'), 1, 4, '60 s')$$, $$SET LOCAL holdfast.lifetime_max = '60 s'$$), 'HF014',
    'holding again cannot go beyond holdfast.lifetime_max, counted from when the hold began');
SELECT is(undone($$SELECT holdfast.reserve(owner('cid'), 1, 4, '30 s') IS NOT NULL$$, $$SET LOCAL holdfast.lifetime_max = '60 s'$$), 'true',
    'but up to it');
SELECT is(undone($$SELECT holdfast.reserve(owner('cid'), 1, 4, '61 s')$$, $$SET LOCAL holdfast.lifetime_max = '60 s'$$), 'HF004',
    'a ttl beyond holdfast.lifetime_max is refused');
SELECT is(undone($$SELECT holdfast.reserve(owner('new'), 1, 1) <= clock_timestamp() + '60 s'$$, $$SET LOCAL holdfast.lifetime_max = '60 s'$$), 'true',
    'the default is shortened to it');
SELECT is(undone($$SELECT holdfast.reserve(owner('new'), 1, 1, '60 s') IS NOT NULL$$, $$SET LOCAL holdfast.lifetime_max = '60 s'$$), 'true',
    'a new hold may live as long');

-- Revival
SELECT given(2, 3);
SELECT held('ann', 2, 2);
SELECT is(holdfast.release(owner('ann'), ARRAY[2]), 2::bigint, 'a hold is released');
SELECT refuses($$SELECT holdfast.reserve(owner('ann'), 2, 1)$$, 'HF008', 'a released hold does not come back silently', 'ended at', 'p_revive');
SELECT refuses($$SELECT holdfast.reserve(owner('ann'), 2, 1, p_revive => NULL)$$, 'HF008', 'p_revive NULL is false');
SELECT isnt(holdfast.reserve(owner('ann'), 2, 3, p_revive => true), NULL, 'with p_revive it does');
SELECT is(account(2), '0 available, 3 held, 0 sold', 'with the new quantity');
SELECT is((SELECT state FROM holdfast.holds WHERE owner = owner('ann') AND sku = 2), 'held', 'and is live');
SELECT given(3, 3);
SELECT held('ann', 3, 2, '1 microsecond');
SELECT refuses($$SELECT holdfast.reserve(owner('ann'), 3, 1)$$, 'HF009', 'an expired hold does not come back silently', 'ended at', 'p_revive');
SELECT isnt(holdfast.reserve(owner('ann'), 3, 1, p_revive => true), NULL, 'with p_revive it does');
SELECT is(account(3), '2 available, 1 held, 0 sold', 'and its old units are not counted twice');
SELECT held('eve', 3, 2, '1 microsecond');
SELECT is(holdfast.reap(), 1::bigint, 'the reaper ends a hold');
SELECT refuses($$SELECT holdfast.reserve(owner('eve'), 3, 1)$$, 'HF009', 'an expired hold that was tidied up does not come back silently', 'ended at', 'p_revive');
SELECT isnt(holdfast.reserve(owner('eve'), 3, 2, p_revive => true), NULL, 'with p_revive it does');
SELECT is(account(3), '0 available, 3 held, 0 sold', 'and its old units are not counted twice');
SELECT is(holdfast.release(owner('eve')), 2::bigint, 'they can be released again');
SELECT is(undone($$SELECT holdfast.reserve(owner('late'), 3, 1, p_revive => true) IS NOT NULL$$), 'true', 'p_revive is good for an owner without a hold');
SELECT is(holdfast.confirm(owner('ann'), ARRAY[3]), 1::bigint, 'a hold is confirmed');
SELECT refuses($$SELECT holdfast.reserve(owner('ann'), 3, 1)$$, 'HF007', 'a confirmed hold does not come back', 'ended at', 'new owner');
SELECT refuses($$SELECT holdfast.reserve(owner('ann'), 3, 1, p_revive => true)$$, 'HF007', 'not even with p_revive', 'ended at', 'new owner');

SELECT refuses($$SELECT holdfast.reserve(owner('ann'), 99, 1)$$, 'HF002', 'an unknown SKU is not empty stock', '99', 'receive');

SELECT * FROM finish();
ROLLBACK;

-- pin() and unpin().
\ir include/begin.sql
SELECT plan(40);

SELECT given(1, 10);
SELECT given(2, 10);
SELECT held('ann', 1, 4, '60 s');
SELECT held('ann', 2, 2, '60 s');
SELECT is(holdfast.pin(owner('ann')), 2::bigint, 'pinning returns the number of holds');
SELECT is((SELECT array_agg(DISTINCT expires_at) FROM holdfast.holds WHERE owner = owner('ann')), '{infinity}', 'their deadline is infinity');
SELECT is(hold('ann', 1) || ', ' || hold('ann', 2), 'pinned 4, pinned 2', 'they are pinned');
SELECT is(account(1) || '; ' || account(2), '6 available, 4 held, 0 sold; 8 available, 2 held, 0 sold', 'and held as before');
SELECT is(holdfast.pin(owner('ann')), 2::bigint, 'pinning twice is as good as once');
SELECT is((SELECT count(*) FROM holdfast.expiring('1000 years')), 0::bigint, 'pinned holds are not about to expire');
SELECT is(holdfast.reap(), 0::bigint, 'and are not reaped');

-- Holding more, and less, of what is pinned
SELECT is(holdfast.reserve(owner('ann'), 1, 5, '1 s'), 'infinity', 'a pinned hold that is held again keeps its pin');
SELECT is(hold('ann', 1), 'pinned 5', 'and takes the new quantity');
SELECT is(undone($$SELECT holdfast.reserve(owner('ann'), ARRAY[1, 2], ARRAY[1, 1], '1 s')$$), 'infinity', 'also in a cart');
SELECT given(3, 10);
SELECT is(undone($$SELECT holdfast.reserve(owner('ann'), ARRAY[1, 3], ARRAY[1, 1], '60 s') < clock_timestamp() + '61 s'$$), 'true',
    'of which the earliest deadline is returned');
SELECT is(holdfast.release(owner('ann'), '{1}', '{2}'), 2::bigint, 'a part of it is released');
SELECT is(hold('ann', 1), 'pinned 3', 'and the rest stays pinned');

-- Unpinning
SELECT held('ann', 3, 1, '30 s');
SELECT is(holdfast.unpin(owner('ann'), '90 s'), 2::bigint, 'unpinning returns the number of holds that were pinned');
SELECT is((SELECT string_agg(sku || ' ' || state, ', ' ORDER BY sku) FROM holdfast.holds WHERE owner = owner('ann')
    AND expires_at BETWEEN clock_timestamp() + '80 s' AND clock_timestamp() + '90 s'), '1 held, 2 held', 'their deadline is p_ttl from now');
SELECT is((SELECT expires_at < clock_timestamp() + '31 s' FROM holdfast.holds WHERE owner = owner('ann') AND sku = 3), true,
    'those that were not pinned keep theirs');
SELECT is(holdfast.unpin(owner('ann'), '300 s'), 0::bigint, 'unpinning twice is as good as once');
SELECT is((SELECT max(expires_at) < clock_timestamp() + '91 s' FROM holdfast.holds WHERE owner = owner('ann')), true, 'and extends nothing');
SELECT is(holdfast.pin(owner('ann')), 3::bigint, 'they are pinned again');
SELECT is(holdfast.unpin(owner('ann')), 3::bigint, 'and unpinned without p_ttl');
SELECT is((SELECT bool_and(expires_at BETWEEN clock_timestamp() + '590 s' AND clock_timestamp() + '600 s') FROM holdfast.holds WHERE owner = owner('ann')),
    true, 'until holdfast.ttl_default from now');
SELECT held('tim', 3, 1);
SELECT is(holdfast.pin(owner('tim')), 1::bigint, 'a hold is pinned');
SELECT is(undone($$SELECT holdfast.unpin(owner('tim'), '60 s')$$, $$SET LOCAL holdfast.lifetime_max = '60 s'$$), '1',
    'a pin may last longer than holdfast.lifetime_max: unpinning gives a full p_ttl');
SELECT is(holdfast.unpin(owner('tim'), '1 microsecond'), 1::bigint, 'an unpinned hold expires');
SELECT refuses($$SELECT holdfast.unpin(owner('tim'))$$, 'HF009', 'and then cannot be unpinned', 'ended at');
SELECT refuses($$SELECT holdfast.pin(owner('tim'))$$, 'HF009', 'or pinned', 'ended at', 'new owner');
SELECT is(account(3), '9 available, 1 held, 0 sold', 'its units are available');

-- Endings
SELECT held('bob', 1, 1, '1 microsecond');
SELECT held('bob', 2, 1);
SELECT refuses($$SELECT holdfast.pin(owner('bob'))$$, 'HF009', 'a cart of which one line has expired is not pinned: nothing is to be paid for it',
    'SKU 1 ended at');
SELECT held('cid', 1, 1);
SELECT held('cid', 2, 1);
SELECT is(holdfast.release(owner('cid'), '{1}'), 1::bigint, 'one line of a cart is released');
SELECT is(holdfast.pin(owner('cid')), 1::bigint, 'the others can be pinned');
SELECT is(holdfast.release(owner('cid')), 1::bigint, 'all lines are released');
SELECT refuses($$SELECT holdfast.pin(owner('cid'))$$, 'HF008', 'then there is nothing to pin', 'ended at');
SELECT refuses($$SELECT holdfast.unpin(owner('cid'))$$, 'HF008', 'or unpin', 'ended at');
SELECT held('dan', 1, 1);
SELECT is(holdfast.confirm(owner('dan')), 1::bigint, 'a hold is confirmed');
SELECT refuses($$SELECT holdfast.pin(owner('dan'))$$, 'HF007', 'what is sold is not pinned', 'ended at');

SELECT refuses($$SELECT holdfast.pin(owner('nobody'))$$, 'HF006', 'who holds nothing pins nothing', owner('nobody')::text, 'reserve');
SELECT refuses($$SELECT holdfast.unpin(owner('nobody'))$$, 'HF006', 'who holds nothing unpins nothing', owner('nobody')::text, 'reserve');
SELECT refuses($$SELECT holdfast.unpin(owner('ann'), '0')$$, 'HF004', 'unpinning needs a ttl above zero');
SELECT refuses('SELECT holdfast.pin(NULL)', '22004', 'pinning needs an owner');
SELECT refuses('SELECT holdfast.unpin(NULL)', '22004', 'unpinning needs an owner');

SELECT * FROM finish();
ROLLBACK;

\ir include/begin.sql
SELECT plan(31);

-- The deadline of a hold, in whole seconds from now.
CREATE FUNCTION seconds_left(p_owner text, p_sku bigint) RETURNS bigint LANGUAGE sql AS $$
    SELECT ceil(extract(epoch FROM expires_at - clock_timestamp()) / 10)::bigint * 10 FROM holdfast.holds WHERE owner = owner(p_owner) AND sku = p_sku
$$;

SELECT given(1, 10);
SELECT given(2, 10);
SELECT held('ann', 1, 4, '60 s');
SELECT held('ann', 2, 2, '90 s');
SELECT ok(holdfast.extend(owner('ann'), '300 s') BETWEEN clock_timestamp() + '290 s' AND clock_timestamp() + '300 s',
    'extending returns the deadline, p_ttl from now');
SELECT is((SELECT array_agg(seconds_left('ann', sku)) FROM unnest('{1,2}'::bigint[]) AS sku), '{300,300}', 'all holds of the owner have it');
SELECT is(account(1) || '; ' || account(2), '6 available, 4 held, 0 sold; 8 available, 2 held, 0 sold', 'no unit has moved');
SELECT ok(holdfast.extend(owner('ann'), '100 s') > clock_timestamp() + '290 s', 'a deadline is never moved to an earlier time');
SELECT is(seconds_left('ann', 1), 300::bigint, 'it stays where it was');
SELECT held('bob', 1, 1, '60 s');
SELECT held('bob', 2, 1, '900 s');
SELECT ok(holdfast.extend(owner('bob'), '500 s') BETWEEN clock_timestamp() + '490 s' AND clock_timestamp() + '500 s',
    'of several deadlines the earliest is returned');
SELECT is((SELECT array_agg(seconds_left('bob', sku)) FROM unnest('{1,2}'::bigint[]) AS sku), '{500,900}', 'later ones are left alone');
SELECT ok(holdfast.extend(owner('bob')) BETWEEN clock_timestamp() + '590 s' AND clock_timestamp() + '600 s',
    'without p_ttl it is holdfast.ttl_default from now');
SELECT is(seconds_left('ann', 1), 300::bigint, 'other owners'' holds are not extended');

-- Pinned and ended holds
SELECT held('cid', 1, 1, '60 s');
SELECT is(holdfast.pin(owner('cid')), 1::bigint, 'a hold is pinned');
SELECT is(holdfast.extend(owner('cid'), '90 s'), 'infinity', 'and stays so');
SELECT held('cid', 2, 1, '60 s');
SELECT ok(holdfast.extend(owner('cid'), '90 s') BETWEEN clock_timestamp() + '80 s' AND clock_timestamp() + '90 s', 'his other holds are extended');
SELECT is((SELECT string_agg(sku || ' ' || state, ', ' ORDER BY sku) FROM holdfast.holds WHERE owner = owner('cid')), '1 pinned, 2 held',
    'the pinned one is still pinned');
SELECT held('dan', 1, 1);
SELECT held('dan', 2, 1, '60 s');
SELECT is(holdfast.confirm(owner('dan'), '{1}'), 1::bigint, 'one hold is confirmed');
SELECT ok(holdfast.extend(owner('dan'), '90 s') > clock_timestamp() + '80 s', 'the other can be extended');
SELECT is(holdfast.confirm(owner('dan')), 1::bigint, 'then it is confirmed too');
SELECT refuses($$SELECT holdfast.extend(owner('dan'))$$, 'HF007', 'what is sold cannot be extended', 'ended at');
SELECT held('eve', 1, 1);
SELECT is(holdfast.release(owner('eve')), 1::bigint, 'a hold is released');
SELECT refuses($$SELECT holdfast.extend(owner('eve'))$$, 'HF008', 'and cannot be extended', 'ended at', 'new owner');
SELECT held('fay', 1, 1, '1 microsecond');
SELECT refuses($$SELECT holdfast.extend(owner('fay'))$$, 'HF009', 'an expired hold cannot be extended', 'ended at', 'new owner');
SELECT is(holdfast.reap(), 1::bigint, 'it is tidied up');
SELECT refuses($$SELECT holdfast.extend(owner('fay'))$$, 'HF009', 'and still cannot');

-- Lifetime
SELECT is(undone($$SELECT holdfast.extend(owner('ann'), '86400 s')$$), 'HF014',
    'extending cannot go beyond holdfast.lifetime_max, counted from when the hold began');
SELECT refuses($$SELECT holdfast.extend(owner('ann'), '86400 s')$$, 'HF014', 'and then extends nothing', '86400 seconds', 'shorter');
SELECT is(undone($$SELECT holdfast.extend(owner('ann'), '86390 s') > clock_timestamp() + '86380 s'$$), 'true', 'up to it, it can');
SELECT refuses($$SELECT holdfast.extend(owner('ann'), '86401 s')$$, 'HF004', 'a ttl above holdfast.ttl_max is refused', '86400', 'ttl_max');
SELECT is(undone($$SELECT holdfast.extend(owner('ann'), '61 s')$$, $$SET LOCAL holdfast.lifetime_max = '60 s'$$), 'HF004',
    'and one above holdfast.lifetime_max');

SELECT refuses($$SELECT holdfast.extend(owner('ann'), '0')$$, 'HF004', 'a ttl of zero is refused', '00:00:00');
SELECT refuses($$SELECT holdfast.extend(owner('ann'), '-1 s')$$, 'HF004', 'a negative ttl is refused', '-00:00:01');
SELECT refuses($$SELECT holdfast.extend(owner('nobody'))$$, 'HF006', 'who holds nothing extends nothing', owner('nobody')::text, 'reserve');
SELECT refuses('SELECT holdfast.extend(NULL)', '22004', 'extending needs an owner');

SELECT * FROM finish();
ROLLBACK;

\ir include/begin.sql
SELECT plan(53);

SELECT given(1, 10);
SELECT given(2, 5);
SELECT held('ann', 1, 4);
SELECT held('ann', 2, 2);
SELECT is(holdfast.confirm(owner('ann')), 6::bigint, 'confirming sells all holds of the owner and returns the units');
SELECT is(account(1) || '; ' || account(2), '6 available, 0 held, 4 sold; 3 available, 0 held, 2 sold', 'held units become sold ones');
SELECT is(hold('ann', 1) || ', ' || hold('ann', 2), 'confirmed 4, confirmed 2', 'the holds are confirmed');
SELECT is((SELECT bool_and(ended_at BETWEEN held_at AND clock_timestamp() AND ended_at <= expires_at AND returned = 0)
    FROM holdfast.holds WHERE owner = owner('ann')), true, 'and have ended now, before their deadline');
SELECT results_eq($$SELECT sku, kind, quantity, owner, reference FROM holdfast.movements WHERE kind <> 'received' ORDER BY sku$$,
    $$VALUES (1::bigint, 'sold', -4::bigint, owner('ann'), NULL::text), (2, 'sold', -2, owner('ann'), NULL)$$, 'each sale is a line of the ledger');
SELECT refuses($$SELECT holdfast.confirm(owner('ann'))$$, 'HF007', 'nothing is sold twice', 'ended at', 'give_back');
SELECT refuses($$SELECT holdfast.confirm(owner('ann'), '{1}')$$, 'HF007', 'not by its name either', 'ended at');

-- Named SKUs
SELECT held('bob', 1, 1);
SELECT held('bob', 2, 1);
SELECT is(holdfast.confirm(owner('bob'), '{2}'), 1::bigint, 'only the SKUs named are sold');
SELECT is(hold('bob', 1) || ', ' || hold('bob', 2), 'held 1, confirmed 1', 'the others stay held');
SELECT refuses($$SELECT holdfast.confirm(owner('bob'), '{1,2}')$$, 'HF007', 'all that are named, or none', 'SKU 2');
SELECT is(holdfast.confirm(owner('bob')), 1::bigint, 'without names, those that are still live');
SELECT held('cid', 1, 1);
SELECT is(holdfast.confirm(owner('cid'), '{1,1}'), 1::bigint, 'a SKU named twice is sold once');

-- Quantities
SELECT held('dan', 1, 3);
SELECT held('dan', 2, 2);
SELECT refuses($$SELECT holdfast.confirm(owner('dan'), '{2,1}', '{1,4}')$$, 'HF010', 'more than is held cannot be sold', '3 of SKU 1; 4 were',
    'at most');
SELECT refuses($$SELECT holdfast.confirm(owner('dan'), '{1,1}', '{2,2}')$$, 'HF010', 'nor in two parts', '3 of SKU 1; 4 were');
SELECT refuses($$SELECT holdfast.confirm(owner('dan'), '{1,1}', '{9223372036854775807,9223372036854775807}')$$, 'HF010',
    'nor in parts that overflow');
SELECT is(holdfast.confirm(owner('dan'), '{1,2,1}', '{1,2,1}'), 4::bigint, 'with quantities that many are sold');
SELECT is(hold('dan', 1) || ', ' || hold('dan', 2), 'confirmed 2, confirmed 2', 'the hold says how many');
SELECT is(account(1), '2 available, 0 held, 8 sold', 'and the rest goes back to stock');
SELECT is((SELECT sum(quantity) FROM holdfast.movements WHERE owner = owner('dan')), -4::numeric, 'the ledger says the same');
SELECT refuses($$SELECT holdfast.confirm(owner('dan'), '{1}', '{1}')$$, 'HF007', 'there is no rest to sell later');

-- Deadlines
SELECT held('eve', 1, 1, '1 microsecond');
SELECT refuses($$SELECT holdfast.confirm(owner('eve'))$$, 'HF009', 'an expired hold is not sold', 'ended at', 'new owner');
SELECT refuses($$SELECT holdfast.confirm(owner('eve'), '{1}', '{1}')$$, 'HF009', 'not by its name either', 'SKU 1 ended at');
SELECT is(holdfast.reap(), 1::bigint, 'it is tidied up');
SELECT refuses($$SELECT holdfast.confirm(owner('eve'))$$, 'HF009', 'and is still not sold');
SELECT given(3, 10);
SELECT held('fay', 1, 1, '1 microsecond');
SELECT held('fay', 3, 1);
SELECT refuses($$SELECT holdfast.confirm(owner('fay'))$$, 'HF009', 'a cart of which one line has expired is not sold in part', 'SKU 1 ended at');
SELECT refuses($$SELECT holdfast.confirm(owner('fay'), '{1,3}')$$, 'HF009', 'nor if all its lines are named');
SELECT is(holdfast.confirm(owner('fay'), '{3}'), 1::bigint, 'unless those that are live are named');
SELECT held('gus', 3, 2);
SELECT is(holdfast.pin(owner('gus')), 1::bigint, 'a hold is pinned');
SELECT is(holdfast.confirm(owner('gus')), 2::bigint, 'and is sold all the same');

-- Released holds
SELECT held('hal', 1, 1);
SELECT held('hal', 3, 1);
SELECT is(holdfast.release(owner('hal'), '{1}'), 1::bigint, 'one line of a cart is released');
SELECT refuses($$SELECT holdfast.confirm(owner('hal'), '{1}')$$, 'HF008', 'it is not sold', 'SKU 1 ended at');
SELECT is(holdfast.confirm(owner('hal')), 1::bigint, 'the others are');
SELECT held('ida', 3, 1);
SELECT is(holdfast.release(owner('ida')), 1::bigint, 'a hold is released');
SELECT refuses($$SELECT holdfast.confirm(owner('ida'))$$, 'HF008', 'and is not sold', 'ended at', 'new owner');
SELECT is(account(1) || '; ' || account(3), '2 available, 0 held, 8 sold; 6 available, 0 held, 4 sold', 'the account is right');

-- No such hold
SELECT held('jim', 3, 1);
SELECT refuses($$SELECT holdfast.confirm(owner('nobody'))$$, 'HF006', 'who holds nothing buys nothing', owner('nobody')::text, 'reserve');
SELECT refuses($$SELECT holdfast.confirm(owner('jim'), '{3,1}')$$, 'HF006', 'one SKU that is not held refuses all', 'SKU 1', 'reserve');
SELECT refuses($$SELECT holdfast.confirm(owner('jim'), '{99}')$$, 'HF006', 'an unknown SKU is not held', 'SKU 99');

-- Lines
SELECT refuses($$SELECT holdfast.confirm(owner('jim'), '{}')$$, 'HF005', 'no SKUs are refused: they do not mean all');
SELECT refuses($$SELECT holdfast.confirm(owner('jim'), '{3}', '{}')$$, 'HF005', 'no quantities are refused');
SELECT refuses($$SELECT holdfast.confirm(owner('jim'), '{3,1}', '{1}')$$, 'HF005', 'arrays of different length are refused', '2 and 1');
SELECT refuses($$SELECT holdfast.confirm(owner('jim'), NULL, '{1}')$$, 'HF005', 'quantities without SKUs are refused', NULL, 'SKUs');
SELECT refuses($$SELECT holdfast.confirm(owner('jim'), '{{3},{3}}')$$, 'HF005', 'two dimensions of SKUs are refused', NULL, 'one-dimensional');
SELECT refuses($$SELECT holdfast.confirm(owner('jim'), '{3}', '{{1}}')$$, 'HF005', 'two dimensions of quantities are refused', NULL,
    'one-dimensional');
SELECT refuses($$SELECT holdfast.confirm(owner('jim'), array_agg(3::bigint)) FROM generate_series(1, 100001)$$, 'HF005',
    'more SKUs than a call may carry are refused', '100001', 'smaller');
SELECT refuses($$SELECT holdfast.confirm(owner('jim'), '{NULL}')$$, '22004', 'a SKU that is NULL is refused', '1');
SELECT refuses($$SELECT holdfast.confirm(owner('jim'), '{3,3}', '{1,NULL}')$$, '22004', 'a quantity that is NULL is refused', '2');
SELECT refuses($$SELECT holdfast.confirm(NULL)$$, '22004', 'an owner that is NULL is refused');
SELECT refuses($$SELECT holdfast.confirm(owner('jim'), '{3}', '{0}')$$, 'HF003', 'selling none is refused', '0');
SELECT refuses($$SELECT holdfast.confirm(owner('jim'), '{3}', '{-1}')$$, 'HF003', 'selling less than none is refused', '-1');
SELECT refuses($$SELECT holdfast.confirm(owner('jim'), '{3,3}', '{2,-1}')$$, 'HF003', 'also within lines that add up');
SELECT is(hold('jim', 3), 'held 1', 'after all of which the hold is as it was');
SELECT is(holdfast.confirm(owner('jim'), '[5:5]={3}', '[7:7]={1}'), 1::bigint, 'arrays may begin anywhere');

SELECT * FROM finish();
ROLLBACK;

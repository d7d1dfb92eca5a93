\ir include/begin.sql
SELECT plan(46);

SELECT given(1, 10);
SELECT given(2, 5);
SELECT held('ann', 1, 4);
SELECT held('ann', 2, 2);
SELECT is(holdfast.release(owner('ann')), 6::bigint, 'releasing gives back all holds of the owner and returns the units');
SELECT is(account(1) || '; ' || account(2), '10 available, 0 held, 0 sold; 5 available, 0 held, 0 sold', 'they are available at once');
SELECT is(hold('ann', 1) || ', ' || hold('ann', 2), 'released 4, released 2', 'the holds are released');
SELECT is((SELECT bool_and(ended_at BETWEEN held_at AND clock_timestamp()) FROM holdfast.holds WHERE owner = owner('ann')), true,
    'and have ended now');
SELECT is((SELECT count(*) FROM holdfast.movements WHERE kind <> 'received'), 0::bigint, 'no unit has moved: the ledger is as it was');
SELECT refuses($$SELECT holdfast.release(owner('ann'))$$, 'HF008', 'nothing is given back twice', 'ended at', 'new owner');
SELECT refuses($$SELECT holdfast.release(owner('ann'), '{2}')$$, 'HF008', 'not by its name either', 'SKU 2 ended at');

-- Named SKUs
SELECT held('bob', 1, 3);
SELECT held('bob', 2, 1);
SELECT is(holdfast.release(owner('bob'), '{2,2}'), 1::bigint, 'only the SKUs named are given back, each once');
SELECT is(hold('bob', 1) || ', ' || hold('bob', 2), 'held 3, released 1', 'the others stay held');
SELECT refuses($$SELECT holdfast.release(owner('bob'), '{1,2}')$$, 'HF008', 'all that are named, or none', 'SKU 2');

-- Quantities
SELECT is(holdfast.release(owner('bob'), '{1}', '{1}'), 1::bigint, 'with quantities that many are given back');
SELECT is(hold('bob', 1), 'held 2', 'and the rest stays held');
SELECT is(account(1), '8 available, 2 held, 0 sold', 'the account is right');
SELECT refuses($$SELECT holdfast.release(owner('bob'), '{1}', '{3}')$$, 'HF010', 'more than is held cannot be given back', '2 of SKU 1; 3 were',
    'at most');
SELECT refuses($$SELECT holdfast.release(owner('bob'), '{1,1}', '{2,1}')$$, 'HF010', 'nor in two parts', '2 of SKU 1; 3 were');
SELECT refuses($$SELECT holdfast.release(owner('bob'), '{1,1}', '{9223372036854775807,9223372036854775807}')$$, 'HF010',
    'nor in parts that overflow');
SELECT is(holdfast.release(owner('bob'), '{1,1}', '{1,1}'), 2::bigint, 'giving back all that is left, in two parts');
SELECT is(hold('bob', 1), 'released 2', 'ends the hold');
SELECT held('cid', 1, 2);
SELECT held('cid', 2, 2);
SELECT is(holdfast.release(owner('cid'), '{2,1}', '{2,1}'), 3::bigint, 'a whole line and a part of another');
SELECT is(hold('cid', 1) || ', ' || hold('cid', 2), 'held 1, released 2', 'each for itself');
SELECT is(holdfast.release(owner('cid')), 1::bigint, 'without names, those that are still live');

-- Endings
SELECT held('dan', 1, 1);
SELECT is(holdfast.confirm(owner('dan')), 1::bigint, 'a hold is confirmed');
SELECT refuses($$SELECT holdfast.release(owner('dan'))$$, 'HF007', 'what is sold is not released', 'ended at');
SELECT refuses($$SELECT holdfast.release(owner('dan'), '{1}', '{1}')$$, 'HF007', 'not by its name either', 'SKU 1 ended at');
SELECT held('eve', 1, 1, '1 microsecond');
SELECT refuses($$SELECT holdfast.release(owner('eve'))$$, 'HF009', 'an expired hold is not released: its units are back already', 'ended at');
SELECT is(holdfast.reap(), 1::bigint, 'it is tidied up');
SELECT refuses($$SELECT holdfast.release(owner('eve'), '{1}')$$, 'HF009', 'and still not released');
SELECT held('fay', 1, 1, '1 microsecond');
SELECT held('fay', 2, 3);
SELECT is(holdfast.release(owner('fay')), 3::bigint, 'a cart of which one line has expired gives back the others');
SELECT held('gus', 2, 2);
SELECT is(holdfast.pin(owner('gus')), 1::bigint, 'a hold is pinned');
SELECT is(holdfast.release(owner('gus')), 2::bigint, 'and can be released all the same');
SELECT is(account(1) || '; ' || account(2), '9 available, 0 held, 1 sold; 5 available, 0 held, 0 sold', 'the account is right');

-- No such hold
SELECT held('jim', 2, 1);
SELECT refuses($$SELECT holdfast.release(owner('nobody'))$$, 'HF006', 'who holds nothing gives nothing back', owner('nobody')::text, 'reserve');
SELECT refuses($$SELECT holdfast.release(owner('jim'), '{2,1}')$$, 'HF006', 'one SKU that is not held refuses all', 'SKU 1');

-- Lines
SELECT refuses($$SELECT holdfast.release(owner('jim'), '{}')$$, 'HF005', 'no SKUs are refused: they do not mean all');
SELECT refuses($$SELECT holdfast.release(owner('jim'), '{2}', '{}')$$, 'HF005', 'no quantities are refused');
SELECT refuses($$SELECT holdfast.release(owner('jim'), '{2}', '{1,1}')$$, 'HF005', 'arrays of different length are refused', '1 and 2');
SELECT refuses($$SELECT holdfast.release(owner('jim'), NULL, '{1}')$$, 'HF005', 'quantities without SKUs are refused', NULL, 'SKUs');
SELECT refuses($$SELECT holdfast.release(owner('jim'), '{{2,2},{2,2}}')$$, 'HF005', 'two dimensions are refused', NULL, 'one-dimensional');
SELECT refuses($$SELECT holdfast.release(owner('jim'), array_agg(2::bigint)) FROM generate_series(1, 100001)$$, 'HF005',
    'more SKUs than a call may carry are refused', '100001', 'smaller');
SELECT refuses($$SELECT holdfast.release(owner('jim'), '{2,NULL}')$$, '22004', 'a SKU that is NULL is refused', '2');
SELECT refuses($$SELECT holdfast.release(owner('jim'), '{2}', '{NULL}')$$, '22004', 'a quantity that is NULL is refused', '1');
SELECT refuses($$SELECT holdfast.release(NULL)$$, '22004', 'an owner that is NULL is refused');
SELECT refuses($$SELECT holdfast.release(owner('jim'), '{2}', '{0}')$$, 'HF003', 'giving back none is refused', '0');
SELECT refuses($$SELECT holdfast.release(owner('jim'), '{2}', '{-1}')$$, 'HF003', 'giving back less than none is refused', '-1');
SELECT is(hold('jim', 2), 'held 1', 'after all of which the hold is as it was');
SELECT is(holdfast.release(owner('jim'), NULL, NULL), 1::bigint, 'NULL for both arrays means all');

SELECT * FROM finish();
ROLLBACK;

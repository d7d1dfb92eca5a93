\ir include/begin.sql
SELECT plan(63);

-- A batch, its verdicts in the order of its lines, and for HF001 what was left.
CREATE FUNCTION batch(p_names text[], p_skus bigint[], p_quantities bigint[], p_policy text DEFAULT 'valid_rows')
    RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(verdict || COALESCE('(' || available || ')', ''), ' ' ORDER BY line)
    FROM holdfast.reserve_batch(ARRAY(SELECT owner(name) FROM unnest(p_names) WITH ORDINALITY AS n (name, i) ORDER BY i),
        p_skus, p_quantities, '60 s', p_policy)
$$;

SELECT given(1, 10);
SELECT given(2, 5);
SELECT results_eq($$SELECT * FROM holdfast.reserve_batch(ARRAY[owner('ann'), owner('bob'), owner('cid')], '{1,1,2}', '{3,4,5}', '60 s')$$,
    $$VALUES (1, '00000', NULL::bigint), (2, '00000', NULL), (3, '00000', NULL)$$, 'a batch gives a verdict for every line, in order');
SELECT is(account(1) || '; ' || account(2), '3 available, 7 held, 0 sold; 0 available, 5 held, 0 sold', 'and holds for every owner');
SELECT is((SELECT count(*) FROM holdfast.holds WHERE state = 'held' AND expires_at BETWEEN clock_timestamp() + '50 s' AND clock_timestamp() + '60 s'),
    3::bigint, 'until p_ttl from now');
SELECT is((SELECT count(*) FROM holdfast.movements WHERE sku IN (1, 2)), 2::bigint, 'and moves no unit: the ledger is as it was');

-- Earlier lines go first
SELECT is(batch('{dan,eve,fay}', '{1,1,1}', '{2,2,1}'), '00000 HF001(1) 00000',
    'a line that wants more than is left is refused, the next one may fit');
SELECT is(account(1), '0 available, 10 held, 0 sold', 'so that the last unit is held');
SELECT is(batch('{g1,g2}', '{1,2}', '{1,9}'), 'HF001(0) HF001(0)', 'when nothing is left all lines are refused');
SELECT given(3, 10);
SELECT is((SELECT array_agg(line) FROM (SELECT line FROM holdfast.reserve_batch((SELECT array_agg(owner('first' || g)) FROM generate_series(1, 26) AS g),
        array_fill(3::bigint, '{26}'), array_fill(1::bigint, '{26}')) WHERE verdict = '00000' ORDER BY line) AS t),
    '{1,2,3,4,5,6,7,8,9,10}', 'of too many lines the first ones win, whoever their owners are');
SELECT is(account(3), '0 available, 10 held, 0 sold', 'and no line more');

-- Bad lines among good ones
SELECT given(4, 100);
SELECT is(batch('{l1,l2,l3}', '{4,99,4}', '{1,1,1}'), '00000 HF002 00000', 'an unknown SKU refuses its line only');
SELECT is(batch('{l4,l5,l6}', '{4,4,4}', '{0,1,-1}'), 'HF003 00000 HF003', 'and so does a quantity that is not positive');
SELECT is(batch('{l7,l8,l9}', '{4,NULL,4}', '{1,1,NULL}'), '00000 22004 22004', 'and a SKU or a quantity that is NULL');
SELECT is(batch('{NULL,m1,NULL}', '{4,4,NULL}', '{1,1,1}'), '22004 00000 22004', 'and an owner that is NULL');
SELECT is(batch('{NULL,NULL}', '{4,4}', '{1,1}'), '22004 22004', 'also if there is no other line');
SELECT is(batch('{m2,m3}', '{4,4}', '{9223372036854775807,1}'), 'HF001(95) 00000', 'the greatest bigint is more than there is');
SELECT is(account(4), '94 available, 6 held, 0 sold', 'all that was good is held, and nothing else');
SELECT is((SELECT count(*) FROM holdfast.holds WHERE owner IN (owner('l2'), owner('l4'), owner('l6'), owner('l8'), owner('m2'))), 0::bigint,
    'a refused line leaves no hold');

-- Lines of one owner
SELECT given(5, 10);
SELECT is(batch('{gus,gus,hal}', '{5,99,5}', '{1,1,1}'), 'HF015 HF002 00000', 'lines of one owner fall together');
SELECT is(batch('{gus,hal,gus}', '{5,5,NULL}', '{1,2,1}'), 'HF015 00000 22004', 'also with a NULL');
SELECT is(batch('{gus,gus,hal}', '{5,5,5}', '{0,1,3}'), 'HF003 HF003 00000', 'a bad line is not lost in a good one of its SKU');
SELECT is(account(5), '7 available, 3 held, 0 sold', 'what falls takes nothing');
SELECT is(batch('{ira,ira}', '{5,5}', '{1,2}'), '00000 00000', 'lines of one owner and SKU');
SELECT is(hold('ira', 5), 'held 3', 'are summed');
SELECT is(batch('{jim,jim}', '{5,5}', '{3,2}'), 'HF001(4) HF001(4)', 'and are too many together though each alone is not');
SELECT is(batch('{jim,jim,kim}', '{5,5,5}', '{9223372036854775807,9223372036854775807,1}'), '22003 22003 00000',
    'lines that add up to more than a bigint are out of range');
SELECT is(batch('{j1,j2,j3}', '{5,5,5}', '{9223372036854775807,9223372036854775807,1}'), 'HF001(3) HF001(3) 00000',
    'huge lines of several owners are just too many');
SELECT given(6, 5);
SELECT is(batch('{lea,lea,max}', '{6,99,6}', '{5,1,5}'), 'HF015 HF002 00000', 'an owner that falls leaves the units to those who come later');
SELECT is(account(6), '0 available, 5 held, 0 sold', 'all of them');
SELECT is(batch('{ned,ned,ned}', '{2,4,5}', '{1,1,1}'), 'HF001(0) HF015 HF015', 'one SKU that is short refuses all lines of its owner');

-- Owners who hold already
SELECT given(7, 10);
SELECT is(batch('{ann,bob}', '{7,7}', '{4,5}'), '00000 00000', 'owners of other SKUs may hold this one');
SELECT is(batch('{ann,bob}', '{7,7}', '{5,5}'), '00000 00000', 'holding again sets the quantity anew: his own units count');
SELECT is(account(7), '0 available, 10 held, 0 sold', 'only the difference is taken');
SELECT is(batch('{ann,cid}', '{7,7}', '{6,1}'), 'HF001(0) HF001(0)', 'more than there are beside his own is refused');
SELECT is(hold('ann', 7), 'held 5', 'and he keeps those');
SELECT is(batch('{ann}', '{7}', '{2}'), '00000', 'fewer');
SELECT is(account(7), '3 available, 7 held, 0 sold', 'go back to stock');
SELECT is(undone($$SELECT batch('{ann,dan}', '{7,7}', '{2,1}')$$, $$SET LOCAL holdfast.lifetime_max = '60 s'$$), 'HF014 00000',
    'holding again cannot go beyond holdfast.lifetime_max');
SELECT held('out', 7, 1);
SELECT held('late', 7, 1, '1 microsecond');
SELECT is(holdfast.release(owner('out')) + holdfast.confirm(owner('bob'), '{7}'), 6::bigint, 'holds end');
SELECT is(batch('{bob,out,late,new}', '{7,7,7,7}', '{1,1,1,1}'), 'HF007 HF008 HF009 00000', 'ended ones do not come back by a batch');
SELECT is(hold('bob', 7) || ', ' || hold('out', 7) || ', ' || hold('late', 7), 'confirmed 5, released 1, expired 1', 'but stay as they are');
SELECT is(account(7), '2 available, 3 held, 5 sold', 'and the account is right');

-- all_or_nothing
SELECT is(batch('{o1,o2}', '{7,7}', '{1,1}', 'all_or_nothing'), '00000 00000', 'all_or_nothing holds all that can be');
SELECT is(holdfast.release(owner('o1')) + holdfast.release(owner('o2')), 2::bigint, 'and it can be released');
CREATE TABLE before AS SELECT contents() AS stored;
SELECT is(batch('{p1,p2,p3}', '{7,4,7}', '{2,5,1}', 'all_or_nothing'), 'HF016 HF016 HF001(0)', 'one line short refuses all');
SELECT is(batch('{p1,p2,p2}', '{7,99,4}', '{1,1,1}', 'all_or_nothing'), 'HF016 HF002 HF016', 'an unknown SKU refuses all');
SELECT is(batch('{p1,p2}', '{7,4}', '{1,0}', 'all_or_nothing'), 'HF016 HF003', 'a bad quantity refuses all');
SELECT is(batch('{p1,NULL}', '{7,4}', '{1,1}', 'all_or_nothing'), 'HF016 22004', 'an owner that is NULL refuses all');
SELECT is(batch('{p1,bob}', '{4,7}', '{1,1}', 'all_or_nothing'), 'HF016 HF007', 'an ended hold refuses all');
SELECT is(batch('{ann,p1}', '{7,99}', '{1,1}', 'all_or_nothing'), 'HF016 HF002', 'also lines that would only change a hold');
SELECT is(contents(), (SELECT stored FROM before), 'and nothing has changed');
DROP TABLE before;

-- Many lines
SELECT given(100 + g, 300) FROM generate_series(0, 9) AS g;
SELECT is((SELECT string_agg(verdict || ' ' || n, ', ' ORDER BY verdict) FROM (SELECT verdict, count(*) AS n FROM holdfast.reserve_batch(
        (SELECT array_agg(owner('many' || g)) FROM generate_series(1, 4000) AS g),
        (SELECT array_agg(100 + g % 10 ORDER BY g) FROM generate_series(1, 4000) AS g),
        array_fill(1::bigint, '{4000}')) GROUP BY verdict) AS t),
    '00000 3000, HF001 1000', 'a batch may have thousands of lines');
SELECT is((SELECT string_agg(DISTINCT account(100 + g), '; ') FROM generate_series(0, 9) AS g), '0 available, 300 held, 0 sold',
    'each SKU is held to the last unit');

-- The call as a whole
SELECT refuses($$SELECT holdfast.reserve_batch(ARRAY[owner('x')], '{4}', '{1}', '0')$$, 'HF004', 'a ttl of zero refuses the call');
SELECT refuses($$SELECT holdfast.reserve_batch('{}', '{}', '{}')$$, 'HF005', 'an empty batch is refused');
SELECT refuses($$SELECT holdfast.reserve_batch(ARRAY[owner('x')], '{4,5}', '{1}')$$, 'HF005', 'more SKUs than owners are refused', '1 and 2');
SELECT refuses($$SELECT holdfast.reserve_batch(ARRAY[owner('x')], '{4}', '{1,1}')$$, 'HF005', 'more quantities than owners are refused', '1 and 2');
SELECT refuses($$SELECT holdfast.reserve_batch(ARRAY[ARRAY[owner('x')]], '{4}', '{1}')$$, 'HF005', 'two dimensions are refused');
SELECT refuses($$SELECT holdfast.reserve_batch(array_agg(owner('x' || g)), array_agg(4::bigint), array_agg(1::bigint)) FROM generate_series(1, 100001) AS g$$,
    'HF005', 'more lines than a call may carry are refused', '100001', 'smaller');
SELECT refuses($$SELECT holdfast.reserve_batch(NULL, '{4}', '{1}')$$, '22004', 'owners that are NULL are refused');
SELECT refuses($$SELECT holdfast.reserve_batch(ARRAY[owner('x')], NULL, '{1}')$$, '22004', 'SKUs that are NULL are refused');
SELECT refuses($$SELECT holdfast.reserve_batch(ARRAY[owner('x')], '{4}', NULL)$$, '22004', 'quantities that are NULL are refused');
SELECT refuses($$SELECT holdfast.reserve_batch(ARRAY[owner('x')], '{4}', '{1}', NULL, NULL)$$, '22004', 'a policy that is NULL is refused');
SELECT refuses($$SELECT holdfast.reserve_batch(ARRAY[owner('x')], '{4}', '{1}', NULL, 'some')$$, '22023', 'an unknown policy is refused', NULL,
    'valid_rows');

SELECT * FROM finish();
ROLLBACK;

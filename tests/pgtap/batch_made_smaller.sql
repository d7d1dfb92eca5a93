-- In one batch some owners' holds shrink while other owners are refused, on a SKU with several lanes.
\ir include/begin.sql
SELECT plan(12);

CREATE FUNCTION batch(p_names text[], p_quantities bigint[], p_policy text DEFAULT 'valid_rows') RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(verdict || COALESCE('(' || available || ')', ''), ' ' ORDER BY line)
    FROM holdfast.reserve_batch(ARRAY(SELECT owner(name) FROM unnest(p_names) WITH ORDINALITY AS n (name, i) ORDER BY i),
        array_fill(1::bigint, ARRAY[cardinality(p_names)]), p_quantities, '60 s', p_policy)
$$;

SELECT given(1, 20);
SELECT is(holdfast.set_lanes(1, 7), 7, 'a SKU has several lanes');
SELECT is(batch('{ann,bob,cid}', '{10,6,4}'), '00000 00000 00000', 'all its units are held');
SELECT is(batch('{ann,dan}', '{7,1}'), '00000 HF001(0)', 'who holds less gives back, though another one finds none');
SELECT is(account(1), '3 available, 17 held, 0 sold', 'and his units are available');
SELECT is(batch('{dan,ann,eve}', '{4,5,9}'), 'HF001(3) 00000 HF001(3)', 'also if there are some, but too few');
SELECT is(account(1), '5 available, 15 held, 0 sold', 'and nobody else has changed');
SELECT is(batch('{bob,dan,cid,eve}', '{1,2,7,9}'), '00000 00000 00000 HF001(0)', 'one shrinks, one is new, one grows, one is refused');
SELECT is(account(1), '5 available, 15 held, 0 sold', 'and the account is right');
SELECT is(batch('{ann,eve}', '{1,99}', 'all_or_nothing'), 'HF016 HF001(5)', 'if one refused refuses all');
SELECT is(account(1) || ', ' || hold('ann', 1), '5 available, 15 held, 0 sold, held 5', 'nothing shrinks');
SELECT is(undone($$SELECT holdfast.set_lanes(1, 1) || ' ' || batch('{ann,eve}', '{1,99}') || ', ' || account(1)$$),
    '1 00000 HF001(5), 9 available, 11 held, 0 sold', 'nor does it matter that the lanes have been merged meanwhile');
SELECT is(undone($$SELECT holdfast.adjust(1, -5, 'lost') || ' ' || holdfast.set_lanes(1, 1) || ' ' || batch('{ann,eve}', '{1,99}') || ', ' || account(1)$$),
    '0 1 00000 HF001(0), 4 available, 11 held, 0 sold', 'or that there is no unit left');

SELECT * FROM finish();
ROLLBACK;

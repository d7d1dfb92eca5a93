\ir include/begin.sql
SELECT plan(41);

SELECT given(1, 10);
SELECT given(2, 5);
SELECT given(3, 1);
SELECT ok(holdfast.reserve(owner('ann'), ARRAY[2, 1, 3], ARRAY[2, 3, 1], '60 s') BETWEEN clock_timestamp() + '50 s' AND clock_timestamp() + '60 s',
    'a cart is held until one deadline');
SELECT results_eq($$SELECT sku, quantity FROM holdfast.holds WHERE owner = owner('ann') ORDER BY sku$$,
    'VALUES (1::bigint, 3::bigint), (2, 2), (3, 1)', 'with a hold for each SKU');
SELECT refuses($$SELECT holdfast.reserve(owner('bob'), ARRAY[1, 2, 3], ARRAY[1, 1, 1])$$, 'HF001', 'one line short and nothing of the cart is held', 'SKU 3 has 0');
SELECT refuses($$SELECT holdfast.reserve(owner('bob'), ARRAY[2, 99, 3], ARRAY[1, 1, 5])$$, 'HF002', 'the first line that cannot be is the one named', '99');
SELECT isnt(holdfast.reserve(owner('bob'), ARRAY[1, 2, 1, 1], ARRAY[2, 1, 3, 1]), NULL, 'lines of the same SKU');
SELECT results_eq($$SELECT sku, quantity FROM holdfast.holds WHERE owner = owner('bob') ORDER BY sku$$,
    'VALUES (1::bigint, 6::bigint), (2, 1)', 'are summed');
SELECT refuses($$SELECT holdfast.reserve(owner('cid'), ARRAY[1, 1], ARRAY[1, 1])$$, 'HF001', 'and are too many together though each alone is not', '1 units available; 2 are');

SELECT isnt(holdfast.reserve(owner('ann'), ARRAY[1, 2], ARRAY[4, 1]), NULL, 'holding a cart again');
SELECT is(account(1), '0 available, 10 held, 0 sold', 'sets one line higher');
SELECT is(account(2), '3 available, 2 held, 0 sold', 'another lower');
SELECT is(account(3), '0 available, 1 held, 0 sold', 'and leaves those alone that it does not name');
SELECT refuses($$SELECT holdfast.reserve(owner('ann'), ARRAY[2, 1], ARRAY[3, 5])$$, 'HF001', 'a change that cannot be changes no line', 'SKU 1 has 0');

SELECT is(holdfast.confirm(owner('ann'), ARRAY[3]), 1::bigint, 'a line is sold');
SELECT refuses($$SELECT holdfast.reserve(owner('ann'), ARRAY[2, 3], ARRAY[2, 1])$$, 'HF007', 'a cart with a sold line is refused whole', 'SKU 3');
SELECT is(holdfast.release(owner('ann'), ARRAY[2]), 1::bigint, 'a line is released');
SELECT refuses($$SELECT holdfast.reserve(owner('ann'), ARRAY[1, 2], ARRAY[1, 1])$$, 'HF008', 'a cart with a released line is refused whole', 'SKU 2');
SELECT isnt(holdfast.reserve(owner('ann'), ARRAY[1, 2], ARRAY[1, 2], p_revive => true), NULL, 'unless it is to be revived');
SELECT is(account(2), '2 available, 3 held, 0 sold', 'with its new quantity');
SELECT held('exp', 2, 1, '1 microsecond');
SELECT refuses($$SELECT holdfast.reserve(owner('exp'), ARRAY[1, 2], ARRAY[1, 1])$$, 'HF009', 'a cart with an expired line is refused whole', 'SKU 2');

SELECT given(4, 100);
SELECT given(5, 100);
SELECT is((SELECT count(*) FROM (SELECT holdfast.reserve(owner('big'), array_agg(4 + g % 2), array_agg(1::bigint)) FROM generate_series(1, 150) AS g) AS t), 1::bigint,
    'a cart may have many lines');
SELECT is(account(4) || '; ' || account(5), '25 available, 75 held, 0 sold; 25 available, 75 held, 0 sold', 'all are counted');
SELECT is((SELECT holdfast.reserve(owner('wide'), array_agg(g), array_agg(1::bigint)) IS NOT NULL
    FROM (SELECT 1000 + g AS g, holdfast.receive(1000 + g, 1) FROM generate_series(1, 600) AS g) AS t), true, 'a cart may have many SKUs');
SELECT is((SELECT count(*) FROM holdfast.holds WHERE owner = owner('wide')), 600::bigint, 'all are held');
SELECT is(holdfast.confirm(owner('wide')), 600::bigint, 'and sold');

SELECT refuses($$SELECT holdfast.reserve(owner('x'), ARRAY[]::bigint[], ARRAY[]::bigint[])$$, 'HF005', 'an empty cart is refused');
SELECT refuses($$SELECT holdfast.reserve(owner('x'), ARRAY[1, 2], ARRAY[1])$$, 'HF005', 'arrays of different length are refused', '2 and 1');
SELECT refuses($$SELECT holdfast.reserve(owner('x'), ARRAY[1], ARRAY[]::bigint[])$$, 'HF005', 'SKUs without quantities are refused');
SELECT refuses($$SELECT holdfast.reserve(owner('x'), ARRAY[[1, 2], [3, 4]], ARRAY[1, 1, 1, 1])$$, 'HF005', 'two dimensions of SKUs are refused', NULL, 'one-dimensional');
SELECT refuses($$SELECT holdfast.reserve(owner('x'), ARRAY[1, 2], ARRAY[[1, 1]])$$, 'HF005', 'two dimensions of quantities are refused');
SELECT refuses($$SELECT holdfast.reserve(owner('x'), array_agg(1::bigint), array_agg(1::bigint)) FROM generate_series(1, 100001)$$, 'HF005',
    'more lines than a call may carry are refused', '100001', 'smaller');
SELECT refuses($$SELECT holdfast.reserve(owner('x'), ARRAY[1, NULL], ARRAY[1, 1])$$, '22004', 'a SKU that is NULL is refused', '2');
SELECT refuses($$SELECT holdfast.reserve(owner('x'), ARRAY[1, 2], ARRAY[NULL, 1])$$, '22004', 'a quantity that is NULL is refused', '1');
SELECT refuses($$SELECT holdfast.reserve(owner('x'), NULL::bigint[], ARRAY[1])$$, '22004', 'SKUs that are NULL are refused');
SELECT refuses($$SELECT holdfast.reserve(owner('x'), ARRAY[1], NULL::bigint[])$$, '22004', 'quantities that are NULL are refused');
SELECT refuses($$SELECT holdfast.reserve(NULL, ARRAY[1], ARRAY[1])$$, '22004', 'an owner that is NULL is refused');
SELECT refuses($$SELECT holdfast.reserve(owner('x'), ARRAY[2, 4], ARRAY[1, 0])$$, 'HF003', 'a line of zero refuses the cart', '0');
SELECT refuses($$SELECT holdfast.reserve(owner('x'), ARRAY[2, 4], ARRAY[-1, 1])$$, 'HF003', 'a negative line refuses the cart', '-1');
SELECT refuses($$SELECT holdfast.reserve(owner('x'), ARRAY[2, 2], ARRAY[5, -4])$$, 'HF003', 'a negative line does not make another smaller');
SELECT refuses($$SELECT holdfast.reserve(owner('x'), ARRAY[2, 4, 2], ARRAY[1, 1, 0])$$, 'HF003', 'a line of zero is not lost in another of its SKU');
SELECT refuses($$SELECT holdfast.reserve(owner('x'), ARRAY[4, 4], ARRAY[9223372036854775807, 9223372036854775807])$$, '22003',
    'lines that add up to more than a bigint are out of range', 'SKU 4');
SELECT refuses($$SELECT holdfast.reserve(owner('x'), ARRAY[4], ARRAY[1], '0')$$, 'HF004', 'a cart needs a ttl above zero');

SELECT * FROM finish();
ROLLBACK;

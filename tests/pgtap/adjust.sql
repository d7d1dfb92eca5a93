\ir include/begin.sql
SELECT plan(23);

SELECT given(1, 10);
SELECT held('ann', 1, 4);
SELECT is(holdfast.adjust(1, 3, 'found'), 9::bigint, 'a correction upwards returns what is available');
SELECT is(holdfast.adjust(1, -5, 'broken'), 4::bigint, 'a correction downwards returns what is available');
SELECT is(account(1), '4 available, 4 held, 0 sold', 'held units are not touched');
SELECT refuses($$SELECT holdfast.adjust(1, -5, 'lost')$$, 'HF012', 'stock cannot be corrected below zero',
    '4 units available; 5 are', 'released');
SELECT is(holdfast.adjust(1, -4, 'lost'), 0::bigint, 'it can be corrected to zero');
SELECT refuses($$SELECT holdfast.adjust(1, -1, 'lost')$$, 'HF012', 'held units cannot be written off', '0 units available');
SELECT results_eq(
    $$SELECT quantity, reference FROM holdfast.movements WHERE sku = 1 AND kind = 'adjusted' ORDER BY id$$,
    $$VALUES (3::bigint, 'found'), (-5, 'broken'), (-4, 'lost')$$,
    'every correction is a line of the ledger, with its reason');

SELECT given(2, 7);
SELECT is(holdfast.set_lanes(2, 4), 4, 'units are spread over lanes');
SELECT held('bob', 2, 3, '1 microsecond');
SELECT is(holdfast.adjust(2, -7, 'stolen'), 0::bigint, 'a correction gathers units from lanes and expired holds');
SELECT is(account(2), '0 available, 0 held, 0 sold', 'and the account is right');

SELECT given(3, 5);
SELECT is(holdfast.adjust(3, 1000000000000000, 'found'), 1000000000000005, 'one correction can bring in a thousand million million units');
SELECT is(holdfast.adjust(3, -1000000000000000, 'counted twice'), 5::bigint, 'or write them off');
SELECT refuses($$SELECT holdfast.adjust(3, 1000000000000001, 'found')$$, '22003', 'but not one more', '1000000000000001');
SELECT refuses($$SELECT holdfast.adjust(3, -1000000000000001, 'lost')$$, '22003', 'in either direction', '-1000000000000001');
SELECT refuses($$SELECT holdfast.adjust(3, 9223372036854775807, 'found')$$, '22003', 'the greatest bigint is out of range');
SELECT refuses($$SELECT holdfast.adjust(3, -9223372036854775808, 'all')$$, '22003', 'and so is the least');
SELECT full_house(5);
SELECT refuses($$SELECT holdfast.adjust(5, 1, 'more')$$, '22003', 'a correction beyond a bigint is out of range');

SELECT refuses($$SELECT holdfast.adjust(99, 1, 'found')$$, 'HF002', 'an unknown SKU is not made by a correction', '99', 'receive');
SELECT refuses($$SELECT holdfast.adjust(99, -1, 'lost')$$, 'HF002', 'an unknown SKU has nothing to write off', '99', 'receive');
SELECT refuses($$SELECT holdfast.adjust(1, 0, 'none')$$, 'HF003', 'a correction of zero is refused');
SELECT refuses($$SELECT holdfast.adjust(NULL, 1, 'found')$$, '22004', 'a correction needs a SKU');
SELECT refuses($$SELECT holdfast.adjust(1, NULL, 'found')$$, '22004', 'a correction needs a delta');
SELECT refuses('SELECT holdfast.adjust(1, 1, NULL)', '22004', 'a correction needs a reason');

SELECT * FROM finish();
ROLLBACK;

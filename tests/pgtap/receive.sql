\ir include/begin.sql
SELECT plan(31);

SELECT is(holdfast.available(1), NULL, 'a SKU that was never received is unknown, not empty');
SELECT is(holdfast.receive(1, 10), 10::bigint, 'receiving makes a SKU known and returns what is available');
SELECT is(holdfast.receive(1, 5, 'note 7'), 15::bigint, 'receiving again adds');
SELECT is(account(1), '15 available, 0 held, 0 sold', 'what was received is available');
SELECT held('ann', 1, 4);
SELECT held('bob', 1, 3, '1 microsecond');
SELECT is(holdfast.receive(1, 1), 12::bigint, 'units held are not among the available, units of an expired hold are');

SELECT results_eq(
    'SELECT kind, quantity, owner, reference FROM holdfast.movements WHERE sku = 1 ORDER BY id',
    $$VALUES ('received', 10::bigint, NULL::uuid, NULL), ('received', 5, NULL, 'note 7'), ('received', 1, NULL, NULL)$$,
    'every delivery is a line of the ledger, with its reference');
SELECT is((SELECT lanes FROM holdfast.stock WHERE sku = 1), 1, 'a new SKU has one lane');

SELECT is(holdfast.receive(sku, 1), 1::bigint, format('%s is a SKU', sku))
FROM unnest(ARRAY[0, -1, -9223372036854775808, 9223372036854775807, 4294967296]) AS sku;

CREATE TABLE slip (words text);
ALTER TABLE slip ALTER words SET STORAGE EXTERNAL;
INSERT INTO slip SELECT repeat('ä word ', 20000);
SELECT is(holdfast.receive(2, 1, words), 1::bigint, 'a reference may be long') FROM slip;
DROP TABLE slip;
SELECT is((SELECT reference FROM holdfast.movements WHERE sku = 2), repeat('ä word ', 20000),
    'and is kept when the table it came from is gone');

SELECT is(holdfast.receive(3, 1000000000000000), 1000000000000000, 'a thousand million million units can be received at once');
SELECT is(holdfast.receive(3, 1000000000000000), 2000000000000000, 'and again');
SELECT refuses('SELECT holdfast.receive(3, 1000000000000001)', '22003', 'one unit more at once is out of range', '1000000000000001');
SELECT refuses('SELECT holdfast.receive(3, 9223372036854775807)', '22003', 'as many units as a bigint holds are out of range', '1000000000000000');
SELECT refuses('SELECT holdfast.receive(78, 1000000000000001)', '22003', 'and make no SKU known');
SELECT is(holdfast.available(78), NULL, 'it stays unknown');
SELECT full_house(5);
SELECT refuses('SELECT holdfast.receive(5, 1)', '22003', 'a sum beyond a bigint is out of range');
SELECT is(account(5), '9223372036854775807 available, 0 held, 0 sold', 'and the SKU is as it was');
SELECT held('ann', 5, 9223372036854775807);
SELECT is(holdfast.release(owner('ann'), ARRAY[5]), 9223372036854775807, 'as many units as a bigint holds can be held and released');
SELECT is(account(5), '9223372036854775807 available, 0 held, 0 sold', 'and nothing overflows');

SELECT refuses('SELECT holdfast.receive(1, 0)', 'HF003', 'receiving nothing is refused', '0');
SELECT refuses('SELECT holdfast.receive(1, -3)', 'HF003', 'receiving less than nothing is refused', '-3');
SELECT refuses('SELECT holdfast.receive(1, -9223372036854775808)', 'HF003', 'receiving the least bigint is refused');
SELECT refuses('SELECT holdfast.receive(77, 0)', 'HF003', 'a refused delivery does not make a SKU known');
SELECT is(holdfast.available(77), NULL, 'it stays unknown');
SELECT refuses('SELECT holdfast.receive(NULL, 1)', '22004', 'receiving needs a SKU');
SELECT refuses('SELECT holdfast.receive(1, NULL)', '22004', 'receiving needs a quantity');

SELECT * FROM finish();
ROLLBACK;

-- A read-only transaction: nothing that writes may run, and all that reads does.
\ir include/begin.sql
SELECT plan(28);

SELECT given(1, 10);
SELECT held('ann', 1, 2);
SELECT held('sold', 1, 1);
SELECT is(holdfast.confirm(owner('sold')), 1::bigint, 'a unit is sold');
SELECT held('due', 1, 3, '1 microsecond');
SELECT held('out', 1, 1);
SELECT is(holdfast.release(owner('out')), 1::bigint, 'one is released');
SET LOCAL transaction_read_only = on;

SELECT refuses('SELECT holdfast.receive(1, 1)', '25006', 'receive() is refused');
SELECT refuses('SELECT holdfast.receive(2, 1)', '25006', 'also of a new SKU');
SELECT refuses($$SELECT holdfast.adjust(1, 1, 'found')$$, '25006', 'adjust() is refused');
SELECT refuses($$SELECT holdfast.reserve(owner('bob'), 1, 1)$$, '25006', 'reserve() is refused');
SELECT refuses($$SELECT holdfast.reserve(owner('bob'), 1, 100)$$, '25006', 'even if it would be refused anyway');
SELECT refuses($$SELECT holdfast.reserve(owner('bob'), ARRAY[1], ARRAY[1])$$, '25006', 'reserve() of a cart is refused');
SELECT refuses($$SELECT * FROM holdfast.reserve_batch(ARRAY[owner('bob')], '{1}', '{1}')$$, '25006', 'reserve_batch() is refused');
SELECT refuses($$SELECT holdfast.confirm(owner('ann'))$$, '25006', 'confirm() is refused');
SELECT refuses($$SELECT holdfast.release(owner('ann'))$$, '25006', 'release() is refused');
SELECT refuses($$SELECT holdfast.extend(owner('ann'))$$, '25006', 'extend() is refused');
SELECT refuses($$SELECT holdfast.pin(owner('ann'))$$, '25006', 'pin() is refused');
SELECT refuses($$SELECT holdfast.unpin(owner('ann'))$$, '25006', 'unpin() is refused');
SELECT refuses($$SELECT holdfast.give_back(owner('sold'), 1)$$, '25006', 'give_back() is refused');
SELECT refuses('SELECT holdfast.set_lanes(1, 2)', '25006', 'set_lanes() is refused');
SELECT refuses('SELECT holdfast.reap()', '25006', 'reap() is refused');
SELECT refuses($$SELECT holdfast.purge_holds('0')$$, '25006', 'purge_holds() is refused');

SELECT is(holdfast.available(1), 7::bigint, 'available() works, and counts expired holds');
SELECT is(holdfast.available(99), NULL, 'also of an unknown SKU');
SELECT is((SELECT s::text FROM holdfast.stock AS s), '(1,7,2,1,10,1)', 'stock can be read');
SELECT is((SELECT string_agg(state, ', ' ORDER BY state) FROM holdfast.holds), 'confirmed, expired, held, released', 'and holds');
SELECT is((SELECT string_agg(kind, ', ' ORDER BY id) FROM holdfast.movements), 'received, sold', 'and movements');
SELECT is((SELECT count(*) FROM holdfast.lock_waits), 0::bigint, 'and lock_waits');
SELECT is((SELECT array_agg(owner) FROM holdfast.expiring('1 day')), ARRAY[owner('ann')], 'expiring() works');
SELECT is((SELECT count(*) FROM holdfast.verify()), 0::bigint, 'verify() works');
SELECT is(substr(holdfast.uuid7()::text, 15, 1), '7', 'uuid7() works');
SELECT is(account(1), '7 available, 2 held, 1 sold', 'and nothing has changed');

SELECT * FROM finish();
ROLLBACK;

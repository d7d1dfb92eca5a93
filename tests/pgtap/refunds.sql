-- refund_payment(): money back, never more than came.
\ir include/payments.sql
SELECT plan(109);

-- Whole
SELECT is(happens('w', 'capture, succeeded'), 'captured', 'a payment is captured');
SELECT results_eq($$SELECT * FROM holdfast.refund_payment(1, payment('w'), 'refund-0001')$$, $$VALUES (payment('w'), 'captured', 2, false)$$,
    'all of it is to go back: call 2 is due');
SELECT is(calls('w') || '; ' || sums('w'), '1 charge succeeded 1000, 2 refund due 1000; authorized 1000, captured 1000, refunding 1000', 'it is on its way');
CREATE TABLE before AS SELECT contents() AS stored;
SELECT results_eq($$SELECT * FROM holdfast.refund_payment(1, payment('w'), 'refund-0001')$$, $$VALUES (payment('w'), 'captured', 2, true)$$,
    'the same key gets the same answer, replayed');
SELECT ok(contents() IS NOT DISTINCT FROM stored, 'and does nothing') FROM before;
SELECT refuses($$SELECT asked('w', 'refund')$$, 'HF030', 'nothing is left to refund', 'captured 1000, of which 0 are refunded and 1000 are being refunded');
SELECT refuses($$SELECT asked('w', 'refund', 1)$$, 'HF030', 'not even 1', 'captured 1000');
SELECT is(said('w', 'succeeded') || '; ' || sums('w'), 'refunded; authorized 1000, captured 1000, refunded 1000', 'it is back');
SELECT refuses($$SELECT asked('w', 'refund')$$, 'HF028', 'a refunded payment is refunded', 'refunded');
SELECT is((SELECT state || ' ' || call || ' ' || replayed FROM holdfast.refund_payment(1, payment('w'), 'refund-0001')), 'captured 2 true',
    'the answer to the key stays');
SELECT is(history('w'), 'capture: created to capturing, captured: capturing to captured, refund: captured to captured, refunded: captured to refunded',
    'each step is a line of history');

-- In parts
SELECT is(happens('p', 'authorize, succeeded, capture 900, succeeded'), 'captured', 'a payment is captured in part');
SELECT refuses($$SELECT asked('p', 'refund', 901)$$, 'HF030', 'more than was captured does not go back', 'captured 900');
SELECT refuses($$SELECT asked('p', 'refund', 1000)$$, 'HF030', 'not even what was authorized', 'captured 900');
SELECT is(happens('p', 'refund 400, succeeded') || '; ' || sums('p'), 'partially_refunded; authorized 1000, captured 900, refunded 400', 'a part goes back');
SELECT is(happens('p', 'refund 300') || '; ' || sums('p'), 'partially_refunded; authorized 1000, captured 900, refunding 300, refunded 400', 'another is on its way');
SELECT refuses($$SELECT asked('p', 'refund', 201)$$, 'HF030', 'a third one cannot be more than the rest',
    'captured 900, of which 400 are refunded and 300 are being refunded');
SELECT is(happens('p', 'refund 200') || '; ' || sums('p'), 'partially_refunded; authorized 1000, captured 900, refunding 500, refunded 400', 'but all of the rest');
SELECT refuses($$SELECT asked('p', 'refund', 1)$$, 'HF030', 'then there is nothing left');
SELECT is(said('p', 'succeeded', 5) || '; ' || sums('p'), 'partially_refunded; authorized 1000, captured 900, refunding 300, refunded 600', 'they are made in any order');
SELECT is(said('p', 'succeeded', 4) || '; ' || sums('p'), 'refunded; authorized 1000, captured 900, refunded 900', 'until all of it is back');
SELECT is(books('p'), NULL, 'and the books are even');
SELECT is(happens('q', 'capture, succeeded'), 'captured', 'a payment is captured');
SELECT is((SELECT string_agg(DISTINCT asked('q', 'refund', 1), ' ') FROM generate_series(1, 999)), 'captured', 'it goes back by ones');
SELECT is((SELECT string_agg(DISTINCT said('q', 'succeeded', n), ' ') FROM generate_series(2, 1000) AS n) || '; ' || sums('q'),
    'partially_refunded; authorized 1000, captured 1000, refunded 999',
    'nine hundred and ninety-nine times');
SELECT refuses($$SELECT asked('q', 'refund', 2)$$, 'HF030', 'of which the last can be 1', '999 are refunded');
SELECT is(happens('q', 'refund, succeeded') || '; ' || sums('q'), 'refunded; authorized 1000, captured 1000, refunded 1000', 'without an amount it is what is left');

-- Another request with the key
SELECT is(happens('k', 'capture, succeeded') || happens('k2', 'capture, succeeded'), 'capturedcaptured', 'payments are captured');
SELECT is((SELECT state FROM holdfast.refund_payment(1, payment('k'), 'refund-0002', 100, 'EUR', 'broken')), 'captured', 'a part goes back');
SELECT refuses(format('SELECT * FROM holdfast.refund_payment(1, payment(%s, ''refund-0002'', %s)', split_part(arguments, '|', 1), split_part(arguments, '|', 2)), 'HF021',
    'the key stands for one refund: ' || what || ' differs', 'refund-0002', 'new key')
FROM (VALUES ('''k2'')|100, ''EUR'', ''broken''', 'the payment'), ('''k'')|101, ''EUR'', ''broken''', 'the amount'), ('''k'')|100, NULL, ''broken''',
    'that there is a currency'),
    ('''k'')|100, ''EUR'', ''dented''', 'the reason'), ('''k'')|100, ''EUR''', 'that there is a reason'), ('''k'')|NULL, ''EUR'', ''broken''',
        'that there is an amount')) AS a (arguments, what) ORDER BY what;
SELECT is((SELECT format('%s %s %s', input, amount, reason) FROM _holdfast.payment_event WHERE payment = payment('k') AND n = 3), 'refund 100 broken',
    'the reason is in the history');
SELECT is((SELECT state FROM holdfast.refund_payment(1, payment('k'), 'refund-0003', 100, 'EUR', 'broken')) || '; ' || sums('k'),
    'captured; authorized 1000, captured 1000, refunding 200',
    'another key is another refund, of the same amount');

-- Currencies
SELECT refuses(format('SELECT * FROM holdfast.refund_payment(1, payment(''k''), new_key(), 100, %L)', currency), state, 'a refund is not made in ' || what, detail)
FROM (VALUES ('USD', 'HF026', 'another currency', 'EUR.*USD'), ('BGN', 'HF025', 'one that is no more', 'BGN'), ('eur', 'HF025', 'small letters', 'eur'), ('EURO', 'HF025',
    'four letters', NULL),
    ('', 'HF025', 'none', NULL)) AS c (currency, state, what, detail) ORDER BY what;

-- Declined, and what then
SELECT is(happens('d', 'capture, succeeded, refund 700, declined') || '; ' || sums('d') || '; ' || books('d'),
    'captured; authorized 1000, captured 1000; provider 1000, sales -1000',
    'a refund that is declined is as if it had not been');
SELECT is(happens('d', 'refund 1000') || '; ' || sums('d'), 'captured; authorized 1000, captured 1000, refunding 1000', 'it can be tried again');
SELECT is(said('d', 'declined') || said('d', 'declined', 2) || '; ' || sums('d'), 'capturedcaptured; authorized 1000, captured 1000', 'and be declined again, once each');
SELECT is(said('d', 'succeeded', 2) || '; ' || sums('d') || '; ' || books('d'),
    'partially_refunded; authorized 1000, captured 1000, refunded 700; provider 300, sales -300',
    'the first one has succeeded after all');
SELECT is(said('d', 'succeeded', 3) || '; ' || sums('d') || '; ' || calls('d'), 'partially_refunded; authorized 1000, captured 1000, refunded 700; '
    '1 charge succeeded 1000, 2 refund succeeded 700, 3 refund excess 1000', 'and the second one as well, which is too much: it is for somebody to look into');
SELECT is(books('d') || '; ' || (SELECT string_agg(format('%s %s', call, state), ', ') FROM holdfast.unknown_outcomes WHERE payment = payment('d')),
    'provider 300, sales -300; 3 excess',
    'nothing is booked, and it can be seen');
SELECT is(said('d', 'succeeded', 3) || said('d', 'declined', 3) || said('d', 'unknown', 3) || '; ' || calls('d'),
    'partially_refundedpartially_refundedpartially_refunded; '
    '1 charge succeeded 1000, 2 refund succeeded 700, 3 refund excess 1000', 'whatever else is said');
SELECT is(happens('d', 'refund 300, succeeded') || '; ' || sums('d'), 'refunded; authorized 1000, captured 1000, refunded 1000', 'the rest goes back all the same');
SELECT is(happens('e', 'capture, succeeded, refund 600, declined, refund 700, claim, succeeded 2') || '; ' || calls('e'), 'captured; '
    '1 charge succeeded 1000, 2 refund excess 600, 3 refund due 700', 'one may be too much only as long as another is on its way');
SELECT is(said('e', 'declined', 3) || '; ' || calls('e'), 'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 600, 3 refund declined 700',
    'when that is declined there is room');
SELECT is(sums('e') || '; ' || books('e'), 'authorized 1000, captured 1000, refunded 600; provider 400, sales -400', 'and it is booked');
SELECT is((SELECT count(*) FROM holdfast.unknown_outcomes WHERE payment = payment('e')), 0::bigint, 'nobody has to look into it');
SELECT is(happens('e2', 'capture, succeeded, refund 600, declined, refund 300, declined, refund 800, claim, succeeded 2, succeeded 3, declined 4') || '; ' || calls('e2'),
    'partially_refunded; '
    '1 charge succeeded 1000, 2 refund succeeded 600, 3 refund succeeded 300, 4 refund declined 800', 'there may be several');

-- Declined, and made after all: what nobody has been asked for yet is called off to make room
SELECT is(happens('r1', 'capture, succeeded, refund 600, declined, refund 700, succeeded 2') || '; ' || calls('r1'), 'partially_refunded; '
    '1 charge succeeded 1000, 2 refund succeeded 600, 3 refund cancelled 700', 'a refund that nobody has been asked for makes room');
SELECT is(sums('r1') || '; ' || books('r1'), 'authorized 1000, captured 1000, refunded 600; provider 400, sales -400', 'the books know of one');
SELECT is(history('r1'), 'capture: created to capturing, captured: capturing to captured, refund: captured to captured, refund_declined: captured to captured, '
    'refund: captured to captured, refund_declined: captured to captured, refunded: captured to partially_refunded', 'and history that the other was called off');
SELECT is((SELECT string_agg(format('%s %s', call, amount), ', ' ORDER BY n) FROM _holdfast.payment_event WHERE payment = payment('r1') AND n > 4),
    '3 700, 3 700, 2 600', 'which call is which');
SELECT is((SELECT string_agg(format('%s %s %s', refund, state, settled_at BETWEEN created_at AND clock_timestamp()), ', ' ORDER BY refund) FROM holdfast.refunds
    WHERE payment = payment('r1')), '2 succeeded t, 3 cancelled t', 'it is settled');
SELECT is((SELECT count(*) FROM holdfast.claim_calls('bank') WHERE payment = payment('r1')), 0::bigint, 'nobody will be asked for it');
SELECT is((SELECT count(*) FROM holdfast.unknown_outcomes WHERE payment = payment('r1')), 0::bigint, 'and nobody has to look into it');
SELECT is(happens('r1', 'refund 400, succeeded') || '; ' || sums('r1'), 'refunded; authorized 1000, captured 1000, refunded 1000', 'the rest can be refunded');
SELECT is(happens('r2', 'capture, succeeded, refund 500, declined, refund 300, refund 200, refund 400, succeeded 2') || '; ' || calls('r2'), 'partially_refunded; '
    '1 charge succeeded 1000, 2 refund succeeded 500, 3 refund due 300, 4 refund due 200, 5 refund cancelled 400',
    'the last one goes first, and no more of them than it takes');
SELECT is(sums('r2') || '; ' || books('r2'), 'authorized 1000, captured 1000, refunding 500, refunded 500; provider 500, due -500', 'the others are on their way');
SELECT is(happens('r3', 'capture, succeeded, refund 700, declined, refund 300, refund 200, refund 400, succeeded 2') || '; ' || calls('r3'), 'partially_refunded; '
    '1 charge succeeded 1000, 2 refund succeeded 700, 3 refund due 300, 4 refund cancelled 200, 5 refund cancelled 400', 'as many as it takes');
SELECT is(happens('r4', 'capture, succeeded, refund 700, declined, refund 300, claim, refund 500, refund 200, succeeded 2') || '; ' || calls('r4'),
    'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 700, 3 refund due 300, 4 refund cancelled 500, 5 refund cancelled 200',
    'but none that may be under way');
SELECT is(happens('r5', 'capture, succeeded, refund 800, declined, refund 300, claim, refund 500, succeeded 2') || '; ' || calls('r5'),
    'captured; 1 charge succeeded 1000, 2 refund excess 800, 3 refund due 300, 4 refund cancelled 500', 'if that is not enough it is too much');
SELECT is(sums('r5') || '; ' || books('r5'), 'authorized 1000, captured 1000, refunding 300; provider 1000, sales -700, due -300', 'and not booked');
SELECT is(happens('r6', 'capture, succeeded, refund 600, declined, refund 200, succeeded 2') || '; ' || calls('r6'),
    'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 600, 3 refund due 200', 'where there is room nothing is called off');
SELECT is(happens('r7', 'capture, declined, succeeded 1, declined 2, refund 400, refund 600, succeeded 2') || '; ' || calls('r7'),
    'refunded; 1 charge succeeded 1000, 2 refund succeeded 1000, 3 refund cancelled 400, 4 refund cancelled 600', 'the same for a dead order');
SELECT is(books('r7'), NULL, 'whose books are even');
SELECT is(happens('r8', 'capture, succeeded, refund 600, declined, refund 700, succeeded 2, declined 3, unknown 3') || '; ' || calls('r8'), 'partially_refunded; '
    '1 charge succeeded 1000, 2 refund succeeded 600, 3 refund cancelled 700', 'what was called off is not declined');
SELECT is(said('r8', 'succeeded', 3) || '; ' || calls('r8'), 'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 600, 3 refund excess 700',
    'if it is made all the same it is too much');
SELECT is(happens('r9', 'capture, succeeded, refund 300, declined, refund 800, succeeded 2, succeeded 3') || '; ' || calls('r9') || '; ' || sums('r9'),
    'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 300, 3 refund excess 800; authorized 1000, captured 1000, refunded 300', 'by little or much');
SELECT is(happens('r10', 'capture, succeeded, refund 600, declined, refund 700, succeeded 2, refund 400, succeeded 3') || '; ' || calls('r10') || '; ' || sums('r10'),
    'partially_refunded; 1 charge succeeded 1000, 2 refund succeeded 600, 3 refund excess 700, 4 refund cancelled 400; authorized 1000, captured 1000, refunded 600',
    'what is due then is not made');
SELECT is((SELECT string_agg(v::text, ' ') FROM holdfast.verify() AS v), NULL, 'in all that no invariant is broken');

SELECT is(happens('s', 'capture, succeeded, refund, unknown') || '; ' || sums('s'), 'captured; authorized 1000, captured 1000, refunding 1000',
    'a refund whose outcome is unknown is still on its way');
SELECT refuses($$SELECT asked('s', 'refund', 1)$$, 'HF030', 'and nobody is given the money twice', '1000 are being refunded');
SELECT is(said('s', 'succeeded') || '; ' || sums('s'), 'refunded; authorized 1000, captured 1000, refunded 1000', 'until it is known');

-- By itself, for a dead order
SELECT is(happens('a', 'capture, unknown, void, succeeded') || '; ' || calls('a'), 'refunding; 1 charge succeeded 1000, 2 refund due 1000',
    'money that came too late goes back by itself');
SELECT is(sums('a') || '; ' || books('a'), 'authorized 1000, captured 1000, refunding 1000; provider 1000, due -1000', 'it was never sales');
SELECT is(history('a'), 'capture: created to capturing, unknown: capturing to unknown, void: unknown to voided, captured: voided to refunding', 'as history says');
SELECT refuses($$SELECT asked('a', 'refund')$$, 'HF030', 'it does not go back twice', '1000 are being refunded');
SELECT is(said('a', 'declined') || '; ' || sums('a') || '; ' || books('a'), 'refunding; authorized 1000, captured 1000; provider 1000, due -1000',
    'if that is declined it is still due');
SELECT is(happens('a', 'refund 400') || '; ' || calls('a') || '; ' || books('a'),
    'refunding; 1 charge succeeded 1000, 2 refund declined 1000, 3 refund due 400; provider 1000, due -1000',
    'and can be made by hand, also in parts');
SELECT is(said('a', 'succeeded') || '; ' || books('a'), 'refunding; provider 600, due -600', 'one');
SELECT is(happens('a', 'refund, succeeded') || '; ' || calls('a'),
    'refunded; 1 charge succeeded 1000, 2 refund declined 1000, 3 refund succeeded 400, 4 refund succeeded 600', 'after the other');
SELECT is(books('a'), NULL, 'then the books are even');
SELECT is(happens('b', 'authorize, succeeded, capture 600, claim, unknown, void, succeeded') || '; ' || calls('b'),
    'refunding; 1 authorize succeeded 1000, 2 capture succeeded 600, 3 refund due 600',
    'of a part that was captured that part goes back');
SELECT is(happens('c', 'capture, declined, succeeded, declined, succeeded 2') || '; ' || books('c') || sums('c'), NULL, 'a refund by itself that succeeds after all');
SELECT is(state('c') || '; ' || sums('c'), 'refunded; authorized 1000, captured 1000, refunded 1000', 'is one');

-- Amounts
SELECT refuses(format($$SELECT asked('k2', 'refund', %s)$$, amount), 'HF024', format('%s is no amount', amount), amount)
    FROM unnest('{0,-1,-9223372036854775808,1000000000000001,9223372036854775807}'::text[]) AS amount;
SELECT is(created('big', NULL, 1000000000000000), 'created', 'the greatest payment');
SELECT is(happens('big', 'capture, succeeded, refund 999999999999999, succeeded') || '; ' || sums('big'),
    'partially_refunded; authorized 1000000000000000, captured 1000000000000000, refunded 999999999999999',
    'is refunded');
SELECT refuses($$SELECT asked('big', 'refund', 1000000000000000)$$, 'HF030', 'but not beyond itself', '999999999999999 are refunded');
SELECT is(happens('big', 'refund, succeeded') || COALESCE(books('big'), ''), 'refunded', 'to the last unit');

-- The storage
SELECT throws_ok(format('UPDATE _holdfast.payment SET %s WHERE id = payment(''k'')', change), '23514', NULL, 'the storage does not take ' || what)
FROM (VALUES ('refunded = captured + 1, refunding = 0', 'more refunded than captured'), ('refunding = captured - refunded + 1', 'more under way than is left'),
    ('refunding = -1', 'less than nothing under way'),
    ('refunded = -1', 'less than nothing refunded'), ('captured = amount + 1', 'more captured than asked for'), ('authorized = amount + 1',
        'more authorized than asked for'),
    ('amount = 0', 'nothing asked for'), ('state = ''z''', 'a state that is none')) AS c (change, what) ORDER BY what;

SELECT * FROM finish();
ROLLBACK;

-- Money and units: while a provider has been asked, what the owner holds stays; with the money it is
-- sold; and money for units that are gone goes back.
\ir include/payments.sql
SELECT plan(196);

-- The holds of an owner in words, with pinned ones marked by their deadline.
CREATE FUNCTION holds(p_owner text) RETURNS text LANGUAGE sql
    AS $$ SELECT string_agg(format('%s %s of %s', state, quantity, sku), ', ' ORDER BY sku) FROM holdfast.holds WHERE owner = owner(p_owner) $$;
CREATE FUNCTION fresh_deadline(p_owner text) RETURNS boolean LANGUAGE sql AS $$
    SELECT bool_and(expires_at BETWEEN clock_timestamp() + '590 s' AND clock_timestamp() + '600 s') FROM _holdfast.hold WHERE owner = owner(p_owner) AND state = 'h'
$$;

SELECT given(sku, 100) FROM generate_series(1, 3) AS sku;

-- From the hold to the sale
SELECT held('ann', 1, 2, '60 s');
SELECT held('ann', 2, 3, '30 s');
SELECT is(created('p-ann', 'ann'), 'created', 'a payment is made for what an owner holds');
SELECT is(holds('ann'), 'held 2 of 1, held 3 of 2', 'which changes no hold');
SELECT is(asked('p-ann', 'capture'), 'capturing', 'the provider is asked for the money');
SELECT is(holds('ann'), 'pinned 2 of 1, pinned 3 of 2', 'the holds are pinned, all of them');
SELECT is(holdfast.reap(), 0::bigint, 'and cannot expire');
SELECT is(said('p-ann', 'succeeded'), 'captured', 'the money is there');
SELECT is(holds('ann'), 'confirmed 2 of 1, confirmed 3 of 2', 'and the units are sold, at once');
SELECT is(account(1) || '; ' || account(2), '98 available, 0 held, 2 sold; 97 available, 0 held, 3 sold', 'all of them');
SELECT is((SELECT string_agg(format('%s %s', sku, quantity), ', ' ORDER BY sku) FROM holdfast.movements WHERE owner = owner('ann')), '1 -2, 2 -3',
    'as the ledger of units says');
SELECT is(happens('p-ann', 'refund, succeeded'), 'refunded', 'the money goes back');
SELECT is(holds('ann') || '; ' || account(1), 'confirmed 2 of 1, confirmed 3 of 2; 98 available, 0 held, 2 sold', 'the units do not by themselves');
SELECT is(holdfast.give_back(owner('ann'), 1), 2::bigint, 'give_back() returns them');

-- In two steps
SELECT held('bob', 1, 4, '60 s');
SELECT is(happens('p-bob', 'authorize', 'bob') || '; ' || holds('bob'), 'authorizing; pinned 4 of 1', 'while an authorization is under way, the holds are pinned');
SELECT is(said('p-bob', 'succeeded') || '; ' || holds('bob'), 'authorized; held 4 of 1', 'when it is there they have a deadline again');
SELECT ok(fresh_deadline('bob'), 'of holdfast.ttl_default from then');
SELECT is(happens('p-bob', 'capture 600') || '; ' || holds('bob'), 'capturing; pinned 4 of 1', 'a capture pins them again');
SELECT is(happens('p-bob', 'unknown') || '; ' || holds('bob'), 'unknown; pinned 4 of 1', 'and as long as its outcome is unknown');
SELECT is(happens('p-bob', 'succeeded') || '; ' || holds('bob'), 'captured; confirmed 4 of 1', 'until the units are sold, also for a part of the money');

-- Without an answer in favour
SELECT held('cid', 1, 1, '60 s');
SELECT is(happens('p-cid', 'capture', 'cid') || '; ' || holds('cid'), 'capturing; pinned 1 of 1', 'an owner pays');
SELECT is(happens('p-cid', 'declined') || '; ' || holds('cid'), 'declined; held 1 of 1', 'when he is declined his units are held for some more time');
SELECT ok(fresh_deadline('cid'), 'of holdfast.ttl_default');
SELECT is(happens('p-cid-2', 'authorize', 'cid') || '; ' || holds('cid'), 'authorizing; pinned 1 of 1', 'in which he tries another card');
SELECT is(asked('p-cid-2', 'void') || '; ' || holds('cid'), 'voided; held 1 of 1', 'and gives up');
SELECT ok(fresh_deadline('cid'), 'his units have a deadline again');
SELECT is(happens('p-cid-3', 'capture, unknown', 'cid') || '; ' || holds('cid'), 'unknown; pinned 1 of 1', 'a third one gives no answer');
SELECT is(asked('p-cid-3', 'void') || '; ' || holds('cid'), 'voided; held 1 of 1', 'he gives that up, too');
SELECT is(happens('p-cid-4', 'capture, succeeded', 'cid') || '; ' || holds('cid'), 'captured; confirmed 1 of 1', 'the fourth one is good');
SELECT is(said('p-cid-3', 'succeeded') || '; ' || calls('p-cid-3') || '; ' || books('p-cid-3'),
    'refunding; 1 charge succeeded 1000, 2 refund due 1000; provider 1000, due -1000',
    'the third answers at last: that money goes back');
SELECT is(said('p-cid', 'succeeded') || '; ' || said('p-cid-2', 'succeeded'), 'refunding; voided', 'and so does the first');
SELECT is(account(1), '95 available, 0 held, 5 sold', 'his unit is sold once');
SELECT is((SELECT count(*) FROM _holdfast.payment WHERE owner = owner('cid') AND captured - refunding - refunded > 0), 1::bigint, 'and paid for once');
SELECT held('dan', 1, 1, '60 s');
SELECT is(happens('p-dan', 'authorize, unknown', 'dan') || '; ' || holds('dan'), 'unknown; pinned 1 of 1', 'of an authorization without an answer');
SELECT is(happens('p-dan', 'declined') || '; ' || holds('dan'), 'declined; held 1 of 1', 'the refusal unpins, too');
SELECT is(happens('p-dan-2', 'authorize, succeeded, void', 'dan') || '; ' || holds('dan'), 'voided; held 1 of 1',
    'what is voided when nothing is under way keeps its deadline');
SELECT is(happens('p-dan-3', 'void', 'dan') || '; ' || holds('dan'), 'voided; held 1 of 1', 'and so does what was never begun');

-- Nothing to pay for
SELECT is(created('p-' || name, name), 'created', 'a payment can be created: ' || name)
FROM unnest('{nobody,released,sold,expired,half-expired}'::text[]) AS name;
SELECT held('released', 1, 1);
SELECT is(holdfast.release(owner('released')), 1::bigint, 'one owner''s hold is released');
SELECT held('sold', 1, 1);
SELECT is(holdfast.confirm(owner('sold')), 1::bigint, 'another''s sold');
SELECT held('expired', 1, 1, '1 microsecond');
SELECT held('half-expired', 1, 1, '60 s');
SELECT held('half-expired', 2, 1, '1 microsecond');
SELECT refuses(format('SELECT asked(%L, %L)', 'p-' || name, request), state, format('%s: %s is refused, for there is nothing to pay for', name, request), '.')
FROM (VALUES ('nobody', 'HF006'), ('released', 'HF008'), ('sold', 'HF007'), ('expired', 'HF009'), ('half-expired', 'HF009')) AS n (name, state),
    (VALUES ('authorize'), ('capture')) AS r (request) ORDER BY name, request;
SELECT is(holds('half-expired'), 'held 1 of 1, expired 1 of 2', 'and nothing is pinned');
SELECT is(string_agg(DISTINCT state('p-' || name), ' '), 'created', 'the payments stay as they were')
    FROM unnest('{nobody,released,sold,expired,half-expired}'::text[]) AS name;
SELECT is(asked('p-expired', 'void'), 'voided', 'they can be voided');
SELECT held('eve', 1, 1, '60 s');
SELECT is(happens('p-eve', 'authorize, succeeded', 'eve'), 'authorized', 'a payment is authorized');
SELECT is(holdfast.release(owner('eve')), 1::bigint, 'the hold released');
SELECT refuses($$SELECT asked('p-eve', 'capture')$$, 'HF008', 'then there is nothing to capture', 'ended at');
SELECT is(asked('p-eve', 'void') || '; ' || calls('p-eve'), 'voided; 1 authorize succeeded 1000, 2 void due 1000', 'the authorization is let go');
SELECT is(happens('p-none', 'authorize, succeeded, capture, succeeded'), 'captured', 'without an owner nothing is held, and money can be captured');

-- The cart changes while the money is on its way
SELECT held('fay', 1, 2, '60 s');
SELECT is(happens('p-fay', 'capture', 'fay'), 'capturing', 'an owner pays for two units');
SELECT held('fay', 1, 3);
SELECT is(holds('fay'), 'pinned 3 of 1', 'and takes a third');
SELECT is(said('p-fay', 'succeeded') || '; ' || holds('fay'), 'refunding; held 3 of 1', 'the money was not for that: it goes back, and he holds three');
SELECT is(calls('p-fay') || '; ' || books('p-fay'), '1 charge succeeded 1000, 2 refund due 1000; provider 1000, due -1000', 'visibly');
SELECT ok(fresh_deadline('fay'), 'with a deadline');
SELECT held('gus', 1, 2, '60 s');
SELECT is(happens('p-gus', 'capture', 'gus'), 'capturing', 'another one pays for two');
SELECT is(holdfast.release(owner('gus'), '{1}', '{1}'), 1::bigint, 'and puts one back');
SELECT is(said('p-gus', 'succeeded') || '; ' || holds('gus'), 'refunding; held 1 of 1', 'his money goes back as well');
SELECT held('hal', 1, 2, '60 s');
SELECT is(happens('p-hal', 'capture', 'hal'), 'capturing', 'a third one pays for two');
SELECT held('hal', 2, 1, '60 s');
SELECT is(said('p-hal', 'succeeded') || '; ' || holds('hal'), 'refunding; held 2 of 1, held 1 of 2', 'and adds a line');
SELECT held('ida', 1, 2, '60 s');
SELECT is(happens('p-ida', 'capture', 'ida'), 'capturing', 'a fourth one pays for two');
SELECT is(holdfast.release(owner('ida')), 2::bigint, 'and lets them go');
SELECT is(said('p-ida', 'succeeded') || '; ' || holds('ida'), 'refunding; released 2 of 1', 'nothing is left to sell: his money goes back');
SELECT held('jim', 1, 2, '60 s');
SELECT is(happens('p-jim', 'capture', 'jim'), 'capturing', 'a fifth one pays for two');
SELECT is(holdfast.confirm(owner('jim')), 2::bigint, 'which somebody sells to him');
SELECT is(said('p-jim', 'succeeded') || '; ' || holds('jim'), 'captured; confirmed 2 of 1', 'that is what he has paid for');
SELECT is(calls('p-jim') || '; ' || books('p-jim') || '; ' || (SELECT count(*) FROM holdfast.movements WHERE owner = owner('jim')),
    '1 charge succeeded 1000; provider 1000, sales -1000; 1', 'the money stays, and the units are sold once');
SELECT held('kim', 1, 2, '60 s');
SELECT is(happens('p-kim', 'capture', 'kim'), 'capturing', 'a sixth one pays for two');
SELECT is(holdfast.unpin(owner('kim'), '1 microsecond'), 1::bigint, 'somebody takes the pin away');
SELECT is(said('p-kim', 'succeeded') || '; ' || holds('kim'), 'refunding; expired 2 of 1', 'and they expire: his money goes back');
SELECT held('lea', 1, 1, '60 s');
SELECT held('lea', 2, 1, '60 s');
SELECT is(happens('p-lea', 'capture', 'lea'), 'capturing', 'a seventh one pays for one of each');
SELECT held('lea', 1, 2);
SELECT is(holdfast.release(owner('lea'), '{2}'), 1::bigint, 'and swaps them');
SELECT is(said('p-lea', 'succeeded') || '; ' || holds('lea'), 'refunding; held 2 of 1, released 1 of 2', 'two units of another kind are not what was paid for');

SELECT held('mia', 1, 1, '60 s');
SELECT held('mia', 2, 2, '60 s');
SELECT is(happens('p-mia', 'capture', 'mia'), 'capturing', 'an eighth one pays for one and two');
SELECT held('mia', 1, 2);
SELECT held('mia', 2, 1);
SELECT is(said('p-mia', 'succeeded') || '; ' || holds('mia'), 'refunding; held 2 of 1, held 1 of 2', 'two and one are not one and two');
SELECT held('olu', 1, 1, '60 s');
SELECT is(happens('p-olu', 'capture', 'olu'), 'capturing', 'another one pays for one');
SELECT held('olu', 2, 1);
SELECT is(holdfast.release(owner('olu'), '{1}'), 1::bigint, 'and exchanges it for one of another kind');
SELECT is(said('p-olu', 'succeeded') || '; ' || holds('olu'), 'refunding; released 1 of 1, held 1 of 2', 'which is not what he has paid for');
SELECT held('noa', 1, 1, '60 s');
SELECT is(happens('p-noa', 'capture', 'noa'), 'capturing', 'a ninth one pays');
SELECT held('noa', 1, 4);
SELECT is(holdfast.release(owner('noa'), '{1}', '{3}'), 3::bigint, 'changes his mind, and changes it back');
SELECT is(said('p-noa', 'succeeded') || '; ' || holds('noa'), 'captured; confirmed 1 of 1', 'what he has paid for is what he gets');

-- Somebody sells what was pinned before the money is there
CREATE FUNCTION sold_by_hand(p_name text, p_steps text, p_meanwhile text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM held(p_name, 1, 1, '60 s');
    PERFORM held(p_name, 2, 2, '60 s');
    PERFORM happens('p-' || p_name, p_steps, p_name);
    EXECUTE replace(p_meanwhile, 'OWNER', format('owner(%L)', p_name));
    RETURN concat_ws('; ', said('p-' || p_name, 'succeeded'), holds(p_name), calls('p-' || p_name), books('p-' || p_name));
END
$$;
SELECT is(sold_by_hand('h-' || n, steps, meanwhile), result, sentence)
FROM (VALUES
    (1, 'capture', 'SELECT holdfast.confirm(OWNER)', 'captured; confirmed 1 of 1, confirmed 2 of 2; 1 charge succeeded 1000; provider 1000, sales -1000',
        'who confirms all that was pinned has sold it, and the money stays'),
    (2, 'capture, unknown', 'SELECT holdfast.confirm(OWNER)', 'captured; confirmed 1 of 1, confirmed 2 of 2; 1 charge succeeded 1000; provider 1000, sales -1000',
        'also while the outcome is unknown'),
    (3, 'authorize, succeeded, capture', 'SELECT holdfast.confirm(OWNER)',
        'captured; confirmed 1 of 1, confirmed 2 of 2; 1 authorize succeeded 1000, 2 capture succeeded 1000; provider 1000, sales -1000', 'or what was authorized is captured'),
    (4, 'capture', 'SELECT holdfast.confirm(OWNER, ''{1}'', ''{1}''), holdfast.confirm(OWNER, ''{2}'', ''{2}'')',
        'captured; confirmed 1 of 1, confirmed 2 of 2; 1 charge succeeded 1000; provider 1000, sales -1000', 'line by line'),
    (5, 'capture', 'SELECT holdfast.confirm(OWNER, ''{1}'', ''{1}'')',
        'refunding; confirmed 1 of 1, held 2 of 2; 1 charge succeeded 1000, 2 refund due 1000; provider 1000, due -1000', 'a line of it is not what was paid for'),
    (6, 'capture', 'SELECT holdfast.confirm(OWNER, ''{1}'', ''{1}''), holdfast.release(OWNER)',
        'refunding; confirmed 1 of 1, released 2 of 2; 1 charge succeeded 1000, 2 refund due 1000; provider 1000, due -1000', 'nor when the other was let go'),
    (7, 'capture', 'SELECT holdfast.reserve(OWNER, 2, 3); SELECT holdfast.confirm(OWNER)',
        'refunding; confirmed 1 of 1, confirmed 3 of 2; 1 charge succeeded 1000, 2 refund due 1000; provider 1000, due -1000', 'nor is more'),
    (8, 'capture', 'SELECT holdfast.reserve(OWNER, 3, 1); SELECT holdfast.confirm(OWNER)',
        'refunding; confirmed 1 of 1, confirmed 2 of 2, confirmed 1 of 3; 1 charge succeeded 1000, 2 refund due 1000; provider 1000, due -1000', 'or something besides'),
    (9, 'capture', 'SELECT holdfast.release(OWNER, ''{2}'', ''{1}''); SELECT holdfast.confirm(OWNER)',
        'refunding; confirmed 1 of 1, confirmed 1 of 2; 1 charge succeeded 1000, 2 refund due 1000; provider 1000, due -1000', 'or less'),
    (10, 'capture', 'SELECT holdfast.confirm(OWNER); SELECT holdfast.reserve(OWNER, 3, 1)',
        'refunding; confirmed 1 of 1, confirmed 2 of 2, held 1 of 3; 1 charge succeeded 1000, 2 refund due 1000; provider 1000, due -1000', 'or one more unit held'),
    (11, 'capture', 'SELECT holdfast.confirm(OWNER); SELECT holdfast.reserve(OWNER, 3, 1, ''1 microsecond'')',
        'captured; confirmed 1 of 1, confirmed 2 of 2, expired 1 of 3; 1 charge succeeded 1000; provider 1000, sales -1000', 'unless that has expired'),
    (12, 'capture, claim, unknown, void', 'SELECT holdfast.confirm(OWNER)',
        'refunding; confirmed 1 of 1, confirmed 2 of 2; 1 charge succeeded 1000, 2 refund due 1000; provider 1000, due -1000', 'for a payment that was given up there is no sale'),
    (13, 'capture, declined', 'SELECT holdfast.confirm(OWNER)',
        'refunding; confirmed 1 of 1, confirmed 2 of 2; 1 charge succeeded 1000, 2 refund due 1000; provider 1000, due -1000', 'nor for one that was declined'))
    AS t (n, steps, meanwhile, result, sentence) ORDER BY n;

-- What was held later and has expired was never part of it.
SELECT is(sold_by_hand('l-' || n, 'capture', meanwhile), 'captured; confirmed 1 of 1, confirmed 2 of 2, ' || rest || '; 1 charge succeeded 1000; provider 1000, sales -1000',
    sentence)
FROM (VALUES
    (1, 'SELECT holdfast.reserve(OWNER, 3, 1, ''1 microsecond'')', 'expired 1 of 3', 'what was held later and is due does not matter'),
    (2, 'SELECT holdfast.reserve(OWNER, 3, 1, ''1 microsecond''); SELECT holdfast.reap()', 'expired 1 of 3', 'or has expired'),
    (3, 'SELECT holdfast.reserve(OWNER, 3, 1); SELECT holdfast.release(OWNER, ''{3}'')', 'released 1 of 3', 'or was let go')) AS t (n, meanwhile, rest, sentence) ORDER BY n;
SELECT is(sold_by_hand('l-4', 'capture', 'SELECT holdfast.reserve(OWNER, 3, 1, ''60 s'')'),
    'refunding; held 1 of 1, held 2 of 2, held 1 of 3; 1 charge succeeded 1000, 2 refund due 1000; provider 1000, due -1000', 'what is still held does');
SELECT is(sold_by_hand('l-5', 'capture', 'SELECT holdfast.unpin(OWNER, ''1 microsecond''), holdfast.reserve(OWNER, 1, 1, p_revive => true)'),
    'refunding; held 1 of 1, expired 2 of 2; 1 charge succeeded 1000, 2 refund due 1000; provider 1000, due -1000',
    'of what was pinned nothing may have expired');

-- Between authorization and capture the holds have deadlines, and change: then somebody has to say what is to be captured.
CREATE FUNCTION authorized(p_name text) RETURNS text LANGUAGE sql AS $$
    SELECT held('c-' || p_name, 1, 2, '60 s'), held('c-' || p_name, 2, 1, '60 s');
    SELECT happens('p-' || p_name, 'authorize, succeeded', 'c-' || p_name);
$$;
SELECT is(string_agg(DISTINCT authorized(name), ' '), 'authorized', 'carts are authorized')
    FROM unnest('{same,swapped,more,less,line more,line less,back,other}'::text[]) AS name;
SELECT is(asked('p-same', 'capture') || said('p-same', 'succeeded') || '; ' || holds('c-same'), 'capturingcaptured; confirmed 2 of 1, confirmed 1 of 2',
    'what is as it was is captured');
SELECT held('c-swapped', 1, 1), held('c-swapped', 2, 2);
SELECT held('c-more', 1, 3);
SELECT is(holdfast.release(owner('c-less'), '{1}', '{1}'), 1::bigint, 'one unit goes back');
SELECT held('c-line more', 3, 1);
SELECT is(holdfast.release(owner('c-line less'), '{2}'), 1::bigint, 'or a line');
SELECT is(holdfast.release(owner('c-other')), 3::bigint, 'or all');
SELECT held('c-other', 3, 3);
CREATE TABLE changed (name text, now text, what text);
INSERT INTO changed VALUES ('swapped', '1 of 1, 2 of 2', 'other quantities'), ('more', '3 of 1, 1 of 2', 'a unit more'), ('less', '1 of 1, 1 of 2', 'a unit less'),
    ('line more', '2 of 1, 1 of 2, 1 of 3', 'a line more'), ('line less', '2 of 1', 'a line less'), ('other', '3 of 3', 'something else');
SELECT refuses(format('SELECT asked(%L, ''capture'')', 'p-' || name), 'HF042', what || ' is not captured without a word',
    format('Owner %s no longer holds what payment %s was authorized for', owner('c-' || name), payment('p-' || name)), 'p_amount') FROM changed ORDER BY what;
SELECT refuses($$SELECT * FROM holdfast.capture_payment(1, payment('p-more'), 'cart-0001')$$, 'HF042', 'the refusal', 'authorized for');
SELECT is((SELECT count(*) FROM (SELECT key FROM _holdfast.idempotency_0 UNION ALL SELECT key FROM _holdfast.idempotency_1) AS k WHERE key = 'cart-0001'), 0::bigint,
    'leaves no key');
SELECT refuses($$SELECT * FROM holdfast.capture_payment(1, payment('p-more'), 'cart-0001', NULL, 'EUR')$$, 'HF042', 'a currency is no amount', 'authorized for');
SELECT refuses($$SELECT * FROM holdfast.capture_payment(1, payment('p-more'), 'cart-0001', 1001)$$, 'HF029', 'more than is authorized is not to be had', '1000');
SELECT is(asked('p-' || name, 'capture', 900) || '; ' || calls('p-' || name), 'capturing; 1 authorize succeeded 1000, 2 capture due 900', what || ': an amount is a word')
    FROM changed ORDER BY what;
SELECT is(said('p-' || name, 'succeeded') || '; ' || holds('c-' || name), 'captured; ' || (SELECT string_agg('confirmed ' || w, ', ' ORDER BY right(w, 1))
    FROM unnest(string_to_array(now, ', ')) AS w) || CASE name WHEN 'line less' THEN ', released 1 of 2' ELSE '' END, what || ' is sold for it')
FROM changed WHERE name <> 'other' ORDER BY what;
SELECT is(said('p-other', 'succeeded') || '; ' || holds('c-other'), 'captured; released 2 of 1, released 1 of 2, confirmed 3 of 3', 'something else as well');
SELECT held('c-back', 1, 5), held('c-back', 3, 1);
SELECT is(holdfast.release(owner('c-back'), '{3}') || '; ' || holdfast.release(owner('c-back'), '{1}', '{3}'), '1; 3', 'a cart changes, and changes back');
SELECT is(asked('p-back', 'capture') || said('p-back', 'succeeded'), 'capturingcaptured', 'and is what was authorized');
SELECT held('c-whole', 1, 2, '60 s');
SELECT is(happens('p-whole', 'authorize, succeeded', 'c-whole'), 'authorized', 'a cart is authorized');
SELECT held('c-whole', 1, 3);
SELECT is(asked('p-whole', 'capture', 1000) || said('p-whole', 'succeeded') || '; ' || holds('c-whole'), 'capturingcaptured; confirmed 3 of 1',
    'an amount may be all of it');
SELECT held('c-created', 1, 2, '60 s');
SELECT is(created('p-created', 'c-created'), 'created', 'a payment is created');
SELECT held('c-created', 1, 3);
SELECT is(asked('p-created', 'capture') || said('p-created', 'succeeded') || '; ' || holds('c-created'), 'capturingcaptured; confirmed 3 of 1',
    'until it is begun a cart may change');

-- Declined while the cart changes: whatever is pinned is unpinned, wherever it lies
SELECT held('max', 2, 1, '60 s');
SELECT is(happens('p-max', 'capture', 'max') || '; ' || holds('max'), 'capturing; pinned 1 of 2', 'an owner pays');
SELECT held('max', 1, 1, '1 microsecond');
SELECT is(said('p-max', 'declined') || '; ' || holds('max'), 'declined; expired 1 of 1, held 1 of 2', 'one that has expired meanwhile does not keep the others pinned');
SELECT held('ned', 2, 1, '60 s');
SELECT is(happens('p-ned', 'capture', 'ned'), 'capturing', 'an owner pays');
SELECT is(holdfast.release(owner('ned')), 1::bigint, 'and lets go');
SELECT is(said('p-ned', 'declined') || '; ' || holds('ned'), 'declined; released 1 of 2', 'and is declined: nothing is left to unpin');
SELECT held('oda', 2, 1, '60 s');
SELECT is(happens('p-oda', 'capture, unknown', 'oda'), 'unknown', 'an owner pays');
SELECT is(holdfast.release(owner('oda')), 1::bigint, 'and lets go');
SELECT is(asked('p-oda', 'void') || '; ' || holds('oda'), 'voided; released 1 of 2', 'and gives up');

-- One payment at a time
SELECT held('pam', 3, 1, '60 s');
CREATE FUNCTION second_payment(p_situation text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    BEGIN
        PERFORM created('first', 'pam');
        PERFORM payment_in(p_situation, 'first');
        PERFORM created('second', 'pam');
        IF state('first') IN ('captured', 'partially_refunded', 'refunded') THEN
            PERFORM holdfast.reserve(owner('pam'), 2, 1);
        END IF;
        answer := asked('second', 'authorize');
        RAISE EXCEPTION USING ERRCODE = 'ZZ000';
    EXCEPTION
        WHEN SQLSTATE 'ZZ000' THEN NULL;
        WHEN OTHERS THEN answer := SQLSTATE;
    END;
    RETURN answer;
END
$$;
SELECT is(second_payment(name), 'HF031', 'an owner has one payment at a time: the first is ' || name)
FROM situation WHERE state_of(name) IN ('authorizing', 'authorized', 'capturing', 'captured', 'partially_refunded', 'unknown') ORDER BY name;
SELECT is(second_payment(name), 'authorizing', 'he may pay when the first is ' || name)
FROM situation WHERE name IN ('created', 'declined', 'declined to authorize', 'declined to capture', 'voided', 'voided, call cancelled', 'voided, call under way',
    'voided, charge unknown',
    'voided, authorized before', 'refunded', 'refunding', 'refunding, partly refunded') ORDER BY name;
SELECT is(happens('p-pam', 'authorize', 'pam'), 'authorizing', 'a payment is live');
SELECT is(created('p-pam-2', 'pam'), 'created', 'another one can be created');
SELECT refuses(format('SELECT asked(''p-pam-2'', %L)', request), 'HF031', 'but not begun: ' || request, payment('p-pam')::text || '.*authorizing', 'Void it')
FROM unnest('{authorize,capture}'::text[]) AS request;
SELECT refuses(format($$SELECT * FROM holdfast.create_payment(1, 'pam-0001', 1000, 'EUR', 'bank', 'card', owner('pam'), %L)$$, request), 'HF031', 'nor in one step: '
    || request, payment('p-pam')::text)
FROM unnest('{authorize,capture}'::text[]) AS request;
SELECT is((SELECT state FROM holdfast.create_payment(2, 'pam-0001', 1000, 'EUR', 'bank', 'card', owner('pam'), 'authorize')), 'authorizing',
    'accounts know nothing of each other: owners are of an account');
SELECT is(happens('p-none-2', 'capture') || happens('p-none-3', 'capture'), 'capturingcapturing', 'payments without an owner are no rivals');
SELECT throws_ok($$UPDATE _holdfast.payment SET state = 'g', live = true WHERE id = payment('p-pam-2')$$, '23505', NULL, 'the storage sees to it, whoever writes');
SELECT is(asked('p-pam', 'void') || asked('p-pam-2', 'capture'), 'voidedcapturing', 'when the first is voided the second may begin');

-- Late money for the first, while the second is under way
SELECT is(said('p-pam', 'succeeded') || '; ' || holds('pam') || '; ' || state('p-pam-2'), 'voided; pinned 1 of 3; capturing',
    'the first one''s answer comes late: the second one''s holds stay pinned');
SELECT is(said('p-pam-2', 'succeeded') || '; ' || holds('pam'), 'captured; confirmed 1 of 3', 'and are sold for its money');

SELECT * FROM finish();
ROLLBACK;

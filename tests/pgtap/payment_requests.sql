-- create_payment(), authorize_payment(), capture_payment(), void_payment(): what they do, once per key.
\ir include/payments.sql
SELECT plan(131);

-- A query of a payment function, twice: the second answer is the first one, replayed, and does nothing.
CREATE FUNCTION replays(p_sql text, p_sentence text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    first record;
    second record;
    was text;
BEGIN
    EXECUTE p_sql INTO first;
    was := contents();
    EXECUTE p_sql INTO second;
    RETURN NEXT is(first.replayed, false, p_sentence);
    RETURN NEXT is(format('%s %s %s %s', second.payment, second.state, second.call, second.replayed), format('%s %s %s t', first.payment, first.state, first.call),
        'with the same key it gives the same answer, replayed');
    RETURN NEXT ok(contents() IS NOT DISTINCT FROM was, 'and does nothing');
END
$$;

-- Creating
SELECT results_eq($$SELECT * FROM holdfast.create_payment(1, 'create-0001', 1050, 'EUR', 'bank', 'card_1', owner('ann'), NULL, payment('c1'))$$,
    $$VALUES (payment('c1'), 'created', NULL::integer, false)$$, 'a payment is created, and no call is due');
SELECT is((SELECT format('%s %s %s %s %s %s %s %s', account_id, amount, currency, provider, method, owner = owner('ann'), steps, calls) FROM _holdfast.payment),
    '1 1050 EUR bank card_1 t 0 0', 'it is stored as it was asked for');
SELECT is((SELECT created_at = changed_at AND created_at BETWEEN now() AND clock_timestamp() FROM _holdfast.payment), true, 'with the time');
SELECT is(history('c1') || calls('c1') || books('c1'), NULL, 'nothing has happened to it');
SELECT replays($$SELECT * FROM holdfast.create_payment(1, 'create-0002', 1000, 'EUR', 'bank', 'card_1')$$, 'a payment without an owner is created');
SELECT is((SELECT substr(payment::text, 15, 1) || replayed FROM holdfast.create_payment(1, 'create-0002', 1000, 'EUR', 'bank', 'card_1')), '7true',
    'its id is a UUID version 7, the same in every answer');
SELECT is((SELECT count(*) FROM _holdfast.payment), 2::bigint, 'it is there once');
SELECT replays($$SELECT * FROM holdfast.create_payment(1, 'create-0003', 1000, 'EUR', 'bank', 'card_1', NULL, 'authorize', payment('c3'))$$,
    'a payment is created and authorized in one step');
SELECT is(state('c3') || '; ' || calls('c3') || '; ' || history('c3'), 'authorizing; 1 authorize due 1000; authorize: created to authorizing', 'as it would be in two');
SELECT replays($$SELECT * FROM holdfast.create_payment(1, 'create-0004', 1000, 'EUR', 'bank', 'card_1', NULL, 'capture', payment('c4'))$$,
    'or created and captured');
SELECT is(state('c4') || '; ' || calls('c4') || '; ' || history('c4'), 'capturing; 1 charge due 1000; capture: created to capturing', 'as it would be in two');
SELECT is((SELECT state || ' ' || call FROM holdfast.create_payment(1, 'create-0004', 1000, 'EUR', 'bank', 'card_1', NULL, 'capture', payment('c4'))), 'capturing 1',
    'the call is the number of what is due');
SELECT is(books('c4'), NULL, 'no money has moved yet');

-- The same key, another payment
SELECT refuses(format($$SELECT * FROM holdfast.create_payment(1, 'create-0001', %s)$$, arguments), 'HF021', 'the key stands for one payment: ' || what || ' differs',
    'create-0001', 'new key')
FROM (VALUES ($$1051, 'EUR', 'bank', 'card_1', owner('ann'), NULL, payment('c1')$$, 'the amount'),
             ($$1050, 'USD', 'bank', 'card_1', owner('ann'), NULL, payment('c1')$$, 'the currency'),
             ($$1050, 'EUR', 'bank_', 'card_1', owner('ann'), NULL, payment('c1')$$, 'the provider'),
             ($$1050, 'EUR', 'bank', 'card_2', owner('ann'), NULL, payment('c1')$$, 'the method'),
             ($$1050, 'EUR', 'bank', 'card_1', owner('bob'), NULL, payment('c1')$$, 'the owner'),
             ($$1050, 'EUR', 'bank', 'card_1', NULL, NULL, payment('c1')$$, 'that there is an owner'),
             ($$1050, 'EUR', 'bank', 'card_1', owner('ann'), 'authorize', payment('c1')$$, 'what follows'),
             ($$1050, 'EUR', 'bank', 'card_1', owner('ann'), NULL, payment('c2')$$, 'the id'),
             ($$1050, 'EUR', 'bank', 'card_1', owner('ann')$$, 'that there is an id'),
             ($$1050, 'EUR', 'ban', 'kcard_1', owner('ann'), NULL, payment('c1')$$, 'where the provider ends')) AS a (arguments, what) ORDER BY what;
SELECT is((SELECT replayed FROM holdfast.create_payment(2, 'create-0001', 1051, 'USD', 'bank', 'card_2', NULL, NULL, payment('c1'))), false,
    'another account has keys, and ids, of its own');
SELECT is((SELECT string_agg(account_id || ' ' || amount, ', ' ORDER BY account_id) FROM _holdfast.payment WHERE id = payment('c1')), '1 1050, 2 1051', 'and payments');

-- Ids
SELECT refuses($$SELECT * FROM holdfast.create_payment(1, 'create-0005', 1050, 'EUR', 'bank', 'card_1', owner('ann'), NULL, payment('c1'))$$, 'HF034',
    'an id is given once', payment('c1')::text, 'new id');
SELECT refuses($$SELECT * FROM holdfast.create_payment(1, 'create-0005', 1, 'JPY', 'bank', 'x', NULL, NULL, payment('c4'))$$, 'HF034', 'whatever has become of the first',
    payment('c4')::text);
SELECT is((SELECT state FROM holdfast.create_payment(1, 'create-0005', 1, 'JPY', 'bank', 'x', NULL, NULL, '00000000-0000-0000-0000-000000000000')), 'created',
    'a refusal leaves no key: it is good for what is not refused. The nil UUID is an id');
SELECT is((SELECT count(*) FROM _holdfast.payment WHERE id = '00000000-0000-0000-0000-000000000000'), 1::bigint, 'and not taken for none');

-- Authorizing
SELECT replays($$SELECT * FROM holdfast.authorize_payment(1, (SELECT payment FROM holdfast.create_payment(1, 'create-0002', 1000, 'EUR', 'bank', 'card_1')),
    'authorize-0001')$$,
    'a payment is authorized');
SELECT is(created('a1') || ' ' || asked('a1', 'authorize'), 'created authorizing', 'a payment is authorizing');
SELECT is((SELECT format('%s %s %s %s %s %s %s', kind, amount, state, provider, attempts, due_at <= clock_timestamp(), settled_at) FROM _holdfast.provider_call
    WHERE payment = payment('a1')), 'a 1000 d bank 0 t infinity', 'the call is due at once');
SELECT is(sums('a1'), '', 'nothing is authorized');
SELECT is(said('a1', 'succeeded') || ': ' || sums('a1'), 'authorized: authorized 1000', 'until the provider says so');

-- Capturing
SELECT refuses($$SELECT asked('a1', 'capture', 1001)$$, 'HF029', 'more than is authorized is not captured', 'can capture 1000; 1001');
SELECT refuses($$SELECT asked('a1', 'capture', 1000000000000000)$$, 'HF029', 'however much is wanted', '1000000000000000');
SELECT replays($$SELECT * FROM holdfast.capture_payment(1, payment('a1'), 'capture-0001', 600, 'EUR')$$, 'a part of what is authorized is captured');
SELECT is(state('a1') || '; ' || calls('a1'), 'capturing; 1 authorize succeeded 1000, 2 capture due 600', 'the call is for the part');
SELECT refuses(format('SELECT * FROM holdfast.capture_payment(1, payment(''a1''), ''capture-0001'', %s)', arguments), 'HF021', 'the key stands for one capture: ' || what
    || ' differs', 'capture-0001')
FROM (VALUES ('601, ''EUR''', 'the amount'), ('NULL, ''EUR''', 'that there is an amount'), ('600', 'that there is a currency')) AS a (arguments, what) ORDER BY what;
SELECT refuses($$SELECT * FROM holdfast.capture_payment(1, payment('c4'), 'capture-0001', 600, 'EUR')$$, 'HF021', 'also if the payment does', 'capture-0001');
SELECT is(said('a1', 'succeeded') || '; ' || sums('a1') || '; ' || books('a1'), 'captured; authorized 1000, captured 600; provider 600, sales -600',
    'the part is captured');
SELECT refuses($$SELECT asked('a1', 'capture', 400)$$, 'HF028', 'and the rest is let go', 'captured');
SELECT is((SELECT state || ' ' || call || ' ' || replayed FROM holdfast.capture_payment(1, payment('a1'), 'capture-0001', 600, 'EUR')), 'capturing 2 true',
    'the answer to a key stays, whatever has become of the payment');
SELECT is(calls('a1'), '1 authorize succeeded 1000, 2 capture succeeded 600', 'nobody is charged twice');
SELECT is(happens('a2', 'authorize, succeeded, capture 1000'), 'capturing', 'all that is authorized is captured by amount');
SELECT is(happens('a3', 'authorize, succeeded, capture 1'), 'capturing', 'the least that can be captured is 1');
SELECT is(happens('a4', 'capture 1000, succeeded') || '; ' || sums('a4'), 'captured; authorized 1000, captured 1000', 'a payment just created is captured whole');
SELECT is(created('a5'), 'created', 'a payment is created');
SELECT refuses($$SELECT asked('a5', 'capture', 999)$$, 'HF024', 'not in part', 'captured whole', 'Create');
SELECT refuses($$SELECT asked('a5', 'capture', 1001)$$, 'HF029', 'nor more', '1001');
SELECT refuses(format('SELECT * FROM holdfast.capture_payment(1, payment(''a5''), new_key(), 1000, %L)', currency), state, 'nor in ' || what, detail)
FROM (VALUES ('USD', 'HF026', 'another currency', 'EUR.*USD'), ('JPY', 'HF026', 'one without minor units', 'JPY'), ('eur', 'HF025', 'small letters', 'eur'),
    ('EU', 'HF025', 'two letters', NULL), ('XTS', 'HF025', 'none', NULL), ('', 'HF025', 'nothing', NULL)) AS c (currency, state, what, detail) ORDER BY what;

-- Voiding
SELECT is(happens('v1', 'authorize, succeeded'), 'authorized', 'a payment is authorized');
SELECT replays($$SELECT * FROM holdfast.void_payment(1, payment('v1'), 'void-0001', 'changed his mind')$$, 'it is voided');
SELECT is(state('v1') || '; ' || calls('v1'), 'voided; 1 authorize succeeded 1000, 2 void due 1000', 'the provider is told');
SELECT is((SELECT format('%s %s %s', input, call, reason) FROM _holdfast.payment_event WHERE payment = payment('v1') AND n = 3), 'void 2 changed his mind',
    'and history the reason');
SELECT refuses($$SELECT * FROM holdfast.void_payment(1, payment('v1'), 'void-0001', 'another reason')$$, 'HF021', 'the key stands for one reason', 'void-0001');
SELECT refuses($$SELECT * FROM holdfast.void_payment(1, payment('v1'), 'void-0001')$$, 'HF021', 'or none', 'void-0001');
SELECT refuses($$SELECT asked('v1', 'void')$$, 'HF028', 'a new key is a new request: it is voided already', 'voided');
SELECT is(books('v1'), NULL, 'no money has moved');
SELECT is(happens('v2', 'authorize, void') || '; ' || calls('v2'), 'voided; 1 authorize cancelled 1000', 'a call that nobody has made is not made');
SELECT is((SELECT count(*) FROM holdfast.claim_calls('bank') WHERE payment = payment('v2')), 0::bigint, 'and not claimed');
SELECT is(happens('v3', 'authorize, claim, void') || '; ' || calls('v3'), 'voided; 1 authorize due 1000', 'one that may be under way stays open');
SELECT is(said('v3', 'succeeded') || '; ' || calls('v3'), 'voided; 1 authorize succeeded 1000, 2 void due 1000', 'and is let go if it has succeeded');
SELECT is(happens('v4', 'authorize, claim, unknown, void') || '; ' || calls('v4'), 'voided; 1 authorize unknown 1000', 'an unknown one is given up, and still asked about');
SELECT is(happens('v5', 'authorize, unknown, void') || '; ' || calls('v5'), 'voided; 1 authorize cancelled 1000', 'unless nobody has been asked');
SELECT is(happens('v6', 'capture, unknown, void') || '; ' || calls('v6'), 'voided; 1 charge cancelled 1000', 'also for the money');
SELECT is((SELECT count(*) FROM holdfast.unknown_outcomes WHERE payment IN (payment('v5'), payment('v6'))), 0::bigint, 'then nothing is unknown any more');
UPDATE _holdfast.provider_call SET due_at = clock_timestamp() - interval '1 s' WHERE state IN ('d', 'u') AND payment IN (payment('v4'), payment('v5'), payment('v6'));
SELECT is((SELECT string_agg(kind || ' ' || method, ', ') FROM holdfast.claim_calls('bank') WHERE payment IN (payment('v4'), payment('v5'), payment('v6'))),
    'lookup card of v4', 'nor asked about');
SELECT is(happens('v7', 'authorize, succeeded, capture 600, claim, unknown, void') || '; ' || calls('v7'),
    'voided; 1 authorize succeeded 1000, 2 capture unknown 600', 'a capture whose outcome is unknown is given up');
SELECT is(said('v7', 'declined') || '; ' || calls('v7'), 'voided; 1 authorize succeeded 1000, 2 capture declined 600, 3 void due 1000',
    'once it was declined the authorization is let go, all of it');
SELECT is(happens('v8', 'authorize, succeeded, capture 600, unknown, void') || '; ' || calls('v8'),
    'voided; 1 authorize succeeded 1000, 2 capture cancelled 600, 3 void due 1000', 'at once, if nobody has been asked for the capture');
SELECT is(happens('v9', 'authorize, succeeded, capture 600, declined') || '; ' || calls('v9'),
    'declined; 1 authorize succeeded 1000, 2 capture declined 600, 3 void due 1000', 'or if the capture is declined before');
SELECT is(happens('v9', 'succeeded 3') || '; ' || calls('v9'), 'declined; 1 authorize succeeded 1000, 2 capture declined 600, 3 void succeeded 1000', 'it is gone');
SELECT is(happens('v10', 'capture, declined') || '; ' || calls('v10'), 'declined; 1 charge declined 1000', 'of a charge that is declined nothing is left');
SELECT is((SELECT replayed FROM holdfast.void_payment(1, payment('v1'), 'void-0001', 'changed his mind')), true, 'answers are replayed');

-- Keys and operations
SELECT is((SELECT string_agg(operation, ', ' ORDER BY operation) FROM (SELECT operation FROM _holdfast.idempotency_0 UNION SELECT operation
    FROM _holdfast.idempotency_1) AS o),
    'holdfast.authorize_payment, holdfast.capture_payment, holdfast.create_payment, holdfast.void_payment', 'each function has keys of its own');
SELECT is((SELECT count(*) FROM holdfast.open_keys), 0::bigint, 'and leaves none open');
SELECT is((SELECT string_agg(r, ' ') FROM (SELECT state FROM holdfast.create_payment(1, 'same-key', 1000, 'EUR', 'bank', 'card', NULL, NULL, payment('k1'))
    UNION ALL SELECT state FROM holdfast.authorize_payment(1, payment('k1'), 'same-key')
    UNION ALL SELECT state FROM holdfast.void_payment(1, payment('k1'), 'same-key')) AS s (r)), 'created authorizing voided', 'so one key may serve for a whole order');
SELECT is((SELECT claimed FROM holdfast.claim_key(1, 'order', 'same-key', '\x00')), true, 'and for something of the caller''s');

-- Nobody else has those keys: no answer can be forged, taken away, or kept from a payment.
CREATE FUNCTION forged(p_operation text, p_key text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM holdfast.claim_key(1, p_operation, p_key, '\x00');
    PERFORM holdfast.complete_key(1, p_operation, p_key, convert_to(payment('k1') || ' c 1', 'UTF8'));
    RETURN 'completed';
END
$$;
SELECT refuses(format('SELECT forged(%L, ''forged-01'')', 'holdfast.' || name), 'HF019', 'the answer of a function is not for others to give: ' || name, 'holdfast.')
    FROM unnest('{create_payment,authorize_payment,capture_payment,void_payment,refund_payment}'::text[]) AS name;
SELECT is(string_agg(forged(name, 'forged-01'), ' '), 'completed completed completed completed completed', 'operations of the same names are something else')
    FROM unnest('{create_payment,authorize_payment,capture_payment,void_payment,refund_payment}'::text[]) AS name;
SELECT is((SELECT format('%s %s %s', payment, state, replayed) FROM holdfast.create_payment(1, 'forged-01', 1000, 'EUR', 'bank', 'card', NULL, NULL, payment('f1'))),
    payment('f1') || ' created f', 'a payment is made all the same');
SELECT is((SELECT format('%s %s %s', payment, state, replayed) FROM holdfast.authorize_payment(1, payment('f1'), 'forged-01')), payment('f1') || ' authorizing f',
    'and goes its way');
SELECT refuses(format('SELECT holdfast.%s(1, ''holdfast.authorize_payment'', ''forged-01''%s)', function, rest), 'HF019', function || '() does not get at its key', 'holdfast.')
    FROM (VALUES ('complete_key', ', ''x'''), ('abandon_key', '')) AS f (function, rest);
SELECT is((SELECT format('%s %s %s', payment, state, replayed) FROM holdfast.authorize_payment(1, payment('f1'), 'forged-01')), payment('f1') || ' authorizing t',
    'whose answer stays');

-- Rollback
CREATE TABLE before AS SELECT contents() AS stored;
SELECT is(undone($$SELECT state FROM holdfast.create_payment(1, 'undone-0001', 1000, 'EUR', 'bank', 'card', NULL, 'capture')$$), 'capturing',
    'a payment is made and rolled back');
SELECT is(undone($$SELECT state FROM holdfast.authorize_payment(1, payment('a5'), 'undone-0002')$$), 'authorizing', 'an authorization');
SELECT is(undone($$SELECT state FROM holdfast.capture_payment(1, payment('a5'), 'undone-0003')$$), 'capturing', 'a capture');
SELECT is(undone($$SELECT state FROM holdfast.void_payment(1, payment('a5'), 'undone-0004')$$), 'voided', 'a void');
SELECT ok(contents() IS NOT DISTINCT FROM stored, 'nothing is left of it') FROM before;
SELECT is((SELECT state || replayed FROM holdfast.authorize_payment(1, payment('a5'), 'undone-0003')), 'authorizingfalse', 'the keys are free');
SELECT is((SELECT state || replayed FROM holdfast.void_payment(1, payment('a5'), 'undone-0004', 'another reason')), 'voidedfalse', 'also for other requests');
SAVEPOINT s;
SELECT is((SELECT state FROM holdfast.create_payment(1, 'savepoint-1', 1000, 'EUR', 'bank', 'card', NULL, 'capture', payment('s1'))), 'capturing',
    'a payment in a savepoint');
RELEASE s;
SELECT is(said('s1', 'succeeded'), 'captured', 'goes on after it');

-- A refusal leaves no key, whatever it is for.
SELECT refuses(format('SELECT * FROM holdfast.%s', call), state, call)
FROM (VALUES ($$authorize_payment(1, payment('a1'), 'refused-0001')$$, 'HF028'),
             ($$capture_payment(1, payment('a1'), 'refused-0001')$$, 'HF028'),
             ($$void_payment(1, payment('a1'), 'refused-0001')$$, 'HF028'),
             ($$refund_payment(1, payment('a1'), 'refused-0001', 601)$$, 'HF030'),
             ($$create_payment(1, 'refused-0001', 1000, 'EUR', 'nobody', 'card')$$, 'HF032'),
             ($$create_payment(1, 'refused-0001', 1000, 'EUR', 'bank', 'card', owner('nobody'), 'capture')$$, 'HF006'),
             ($$authorize_payment(1, payment('nobody'), 'refused-0001')$$, 'HF027')) AS c (call, state) ORDER BY call;
SELECT is((SELECT count(*) FROM (SELECT key FROM _holdfast.idempotency_0 UNION ALL SELECT key FROM _holdfast.idempotency_1) AS k WHERE key = 'refused-0001'), 0::bigint,
    'a refusal leaves no key');
SELECT is((SELECT state || replayed FROM holdfast.refund_payment(1, payment('a1'), 'refused-0001', 600)), 'capturedfalse', 'which is good for another request');

-- Others
SELECT is(history('a1'), 'authorize: created to authorizing, authorized: authorizing to authorized, capture: authorized to capturing, '
    'captured: capturing to captured, refund: captured to captured', 'every step is a line of history');
SELECT is((SELECT string_agg(format('%s %s', n, COALESCE(call::text, '-')), ', ' ORDER BY n) FROM _holdfast.payment_event WHERE payment = payment('a1')),
    '1 1, 2 1, 3 2, 4 2, 5 3',
    'numbered from 1, with the call that it is about');
SELECT is((SELECT steps FROM _holdfast.payment WHERE id = payment('a1')), 5, 'the payment knows how many');
SELECT is((SELECT string_agg(DISTINCT format('%s %s', state, settled_at < 'infinity'), ', ') FROM _holdfast.provider_call), 'd f, f t, s t, u f, x t',
    'a call is settled when its outcome is known, or it is cancelled');

SELECT * FROM finish();
ROLLBACK;

-- Arguments of the payment functions that are wrong in every way that there is: refused with a code
-- of their own, and nothing is changed.
\ir include/payments.sql
SELECT plan(152);

SELECT given(1, 10);
SELECT held('ann', 1, 1);
SELECT is(created('created') || ' ' || happens('authorized', 'authorize, succeeded') || ' ' || happens('captured', 'capture, succeeded'), 'created authorized captured',
    'there are payments');

-- Keys
CREATE TABLE call (name text, sql text);
INSERT INTO call VALUES
    ('create_payment()', $$SELECT * FROM holdfast.create_payment(1, %L, 1000, 'EUR', 'bank', 'card')$$),
    ('authorize_payment()', $$SELECT * FROM holdfast.authorize_payment(1, payment('created'), %L)$$),
    ('capture_payment()', $$SELECT * FROM holdfast.capture_payment(1, payment('authorized'), %L)$$),
    ('void_payment()', $$SELECT * FROM holdfast.void_payment(1, payment('authorized'), %L)$$),
    ('refund_payment()', $$SELECT * FROM holdfast.refund_payment(1, payment('captured'), %L)$$);
SELECT refuses(format(sql, key), 'HF019', format('%s refuses a key that is %s', name, what), '.')
FROM call, (VALUES ('', 'empty'), ('1234567', 'too short'), (repeat('k', 256), 'too long'), (E'line\nfeed', 'of two lines'), (E'\x01\x02\x03\x04\x05\x06\x07\x08',
    'of control characters'),
    ('schlüssel', 'not in ASCII'), (E'deleted\x7f', 'deleted')) AS k (key, what) ORDER BY name, what;
SELECT refuses(format(sql, NULL), '22004', name || ' needs a key') FROM call ORDER BY name;
SELECT refuses(replace(format(sql, 'good-key'), '(1, ', '(NULL, '), '22004', name || ' needs an account') FROM call ORDER BY name;
SELECT refuses(regexp_replace(format(sql, 'good-key'), 'payment\(''.*?''\)', 'NULL'), '22004', name || ' needs a payment') FROM call
    WHERE name <> 'create_payment()' ORDER BY name;
SELECT refuses(regexp_replace(format(sql, 'good-key'), 'payment\(''.*?''\)', 'payment(''nobody'')'), 'HF027', name || ' needs one that exists', payment('nobody')::text)
FROM call WHERE name <> 'create_payment()' ORDER BY name;
SELECT refuses(replace(format(sql, 'good-key'), '(1, ', '(2, '), 'HF027', name || ' needs one of the account', 'Account 2') FROM call
    WHERE name <> 'create_payment()' ORDER BY name;
SELECT is(undone(format(replace(sql, '*', 'state'), repeat('k', 8))) IS NOT NULL AND undone(format(replace(sql, '*', 'state'), repeat('~', 255))) !~ '^[0-9H]', true, name
    || ' takes keys of 8 and 255 characters')
FROM call ORDER BY name;

-- Amounts
CREATE TABLE amount (amount text, what text);
INSERT INTO amount VALUES ('0', 'zero'), ('-1', 'negative'), ('-9223372036854775808', 'the least bigint'), ('1000000000000001', 'above 10^15'), ('9223372036854775807',
    'the greatest bigint');
SELECT refuses(format(sql, amount), 'HF024', format('%s refuses an amount that is %s', name, what), amount)
FROM amount, (VALUES ('create_payment()', $$SELECT * FROM holdfast.create_payment(1, 'good-key', %s, 'EUR', 'bank', 'card')$$),
                     ('capture_payment()', $$SELECT * FROM holdfast.capture_payment(1, payment('authorized'), 'good-key', %s)$$),
                     ('refund_payment()', $$SELECT * FROM holdfast.refund_payment(1, payment('captured'), 'good-key', %s)$$)) AS c (name, sql) ORDER BY name, what;
SELECT refuses($$SELECT * FROM holdfast.create_payment(1, 'good-key', NULL, 'EUR', 'bank', 'card')$$, '22004', 'create_payment() needs an amount');
SELECT is(undone($$SELECT state FROM holdfast.create_payment(1, 'good-key', 1, 'EUR', 'bank', 'card')$$) || undone($$SELECT state FROM holdfast.create_payment(1,
    'good-key', 1000000000000000, 'EUR', 'bank', 'card')$$),
    'createdcreated', 'from 1 to 10^15 all are good');

-- Currencies
SELECT refuses(format($$SELECT * FROM holdfast.create_payment(1, 'good-key', 1000, %L, 'bank', 'card')$$, currency), 'HF025',
    'create_payment() refuses a currency that is ' || what, NULL)
FROM (VALUES ('eur', 'in small letters'), ('Eur', 'in both'), ('EU', 'too short'), ('EURO', 'too long'), ('', 'empty'), (' EUR', 'with a blank before it'), ('EUR ',
    'or after it'), ('XTS', 'none'),
    ('XAU', 'gold'), ('XTS', 'for tests'), ('ZZZ', 'unknown'), ('BGN', 'no more'), ('978', 'a number'), ('€', 'a sign'), ('ЕUR', 'half in Cyrillic'), (E'EU\nR',
        'of two lines'),
    (repeat('EUR', 100000), 'very long')) AS c (currency, what) ORDER BY what;
SELECT refuses($$SELECT * FROM holdfast.create_payment(1, 'good-key', 1000, NULL, 'bank', 'card')$$, '22004', 'create_payment() needs a currency');
SELECT is(undone(format($$SELECT state FROM holdfast.create_payment(1, 'good-key', 1050, %L, 'bank', 'card')$$, currency)), 'created', currency || ' is a currency')
FROM unnest('{EUR,JPY,KWD,USD}'::text[]) AS currency ORDER BY currency;
SELECT is((SELECT string_agg(currency || ' ' || exponent, ', ' ORDER BY currency) FROM holdfast.currencies() WHERE currency IN ('EUR', 'JPY', 'KWD')),
    'EUR 2, JPY 0, KWD 3',
    'and how many of its digits stand behind the point is known');
SELECT refuses(format($$SELECT * FROM holdfast.%s(1, payment(%L), 'good-key', 100, %L)$$, name, payment, currency), state, format('%s() refuses %s for EUR', name,
    currency))
FROM (VALUES ('capture_payment', 'authorized'), ('refund_payment', 'captured')) AS f (name, payment), (VALUES ('USD', 'HF026'), ('JPY', 'HF026'), ('eur', 'HF025'),
    ('XTS', 'HF025')) AS c (currency, state) ORDER BY name, currency;
SELECT is(undone(format($$SELECT state FROM holdfast.%s(1, payment(%L), 'good-key', 100, 'EUR')$$, name, payment)) !~ '^HF', true, name || '() takes EUR for EUR')
FROM (VALUES ('capture_payment', 'authorized'), ('refund_payment', 'captured')) AS f (name, payment) ORDER BY name;

-- Providers, methods, and what follows
SELECT refuses(format($$SELECT * FROM holdfast.create_payment(1, 'good-key', 1000, 'EUR', %L, 'card')$$, provider), 'HF032',
    'create_payment() refuses a provider that is ' || what, NULL, 'add_provider')
FROM (VALUES ('nobody', 'unknown'), ('', 'empty'), ('Bank', 'in capitals'), ('bank ', 'followed by a blank'), ('simulated', 'not added, though built in'), (repeat('b',
    100000), 'long')) AS p (provider, what)
ORDER BY what;
SELECT refuses($$SELECT * FROM holdfast.create_payment(1, 'good-key', 1000, 'EUR', NULL, 'card')$$, '22004', 'create_payment() needs a provider');
SELECT refuses(format($$SELECT * FROM holdfast.create_payment(1, 'good-key', 1000, 'EUR', 'bank', %L)$$, method), 'HF033', 'create_payment() refuses a method that is '
    || what, '1 to 255', 'token')
FROM (VALUES ('', 'empty'), (repeat('m', 256), 'too long'), (repeat('ü', 128), 'too long in other letters'), (E'card\n', 'of two lines'), (E'\t', 'a tabulator'),
    (E'card\x7f', 'deleted'), (E'\x1b[2J', 'an escape sequence'),
    (repeat('m', 1000000), 'very long')) AS m (method, what) ORDER BY what;
SELECT refuses($$SELECT * FROM holdfast.create_payment(1, 'good-key', 1000, 'EUR', 'bank', NULL)$$, '22004', 'create_payment() needs a method');
SELECT is(undone(format($$SELECT state FROM holdfast.create_payment(1, 'good-key', 1000, 'EUR', 'bank', %L)$$, method)), 'created', 'a method is ' || what)
FROM (VALUES ('x', 'a letter'), (repeat('m', 255), '255 letters'), (repeat('ü', 127) || 'u', '127 letters of two bytes and one of one'), ('карта 卡 ~',
    'in any language')) AS m (method, what) ORDER BY what;
SELECT refuses(format($$SELECT * FROM holdfast.create_payment(1, 'good-key', 1000, 'EUR', 'bank', 'card', NULL, %L)$$, word), '22023', format('"%s" is not what follows',
    word), NULL, 'authorize or capture')
FROM unnest('{void,refund,charge,Capture,"","capture ",nothing}'::text[]) AS word ORDER BY word;

-- A refused request was never made: no secret, no money, no trace. What is good goes through with the same key.
SELECT is((SELECT count(*) FROM (SELECT key FROM _holdfast.idempotency_0 UNION ALL SELECT key FROM _holdfast.idempotency_1) AS k WHERE key = 'good-key'), 0::bigint,
    'after all that the key is free');
SELECT is((SELECT state || replayed FROM holdfast.create_payment(1, 'good-key', 1000, 'EUR', 'bank', 'card')), 'createdfalse', 'and good for a good request');

-- What is written is looked at before the key: a bad request is bad, also when its key has an answer.
SELECT refuses($$SELECT * FROM holdfast.create_payment(1, 'good-key', 0, 'EUR', 'bank', 'card')$$, 'HF024', 'a bad amount with a known key');
SELECT refuses($$SELECT * FROM holdfast.create_payment(1, 'good-key', 1000, 'eur', 'bank', 'card')$$, 'HF025', 'a bad currency with a known key');
SELECT refuses($$SELECT * FROM holdfast.create_payment(1, 'good-key', 1000, 'EUR', 'nobody', 'card')$$, 'HF021', 'another provider with a known key');

-- Read-only transactions
SELECT is(undone(format(sql, 'read-only'), 'SET LOCAL transaction_read_only = on'), '25006', name || ' needs a transaction that may write') FROM call ORDER BY name;
SELECT is(undone($$SELECT said('authorized', 'declined')$$, 'SET LOCAL transaction_read_only = on'), '25006', 'and so does record_result()');
SELECT is(undone($$SELECT holdfast.record_event('bank', 'evt_1', _holdfast.call_key(1, payment('captured'), 1), 'succeeded')$$, 'SET LOCAL transaction_read_only = on'),
    '25006', 'and record_event()');

SELECT * FROM finish();
ROLLBACK;

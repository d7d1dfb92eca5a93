-- record_event(): what providers tell by themselves, once each, late, twice, in any order, or wrong.
\ir include/payments.sql
SELECT plan(105);

-- A provider's event about a call of a payment.
CREATE FUNCTION told(p_event text, p_name text, p_call integer, p_outcome text, p_amount bigint DEFAULT NULL, p_currency text DEFAULT NULL) RETURNS text LANGUAGE sql
    AS $$ SELECT holdfast.record_event('bank', p_event, _holdfast.call_key(1, payment(p_name), p_call), p_outcome, p_amount, p_currency) $$;

-- Once
SELECT is(happens('a', 'capture, claim'), 'capturing', 'a call is under way');
SELECT is(holdfast.record_event('bank', 'evt_1', _holdfast.call_key(1, payment('a'), 1), 'succeeded', 1000, 'EUR', 'ch_1', 'approved'), 'applied',
    'an event has its effect');
SELECT is(state('a') || '; ' || calls('a') || '; ' || books('a'), 'captured; 1 charge succeeded 1000; provider 1000, sales -1000', 'that of a result');
SELECT is((SELECT reference || ' ' || reason FROM _holdfast.provider_call WHERE payment = payment('a')), 'ch_1 approved', 'with reference and reason');
SELECT is((SELECT format('%s %s %s %s %s %s %s %s', account_id, payment = payment('a'), call, provider, event, outcome, verdict, format('%s %s', amount, currency))
    FROM _holdfast.provider_event),
    '1 t 1 bank evt_1 succeeded applied 1000 EUR', 'and is remembered');
CREATE TABLE before AS SELECT contents() AS stored;
SELECT is(holdfast.record_event('bank', 'evt_1', _holdfast.call_key(1, payment('a'), 1), 'succeeded', 1000, 'EUR', 'ch_1', 'approved'), 'duplicate',
    'the same event again is a duplicate');
SELECT is(told('evt_1', 'a', 1, 'declined') || ' ' || told('evt_1', 'a', 1, 'succeeded', 1, 'JPY'), 'duplicate duplicate', 'whatever it says');
SELECT ok(contents() IS NOT DISTINCT FROM stored, 'it changes nothing') FROM before;
SELECT is(told('evt_2', 'a', 1, 'succeeded'), 'stale', 'another event that says the same is stale');
SELECT is(told('evt_3', 'a', 1, 'declined') || ' ' || told('evt_4', 'a', 1, 'pending'), 'stale stale', 'and so is one that is late');
SELECT is(state('a') || '; ' || calls('a') || '; ' || history('a'), 'captured; 1 charge succeeded 1000; capture: created to capturing, captured: capturing to captured',
    'none of them undoes anything');
SELECT is((SELECT string_agg(event || ' ' || verdict, ', ' ORDER BY event) FROM _holdfast.provider_event), 'evt_1 applied, evt_2 stale, evt_3 stale, evt_4 stale',
    'all are remembered');

-- Which events are the same
SELECT holdfast.add_provider('house');
SELECT is((SELECT state FROM holdfast.create_payment(1, 'house-0001', 1000, 'EUR', 'house', 'card', NULL, 'capture', payment('h'))), 'capturing',
    'a payment at another provider');
SELECT is(holdfast.record_event('house', 'evt_1', _holdfast.call_key(1, payment('h'), 1), 'declined'), 'applied', 'has events of its own');
SELECT is((SELECT state FROM holdfast.create_payment(2, 'bank-0001', 1000, 'EUR', 'bank', 'card', NULL, 'capture', payment('a'))), 'capturing',
    'a payment of another account');
SELECT is(holdfast.record_event('bank', 'evt_1', _holdfast.call_key(2, payment('a'), 1), 'succeeded'), 'applied', 'too');
SELECT is((SELECT string_agg(account_id || ' ' || word(state), ', ' ORDER BY account_id) FROM _holdfast.payment WHERE id = payment('a')), '1 captured, 2 captured',
    'each is captured once');
SELECT is(happens('a2', 'capture'), 'capturing', 'another payment');
SELECT is(told('evt_1', 'a2', 1, 'succeeded') || ' ' || state('a2'), 'duplicate capturing', 'an id is that of one event, whatever it is about');
SELECT is(told('EVT_1', 'a2', 1, 'succeeded') || ' ' || state('a2'), 'applied captured', 'and differs by case');

-- Before the answer to the call, after it, and instead of it
SELECT is(happens('b', 'capture, claim'), 'capturing', 'a call is under way');
SELECT is(told('b_1', 'b', 1, 'succeeded') || ' ' || said('b', 'succeeded') || ' ' || said('b', 'retry') || '; ' || books('b'),
    'applied captured captured; provider 1000, sales -1000',
    'the event comes before the answer: it is captured once');
SELECT is(happens('c', 'capture, claim, succeeded'), 'captured', 'the answer comes before the event');
SELECT is(told('c_1', 'c', 1, 'succeeded') || '; ' || books('c'), 'stale; provider 1000, sales -1000', 'it is captured once');
SELECT is(happens('d', 'capture, claim, unknown'), 'unknown', 'no answer comes');
SELECT is(told('d_1', 'd', 1, 'succeeded') || '; ' || history('d'),
    'applied; capture: created to capturing, unknown: capturing to unknown, captured: unknown to captured', 'but an event');
SELECT is(happens('e', 'authorize, succeeded, capture'), 'capturing', 'events of two calls');
SELECT is(told('e_2', 'e', 2, 'succeeded') || ' ' || told('e_1', 'e', 1, 'succeeded') || ' ' || state('e'), 'applied stale captured', 'come in any order');
SELECT is(happens('f', 'capture'), 'capturing', 'a success and a refusal');
SELECT is(told('f_1', 'f', 1, 'declined') || ' ' || state('f') || ', ' || told('f_2', 'f', 1, 'succeeded') || ' ' || state('f'), 'applied declined, applied refunding',
    'in this order lead to a refund');
SELECT is(told('f_3', 'f', 1, 'declined') || ' ' || told('f_1', 'f', 1, 'declined') || ' ' || told('f_2', 'f', 1, 'succeeded') || '; ' || calls('f'),
    'stale duplicate duplicate; 1 charge succeeded 1000, 2 refund due 1000', 'one, however often they come');
SELECT is(happens('g', 'capture'), 'capturing', 'in the other order');
SELECT is(told('g_1', 'g', 1, 'succeeded') || ' ' || told('g_2', 'g', 1, 'declined') || ' ' || state('g'), 'applied stale captured', 'they lead to none');
SELECT is(happens('p', 'capture, claim'), 'capturing', 'a call');
SELECT is(told('p_1', 'p', 1, 'pending') || ' ' || calls('p'), 'applied 1 charge due 1000', 'that is pending stays open');
SELECT is((SELECT due_at > clock_timestamp() + '3590 s' FROM _holdfast.provider_call WHERE payment = payment('p')), true, 'and is not asked for soon');
SELECT is(told('p_1', 'p', 1, 'pending') || ' ' || told('p_2', 'p', 1, 'succeeded') || ' ' || told('p_3', 'p', 1, 'pending') || ' ' || state('p'),
    'duplicate applied stale captured', 'until it is known');
SELECT is(happens('r', 'capture, succeeded, refund 400'), 'captured', 'a refund');
SELECT is(told('r_1', 'r', 2, 'succeeded', 400, 'EUR') || ' ' || told('r_1', 'r', 2, 'succeeded', 400, 'EUR') || ' ' || sums('r'),
    'applied duplicate authorized 1000, captured 1000, refunded 400', 'is told of, too');
SELECT is(happens('r2', 'capture, succeeded, refund 400') || ' ' || told('r2_1', 'r2', 2, 'declined') || ' ' || sums('r2'),
    'captured applied authorized 1000, captured 1000', 'also when it is declined');

-- Another sum
SELECT is(happens('m', 'capture, claim'), 'capturing', 'a call is under way');
SELECT is(told('m_1', 'm', 1, 'succeeded', 999, 'EUR'), 'mismatch', 'an event that speaks of less is a mismatch');
SELECT is(state('m') || '; ' || calls('m') || '; ' || COALESCE(books('m'), 'no books'), 'unknown; 1 charge unknown 1000; no books',
    'the outcome is unknown, and nothing is booked');
SELECT is((SELECT format('%s %s %s', verdict, amount, currency) FROM _holdfast.provider_event WHERE event = 'm_1'), 'mismatch 999 EUR', 'what it said is remembered');
SELECT is((SELECT count(*) FROM holdfast.unknown_outcomes WHERE payment = payment('m')), 1::bigint, 'for somebody to look into');
SELECT is(told('m_1', 'm', 1, 'succeeded', 1000, 'EUR') || ' ' || state('m'), 'duplicate unknown', 'the event is not taken back');
SELECT is(told('m_2', 'm', 1, 'succeeded', 1000, 'EUR') || ' ' || state('m'), 'applied captured', 'another one that is right is good');
SELECT is(told('m_3', 'm', 1, 'succeeded', 1001, 'EUR') || ' ' || state('m') || '; ' || calls('m'), 'mismatch captured; 1 charge succeeded 1000',
    'what is known stays known');
SELECT is(happens('m' || n, 'capture') || ' ' || told('mm_' || n, 'm' || n, 1, outcome, amount, currency) || ' ' || state('m' || n), 'capturing ' || result,
    'an event of ' || what)
FROM (VALUES (10, 'succeeded', 1001, 'EUR', 'mismatch unknown', 'more'),
             (11, 'succeeded', 1000, 'USD', 'mismatch unknown', 'another currency'),
             (12, 'succeeded', 1000, 'eur', 'mismatch unknown', 'a currency in small letters'),
             (13, 'succeeded', 0, 'EUR', 'mismatch unknown', 'nothing'),
             (14, 'succeeded', -1000, 'EUR', 'mismatch unknown', 'less than nothing'),
             (15, 'succeeded', 9223372036854775807, 'EUR', 'mismatch unknown', 'the greatest bigint'),
             (16, 'declined', 999, 'EUR', 'mismatch unknown', 'a refusal of another sum'),
             (17, 'succeeded', 1000, NULL, 'applied captured', 'the sum without a currency'),
             (18, 'succeeded', NULL, 'EUR', 'applied captured', 'the currency without a sum'),
             (19, 'declined', 1000, 'EUR', 'applied declined', 'a refusal of the right sum')) AS m (n, outcome, amount, currency, result, what) ORDER BY n;
SELECT is(happens('mr', 'capture, succeeded, refund 400') || ' ' || told('mr_1', 'mr', 2, 'succeeded', 1000, 'EUR') || ' ' || sums('mr') || '; ' || calls('mr'),
    'captured mismatch authorized 1000, captured 1000, refunding 400; 1 charge succeeded 1000, 2 refund unknown 400', 'a refund of another sum is unknown, too');

-- Late money
SELECT is(happens('l', 'authorize, claim, void'), 'voided', 'a payment is given up while it is under way');
SELECT is(told('l_1', 'l', 1, 'succeeded') || '; ' || state('l') || '; ' || calls('l'), 'applied; voided; 1 authorize succeeded 1000, 2 void due 1000',
    'an authorization that comes late is let go');
SELECT is(happens('l2', 'capture, unknown, void'), 'voided', 'another one, of which nobody knows');
SELECT is(told('l2_1', 'l2', 1, 'succeeded') || '; ' || state('l2') || '; ' || calls('l2'), 'applied; refunding; 1 charge succeeded 1000, 2 refund due 1000',
    'money that comes late goes back');
SELECT given(1, 10);
SELECT held('ann', 1, 2);
SELECT is(happens('o', 'capture', 'ann') || ' ' || told('o_1', 'o', 1, 'succeeded') || ' ' || account(1), 'capturing applied 8 available, 0 held, 2 sold',
    'an event sells the owner''s units');

-- Rollback
SELECT is(happens('u', 'capture') || ' ' || undone($$SELECT told('u_1', 'u', 1, 'succeeded')$$), 'capturing applied', 'an event that is rolled back');
SELECT is(state('u') || ' ' || told('u_1', 'u', 1, 'succeeded') || ' ' || state('u'), 'capturing applied captured', 'was never told, and can be told again');

-- Refused
SELECT is(happens('x', 'capture'), 'capturing', 'a call is due');
SELECT is((SELECT state FROM holdfast.create_payment(-9223372036854775808, 'least-0001', 1000, 'EUR', 'bank', 'card', NULL, 'capture', payment('least'))), 'capturing',
    'one of the least account');
SELECT is(holdfast.record_event('bank', 'least_1', 'hf_-9223372036854775808_' || payment('least') || '_1', 'succeeded'), 'applied', 'is found by its key');
SELECT refuses(format($$SELECT holdfast.record_event('bank', 'x_1', %L, 'succeeded')$$, key), state, 'record_event() refuses a key that is ' || what)
FROM (VALUES ('', 'HF035', 'empty'), ('hf_', 'HF035', 'a beginning'), ('hf_1_' || payment('x'), 'HF035', 'without a number'), ('hf_1_' || payment('x') || '_', 'HF035',
    'with an empty number'),
    ('hf_1_' || payment('x') || '_2', 'HF035', 'of a call that does not exist'), ('hf_1_' || payment('x') || '_01', 'HF035', 'spelt with a zero'), ('hf_01_'
        || payment('x') || '_1', 'HF035', 'spelt with a zero before'),
    ('hf_+1_' || payment('x') || '_1', 'HF035', 'spelt with a sign'), ('hf_ 1_' || payment('x') || '_1', 'HF035', 'spelt with a blank'), ('hf_1_' || payment('x')
        || '_1 ', 'HF035', 'followed by a blank'),
    ('hf_1_' || payment('x') || '_1x', 'HF035', 'followed by a letter'), (' hf_1_' || payment('x') || '_1', 'HF035', 'preceded by a blank'), ('hf_1_'
        || upper(payment('x')::text) || '_1', 'HF035', 'in capitals'),
    ('hf_1_' || replace(payment('x')::text, '-', '') || '_1', 'HF035', 'without hyphens'), ('hf_1_{' || substr(payment('x')::text, 2) || '_1', 'HF035',
        'of something like a UUID'),
    ('hf_1_' || payment('x') || '_-1', 'HF035', 'of a negative call'), ('hf_1_' || payment('x') || '_4294967297', 'HF035', 'of a call beyond integers'),
        ('hf_18446744073709551617_' || payment('x') || '_1', 'HF035', 'of an account beyond bigints'),
    ('hf_1_' || payment('nobody') || '_1', 'HF027', 'of a payment that does not exist'), ('hf_2_' || payment('x') || '_1', 'HF027', 'of another account'), ('pi_'
        || repeat('9', 100000), 'HF035', 'somebody else''s, and long'))
    AS k (key, state, what) ORDER BY what;
SELECT refuses(format('SELECT holdfast.record_event(%s)', replace(arguments, 'KEY', $$_holdfast.call_key(1, payment('x'), 1)$$)), state, 'record_event() refuses '
    || what, NULL, hint)
FROM (VALUES ($$'nobody', 'x_1', KEY, 'succeeded'$$, 'HF032', 'an unknown provider', 'add_provider'),
             ($$'house', 'x_1', KEY, 'succeeded'$$, 'HF035', 'a provider who has not been asked', NULL),
             ($$'bank', '', KEY, 'succeeded'$$, 'HF039', 'an empty id', NULL),
             ($$'bank', repeat('e', 256), KEY, 'succeeded'$$, 'HF039', 'an id that is too long', NULL),
             ($$'bank', E'evt\n1', KEY, 'succeeded'$$, 'HF039', 'an id of two lines', NULL),
             ($$'bank', 'evt_é', KEY, 'succeeded'$$, 'HF039', 'an id that is not in ASCII', NULL),
             ($$'bank', 'x_1', KEY, 'unknown'$$, '22023', 'an outcome that nobody tells', 'succeeded, declined and pending'),
             ($$'bank', 'x_1', KEY, 'retry'$$, '22023', 'an outcome that is none of his', 'succeeded, declined and pending'),
             ($$'bank', 'x_1', KEY, 'SUCCEEDED'$$, '22023', 'an outcome in capitals', 'succeeded'),
             ($$'bank', 'x_1', KEY, ''$$, '22023', 'no outcome', 'succeeded'),
             ($$NULL, 'x_1', KEY, 'succeeded'$$, '22004', 'a provider that is NULL', NULL),
             ($$'bank', NULL, KEY, 'succeeded'$$, '22004', 'an id that is NULL', NULL),
             ($$'bank', 'x_1', NULL, 'succeeded'$$, '22004', 'a key that is NULL', NULL),
             ($$'bank', 'x_1', KEY, NULL$$, '22004', 'an outcome that is NULL', NULL)) AS a (arguments, state, what, hint) ORDER BY what;
SELECT is(told(repeat('e', 255), 'x', 1, 'succeeded') || ' ' || told('e', 'x', 1, 'succeeded'), 'applied stale', 'ids of 1 and 255 characters are good');

SELECT * FROM finish();
ROLLBACK;

-- receive_webhook(): nothing is believed before the signature is verified; then it is read, and has its effect once.
\ir include/payments.sql
SELECT plan(91);

CREATE FUNCTION secret(p_name text) RETURNS text LANGUAGE sql AS $$ SELECT 'whsec_' || encode(sha256(p_name::bytea), 'base64') $$;
SELECT holdfast.set_webhook_secret('bank', secret('bank'));
SELECT holdfast.add_provider('stripe', 'stripe'), holdfast.set_webhook_secret('stripe', secret('stripe'));

-- The key of a payment's call.
CREATE FUNCTION key(p_name text, p_call integer DEFAULT 1) RETURNS text LANGUAGE sql AS $$ SELECT _holdfast.call_key(1, payment(p_name), p_call) $$;
-- Delivers a body of scheme standard, signed as it should be.
CREATE FUNCTION delivered(p_id text, p_body text) RETURNS text LANGUAGE sql AS $$
    SELECT holdfast.receive_webhook('bank', body, holdfast.sign_webhook('standard', secret('bank'), body, p_id, at), p_id, at::text)
    FROM (SELECT convert_to(p_body, 'UTF8') AS body, extract(epoch FROM clock_timestamp())::bigint AS at) AS t
$$;
-- Delivers what the bank says about a call.
CREATE FUNCTION tells(p_id text, p_type text, p_key text, p_more jsonb DEFAULT '{}') RETURNS text LANGUAGE sql
    AS $$ SELECT delivered(p_id, jsonb_build_object('type', p_type, 'timestamp', now(), 'data', jsonb_build_object('key', p_key) || p_more)::text) $$;
-- Delivers an event of Stripe.
CREATE FUNCTION stripe(p_event text, p_type text, p_key text, p_object jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT holdfast.receive_webhook('stripe', body, holdfast.sign_webhook('stripe', secret('stripe'), body, NULL, at))
    FROM (SELECT convert_to(jsonb_build_object('id', p_event, 'object', 'event', 'type', p_type, 'data', jsonb_build_object('object',
            p_object || jsonb_build_object('metadata', CASE WHEN p_key IS NULL THEN '{}' ELSE jsonb_build_object('holdfast_key', p_key) END)))::text,
                'UTF8') AS body,
        extract(epoch FROM clock_timestamp())::bigint AS at) AS t
$$;

-- Scheme standard
SELECT is(happens('a', 'capture, claim'), 'capturing', 'a call is under way');
SELECT is(tells('m1', 'call.pending', key('a')) || ' ' || calls('a'), 'applied 1 charge due 1000', 'the provider has taken it');
SELECT is(tells('m2', 'call.succeeded', key('a'), '{"amount": 1000, "currency": "EUR", "reference": "ch_1", "reason": "fine"}') || ' ' || state('a'),
    'applied captured', 'and made it');
SELECT is((SELECT format('%s %s', reference, reason) FROM _holdfast.provider_call WHERE payment = payment('a')), 'ch_1 fine', 'reference and reason are kept');
CREATE TABLE before AS SELECT contents() AS stored;
SELECT is(tells('m2', 'call.succeeded', key('a'), '{"amount": 1000, "currency": "EUR"}'), 'duplicate', 'the same webhook again is a duplicate');
SELECT is(tells('m1', 'call.pending', key('a')), 'duplicate', 'so is an earlier one that comes again');
SELECT ok(contents() IS NOT DISTINCT FROM stored, 'they change nothing') FROM before;
SELECT is(tells('m3', 'call.succeeded', key('a')) || ' ' || tells('m4', 'call.declined', key('a')) || ' ' || tells('m5', 'call.pending', key('a'))
    || ' ' || state('a'),
    'stale stale stale captured', 'others that come late change nothing either');
SELECT is(happens('b', 'capture, claim') || ' ' || tells('b1', 'call.declined', key('b'), '{"reason": "expired_card"}') || ' ' || state('b'),
    'capturing applied declined', 'a call is declined');
SELECT is(tells('b2', 'call.succeeded', key('b')) || ' ' || state('b') || '; ' || books('b'), 'applied refunding; provider 1000, due -1000',
    'money that comes all the same goes back');
SELECT is(tells('b3', 'call.succeeded', key('b', 2), '{"amount": 1000}') || ' ' || state('b'), 'applied refunded', 'and has gone back');
SELECT is(happens('c', 'capture, claim') || ' ' || tells('c1', 'call.succeeded', key('c'), '{"amount": 999, "currency": "EUR"}') || ' ' || state('c'),
    'capturing mismatch unknown',
    'another amount leaves the outcome unknown');
SELECT is(happens('d', 'capture, claim') || ' ' || tells('d1', 'call.succeeded', key('d'), '{"amount": 1000, "currency": "JPY"}') || ' ' || state('d'),
    'capturing mismatch unknown',
    'so does another currency');
SELECT is(happens('e', 'capture, claim') || ' ' || tells('e1', 'call.succeeded', key('e'), '{"amount": null, "currency": null, "reference": 17}')
    || ' ' || state('e'),
    'capturing applied captured', 'both may be missing');
SELECT is(happens('f', 'capture, claim') || ' ' || tells('f1', 'call.succeeded', key('f'), '{"amount": 1e3}') || ' ' || state('f'),
    'capturing applied captured', 'an integer is one, however it is spelled');
SELECT is(tells('f2', 'call.declined', key('f'), jsonb_build_object('reason', repeat('x', 100000))), 'stale', 'a long reason harms nobody');

-- What is none of our business
SELECT is(happens('g', 'capture, claim'), 'capturing', 'a call is under way');
DELETE FROM before;
INSERT INTO before SELECT contents();
SELECT is(tells('g1', type, key), 'ignored', sentence)
FROM (VALUES ('invoice.paid', key('g'), 'another type is ignored'), ('call.succeeded', 'order 17', 'another''s key'), ('call.succeeded', '', 'an empty key'),
             ('call.succeeded', key('g', 2), 'a call that we did not make'), ('call.succeeded', key('nobody'), 'a payment that we do not have'),
             ('call.succeeded', upper(key('g')), 'another spelling'), ('call.succeeded', 'hf_99999999999999999999_' || payment('g') || '_1',
                 'an account that cannot be')) AS t (type, key, sentence);
SELECT is((SELECT state FROM holdfast.create_payment(1, new_key(), 1000, 'EUR', 'stripe', 'pm_1', NULL, 'capture', payment('s'))), 'capturing',
    'another provider''s call');
SELECT is(tells('g1', 'call.succeeded', key('s')) || ' ' || state('s'), 'ignored capturing', 'is not the bank''s to tell of');
SELECT is(undone($$SELECT count(*) FROM _holdfast.provider_event WHERE event = 'g1'$$), '0', 'what is ignored is not remembered');

-- Bodies that are none
SELECT refuses(format('SELECT delivered(''h1'', %L)', body), 'HF039', sentence, detail)
FROM (VALUES ('', 'an empty body is malformed', 'not JSON'), ('{', 'half a body', 'not JSON'), ('call.succeeded', 'a body that is no JSON', 'not JSON'),
             ('17', 'a number', 'no object with a type'), ('null', 'null', 'no object with a type'), ('[]', 'an array', 'no object with a type'),
             ('["type"]', 'an array with a word', 'no object with a type'), ('{}', 'an object without a type', 'no object with a type'),
             ('{"type": 1}', 'a type that is no text', 'no object with a type'), ('{"type": "call.succeeded"}', 'no data', 'data.key'),
             ('{"type": "call.succeeded", "data": "x"}', 'data that are no object', 'data.key'), ('{"type": "call.succeeded", "data": {}}', 'no key',
                 'data.key'),
             ('{"type": "call.succeeded", "data": {"key": null}}', 'a key of null', 'data.key'),
             (format('{"type": "call.succeeded", "data": {"key": "%s", "amount": "1000"}}', key('g')), 'an amount that is no number', 'no number'),
             (format('{"type": "call.succeeded", "data": {"key": "%s", "amount": {}}}', key('g')), 'or an object', 'no number'),
             (format('{"type": "call.succeeded", "data": {"key": "%s", "amount": 10.5}}', key('g')), 'or has a fraction', 'no integer'),
             (format('{"type": "call.succeeded", "data": {"key": "%s", "amount": -1}}', key('g')), 'or is negative', 'no integer'),
             (format('{"type": "call.succeeded", "data": {"key": "%s", "amount": 9223372036854775808}}', key('g')), 'or too large', 'no integer'),
             (format('{"type": "call.succeeded", "data": {"key": "%s", "amount": 1e400000}}', key('g')), 'much too large', 'JSON|no integer'),
             (format('{"type": "call.succeeded", "data": {"key": "%s", "currency": "eur"}}', key('g')), 'a currency in small letters', 'three letters'),
             (format('{"type": "call.succeeded", "data": {"key": "%s", "currency": 978}}', key('g')), 'or a number', 'three letters'),
             (format('{"type": "call.succeeded", "data": {"key": "%s\u0000"}}', key('g')), 'a zero byte', 'not JSON'),
             (repeat('[', 100000), 'a body without bottom', 'not JSON')) AS t (body, sentence, detail);
SELECT refuses(format('SELECT holdfast.receive_webhook(''bank'', %L, holdfast.sign_webhook(''standard'', secret(''bank''), %1$L, ''h2'', %s), ''h2'', ''%2$s'')', '\x7bff7d'::bytea,
    extract(epoch FROM clock_timestamp())::bigint), 'HF039', 'a body that is no UTF-8', 'not JSON');

-- Signatures
CREATE FUNCTION signed(p_secret text, p_body text DEFAULT NULL, p_at timestamptz DEFAULT clock_timestamp(), p_id text DEFAULT 'i1',
    p_sent_id text DEFAULT 'i1', p_shift bigint DEFAULT 0)
    RETURNS text LANGUAGE sql AS $$
    SELECT format('SELECT holdfast.receive_webhook(''bank'', %L, %L, %L, %L)', convert_to(COALESCE(p_body, good), 'UTF8'),
        holdfast.sign_webhook('standard', p_secret, convert_to(good, 'UTF8'), p_id, at), p_sent_id, at + p_shift)
    FROM (SELECT format('{"type":"call.succeeded","data":{"key":"%s"}}', key('g')) AS good, extract(epoch FROM p_at)::bigint AS at) AS t
$$;
SELECT is(undone(signed(secret('bank'))), 'applied', 'a good signature');
SELECT refuses(signed(secret('other')), 'HF037', 'of another secret is refused');
SELECT refuses(signed(secret('stripe')), 'HF037', 'also if it is another provider''s');
SELECT refuses(signed(secret('bank'), format('{"type":"call.succeeded","data":{"key":"%s"}} ', key('g'))), 'HF037', 'of a body with a blank more');
SELECT refuses(signed(secret('bank'), format('{"type":"call.succeedeD","data":{"key":"%s"}}', key('g'))), 'HF037', 'or with another letter');
SELECT refuses(signed(secret('bank'), ''), 'HF037', 'or of none');
SELECT refuses(signed(secret('bank'), p_sent_id => 'i2'), 'HF037', 'with another id');
SELECT refuses(signed(secret('bank'), p_shift => 1), 'HF037', 'or time');
SELECT refuses(signed(secret('bank'), p_at => clock_timestamp() - '6 minutes'::interval), 'HF038', 'sent too long ago');
SELECT refuses(signed(secret('bank'), p_at => clock_timestamp() + '6 minutes'::interval), 'HF038', 'or in the future');
SELECT refuses(format('SELECT holdfast.receive_webhook(%s)', arguments), code, sentence)
FROM (VALUES ($$'bank', '{}', NULL, 'j1', '1'$$, 'HF036', 'no signature is malformed'), ($$'bank', '{}', '', 'j1', '1'$$, 'HF036', 'so is an empty one'),
             ($$'bank', '{}', 'v1,x', 'j1', '1'$$, 'HF036', 'or one that is cut off'), ($$'bank', '{}', 'v1,' || repeat('A', 43) || '='$$, 'HF036', 'no id'),
             ($$'bank', '{}', 'v1,' || repeat('A', 43) || '=', 'j1'$$, 'HF036', 'no time'), ($$'bank', NULL, 'x', 'j1', '1'$$, '22004', 'no body is a mistake'),
             ($$NULL, '{}', 'x', 'j1', '1'$$, '22004', 'or no provider'), ($$'nobody', '{}', 'x', 'j1', '1'$$, 'HF032', 'or an unknown one'),
             ($$'stripe', '{}', 'v1=00'$$, 'HF036', 'of scheme stripe, a time is needed')) AS t (arguments, code, sentence);
SELECT holdfast.add_provider('mute');
SELECT refuses($$SELECT holdfast.receive_webhook('mute', '{}', 'x', 'j1', '1')$$, 'HF041', 'a provider without a secret is not listened to', 'mute',
    'set_webhook_secret');

-- Scheme stripe
CREATE FUNCTION at_stripe(p_name text, p_then text) RETURNS text LANGUAGE sql
    AS $$ SELECT state FROM holdfast.create_payment(1, new_key(), 1000, 'EUR', 'stripe', 'pm_1', p_then => p_then, p_payment => payment(p_name)) $$;
SELECT is(stripe('evt_1', 'payment_intent.processing', key('s'), '{"id": "pi_1", "amount": 1000, "currency": "eur"}') || ' ' || state('s'),
    'applied capturing', 'Stripe: processing is pending');
SELECT is(stripe('evt_2', 'payment_intent.succeeded', key('s'), '{"id": "pi_1", "amount": 1000, "amount_received": 1000, "currency": "eur"}') || ' '
    || state('s'), 'applied captured',
    'payment_intent.succeeded is a capture');
SELECT is((SELECT reference FROM _holdfast.provider_call WHERE payment = payment('s')), 'pi_1', 'the intent is the reference');
SELECT is(stripe('evt_2', 'payment_intent.succeeded', key('s'), '{"id": "pi_1", "amount_received": 1000, "currency": "eur"}'), 'duplicate',
    'the event''s id counts');
SELECT is(at_stripe('t', 'authorize') || ' ' || stripe('evt_3', 'payment_intent.amount_capturable_updated', key('t'),
    '{"id": "pi_2", "amount": 1000, "amount_capturable": 1000, "currency": "eur"}')
    || ' ' || state('t'), 'authorizing applied authorized', 'amount_capturable_updated is an authorization');
SELECT is((SELECT state FROM holdfast.capture_payment(1, payment('t'), new_key(), 600)) || ' '
    || stripe('evt_4', 'payment_intent.succeeded', key('t', 2), '{"id": "pi_2", "amount": 1000, "amount_received": 600, "currency": "eur"}') || ' '
        || sums('t'),
    'capturing applied authorized 1000, captured 600', 'a part of it is captured');
SELECT is(at_stripe('u', 'capture') || ' ' || stripe('evt_5', 'payment_intent.payment_failed', key('u'),
    '{"id": "pi_3", "amount": 1000, "currency": "eur", "last_payment_error": {"code": "card_declined"}}')
    || ' ' || state('u'), 'capturing applied declined', 'payment_failed is a refusal');
SELECT is((SELECT reason FROM _holdfast.provider_call WHERE payment = payment('u')), 'card_declined', 'with its code');
SELECT is(at_stripe('v', 'capture') || ' ' || stripe('evt_6', 'payment_intent.succeeded', key('v'),
    '{"id": "pi_4", "amount_received": 1000, "currency": "jpy"}') || ' ' || state('v'),
    'capturing mismatch unknown', 'another currency is a mismatch');
SELECT is((SELECT string_agg(call::text, ' ') FROM unnest('{300,200,100}'::bigint[]) AS amount, holdfast.refund_payment(1, payment('s'), new_key(),
    amount)), '2 3 4', 'refunds');
SELECT is(stripe('evt_7', 'refund.created', key('s', 2), '{"id": "re_1", "status": "pending", "amount": 300, "currency": "eur"}') || ' '
    || stripe('evt_8', 'refund.updated', key('s', 2), '{"id": "re_1", "status": "succeeded", "amount": 300, "currency": "eur"}') || ' '
    || stripe('evt_9', 'charge.refund.updated', key('s', 3), '{"id": "re_2", "status": "failed", "amount": 200, "currency": "eur", "failure_reason": "lost_or_stolen_card"}') || ' '
    || stripe('evt_10', 'refund.updated', key('s', 4), '{"id": "re_3", "status": "canceled", "amount": 100, "currency": "eur"}'),
        'applied applied applied applied', 'are told of as well');
SELECT is((SELECT string_agg(concat_ws(' ', state, reference, reason), ', ' ORDER BY refund) FROM holdfast.refunds WHERE payment = payment('s')),
    'succeeded re_1, declined re_2 lost_or_stolen_card, declined re_3', 'with their reasons');
SELECT is(stripe('evt_11', type, key, object::jsonb), 'ignored', sentence)
FROM (VALUES ('customer.created', key('s'), '{}', 'Stripe: another type is ignored'), ('payment_intent.succeeded', NULL,
    '{"id": "pi_9", "amount_received": 1, "currency": "eur"}', 'an intent that is not ours'),
             ('refund.updated', key('s', 3), '{"status": "requires_action"}', 'a refund that waits for somebody'), ('payment_intent.canceled',
                 key('s'), '{}', 'an intent that was cancelled')) AS t (type, key, object, sentence);
SELECT refuses(format('SELECT stripe(%L, ''payment_intent.succeeded'', key(''v''), %L)', event, object), 'HF039', sentence)
FROM (VALUES (NULL, '{"amount_received": 1000}', 'an event of Stripe has an id'), ('evt_12', '{"amount_received": "1000"}', 'a received amount is a number'),
             ('evt_13', '{"amount_received": 1000, "currency": "euro"}', 'the currency has three letters')) AS t (event, object, sentence);

SELECT is((SELECT count(*) FROM holdfast.verify()), 0::bigint, 'in all that no invariant was broken');
SELECT * FROM finish();
ROLLBACK;

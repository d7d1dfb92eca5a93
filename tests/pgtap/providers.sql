-- Providers: add_provider(), set_webhook_secret(), claim_calls().
\ir include/begin.sql
SELECT plan(117);

-- A provider in words.
CREATE FUNCTION provider(p_name text) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s, %s attempts, %s to %s s, within %s s', scheme, attempts, backoff, backoff_max, tolerance) FROM _holdfast.provider WHERE name = p_name
$$;

-- Adding and changing
SELECT is(undone($$SELECT provider('acme')$$, $$SELECT holdfast.add_provider('acme')$$), 'standard, 8 attempts, 2 to 3600 s, within 300 s',
    'a provider is added, with defaults');
SELECT is(undone($$SELECT provider('a-1_b')$$, $$SELECT holdfast.add_provider('a-1_b', 'stripe', 1, '1 s', '1 s', '30 days')$$),
    'stripe, 1 attempts, 1 to 1 s, within 2592000 s', 'or with what is given');
SELECT is(undone($$SELECT provider('acme')$$, $$SELECT holdfast.add_provider('acme', p_backoff => '1.2 s', p_backoff_max => '1 minute 0.1 s')$$),
    'standard, 8 attempts, 2 to 61 s, within 300 s', 'parts of seconds count as whole ones');
SELECT holdfast.add_provider('acme', p_attempts => 3, p_backoff => '2 minutes', p_backoff_max => '10 minutes');
SELECT is(undone($$SELECT provider('acme')$$, $$SELECT holdfast.add_provider('acme', 'stripe', 5)$$), 'stripe, 5 attempts, 2 to 3600 s, within 300 s',
    'adding it again changes it');
SELECT is(undone('SELECT count(*) FROM _holdfast.provider', $$SELECT holdfast.add_provider('acme')$$), '1', 'and adds nothing');
SELECT refuses($$SELECT holdfast.add_provider(NULL)$$, '22004', 'a provider needs a name');
SELECT refuses(format($$SELECT holdfast.add_provider('x', %s => NULL)$$, argument), '22004', argument || ' must not be null')
FROM unnest('{p_scheme,p_attempts,p_backoff,p_backoff_max,p_tolerance}'::text[]) AS argument;
SELECT refuses(format('SELECT holdfast.add_provider(%s)', arguments), '22023', sentence, detail)
FROM (VALUES ($$''$$, 'a name must not be empty', 'letter'),
             ($$'Acme'$$, 'or have capitals', 'lower-case'),
             ($$'1acme'$$, 'or begin with a digit', 'letter'),
             ($$E'acme\n'$$, 'or end with a line end', 'letter'),
             ($$repeat('a', 64)$$, 'or be longer than 63', '63'),
             ($$'x', 'Stripe'$$, 'there are two schemes', 'standard nor stripe'),
             ($$'x', p_attempts => 0$$, 'there is at least one attempt', '0 attempts'),
             ($$'x', p_attempts => 1001$$, 'there are at most 1000', '1001 attempts'),
             ($$'x', p_backoff => '0'$$, 'a back-off is not zero', '1 second to 30 days'),
             ($$'x', p_backoff => '0.9 s'$$, 'nor less than a second', '1 second to 30 days'),
             ($$'x', p_backoff => '-1 s'$$, 'nor negative', '1 second to 30 days'),
             ($$'x', p_backoff_max => '31 days'$$, 'the longest is not above 30 days', '1 second to 30 days'),
             ($$'x', p_backoff => '10 s', p_backoff_max => '9 s'$$, 'nor below the shortest', 'longer'),
             ($$'x', p_tolerance => '0'$$, 'the tolerance is not zero', '1 second to 30 days'),
             ($$'x', p_tolerance => '178000000 years'$$, 'nor any time', '1 second to 30 days'),
             ($$'simulated', 'stripe'$$, 'the simulated provider has its scheme', 'standard')) AS t (arguments, sentence, detail);

-- Secrets. A webhook that is signed with the secret, and what receive_webhook() says: ignored, for it is about nothing.
CREATE FUNCTION secret(p_name text) RETURNS text LANGUAGE sql AS $$ SELECT 'whsec_' || encode(sha256(p_name::bytea), 'base64') $$;
CREATE FUNCTION webhook(p_secret text, p_scheme text DEFAULT 'standard', p_provider text DEFAULT 'acme', p_at timestamptz DEFAULT clock_timestamp())
    RETURNS text LANGUAGE sql AS $$
    SELECT format('SELECT holdfast.receive_webhook(%L, %L, %L, %L, %L)', p_provider, body, holdfast.sign_webhook(p_scheme, p_secret, body, 'e1', at), 'e1', at)
    FROM (SELECT '{"type": "test"}'::bytea AS body, extract(epoch FROM p_at)::bigint AS at) AS t
$$;
SELECT refuses(webhook(secret('first')), 'HF041', 'without a secret no webhook is taken', '"acme" has no valid secret', 'set_webhook_secret');
SELECT holdfast.set_webhook_secret('acme', secret('first'));
SELECT is(undone(webhook(secret('first'))), 'ignored', 'with its secret it is');
SELECT refuses(webhook(secret('second')), 'HF037', 'with another one it is not');
SELECT refuses(webhook(secret('first'), p_at => clock_timestamp() - '301 s'::interval), 'HF038', 'nor when it was sent too long ago');
SELECT holdfast.add_provider('acme', p_attempts => 3, p_backoff => '2 minutes', p_backoff_max => '10 minutes', p_tolerance => '400 s');
SELECT is(undone(webhook(secret('first'), p_at => clock_timestamp() - '301 s'::interval)), 'ignored', 'unless the provider''s tolerance allows it');
SELECT refuses($$SELECT holdfast.add_provider('acme', 'stripe')$$, '22023', 'a provider with secrets keeps its scheme', 'secrets of another scheme');
SELECT holdfast.set_webhook_secret('acme', secret('second'));
SELECT is(undone(webhook(secret('second'))), 'ignored', 'after a rotation the new secret is good');
SELECT is(undone(webhook(secret('first'))), 'ignored', 'and the old one still is');
SELECT is((SELECT string_agg(CASE WHEN valid_until = 'infinity' THEN 'for good' ELSE round(extract(epoch FROM valid_until - clock_timestamp()) / 60)::text END,
    ', ' ORDER BY added_at) FROM _holdfast.webhook_secret), '1440, for good', 'for a day');
SELECT holdfast.set_webhook_secret('acme', secret('third'), '1 hour');
SELECT is((SELECT string_agg(round(extract(epoch FROM valid_until - clock_timestamp()) / 60)::text, ', ' ORDER BY added_at) FROM _holdfast.webhook_secret
    WHERE valid_until < 'infinity'), '60, 60', 'a later rotation can make it shorter');
SELECT holdfast.set_webhook_secret('acme', secret('fourth'));
SELECT is((SELECT string_agg(round(extract(epoch FROM valid_until - clock_timestamp()) / 60)::text, ', ' ORDER BY added_at) FROM _holdfast.webhook_secret
    WHERE valid_until < 'infinity'), '60, 60, 1440', 'but not longer');
SELECT holdfast.set_webhook_secret('acme', secret('second'));
SELECT is((SELECT count(*) FILTER (WHERE valid_until = 'infinity' AND secret = secret('second')) || ' of ' || count(*) FROM _holdfast.webhook_secret),
    '1 of 4', 'an old secret that is set again is the new one');
UPDATE _holdfast.webhook_secret SET valid_until = clock_timestamp() WHERE secret = secret('first');
SELECT refuses(webhook(secret('first')), 'HF037', 'after its time a secret is good no more');
SELECT holdfast.set_webhook_secret('acme', secret('fifth'));
SELECT is((SELECT count(*) FROM _holdfast.webhook_secret WHERE secret = secret('first')), 0::bigint, 'and then it is forgotten');
SELECT holdfast.set_webhook_secret('acme', secret('sixth'), '0');
SELECT is((SELECT string_agg(secret, ', ') FROM _holdfast.webhook_secret), secret('sixth'), 'without an overlap all others are');
SELECT holdfast.add_provider('wares', 'stripe');
SELECT holdfast.set_webhook_secret('wares', 'whsec_anything');
SELECT is(undone(webhook('whsec_anything', 'stripe', 'wares')), 'ignored', 'other providers have secrets of their own');
SELECT refuses(webhook('whsec_anything', 'stripe', 'acme'), 'HF036', 'which are no good elsewhere');
SELECT refuses(format('SELECT holdfast.set_webhook_secret(%s)', arguments), code, sentence, detail)
FROM (VALUES ($$NULL, 'x'$$, '22004', 'a secret has a provider', NULL),
             ($$'nobody', 'x'$$, 'HF032', 'one that is known', 'no provider "nobody"'),
             ($$'acme', NULL$$, '22004', 'a secret is not null', NULL),
             ($$'acme', ''$$, '22023', 'nor empty', NULL),
             ($$'acme', 'whsec_c2hvcnQ='$$, '22023', 'nor too short', NULL),
             ($$'acme', 'whsec_*not base64 at all, but quite long*'$$, '22023', 'nor something else', NULL),
             ($$'acme', secret('x'), NULL$$, '22004', 'the overlap is not null', NULL),
             ($$'acme', secret('x'), '-1 s'$$, '22023', 'nor negative', '0 to 30 days'),
             ($$'acme', secret('x'), '31 days'$$, '22023', 'nor too long', '0 to 30 days')) AS t (arguments, code, sentence, detail);
SELECT is((SELECT array_to_string(proconfig, ', ') FROM pg_proc WHERE proname = 'set_webhook_secret'),
    'search_path=pg_catalog, pg_temp, log_min_error_statement=panic',
    'a statement that sets a secret and fails is not logged');

-- Claims. Payments by name; each is due.
CREATE FUNCTION charge(p_name text, p_provider text DEFAULT 'acme', p_then text DEFAULT 'capture') RETURNS void LANGUAGE sql
    AS $$ SELECT holdfast.create_payment(7, 'create ' || p_name, 1000, 'EUR', p_provider, 'card of ' || p_name, p_then => p_then,
        p_payment => owner(p_name)) $$;
CREATE FUNCTION due(p_name text, p_in interval DEFAULT '-1 s') RETURNS void LANGUAGE sql
    AS $$ UPDATE _holdfast.provider_call SET due_at = clock_timestamp() + p_in WHERE payment = owner(p_name) AND state IN ('d', 'u') $$;
-- Claims, and says whose calls they are: name and attempt.
CREATE FUNCTION claimed(p_limit integer DEFAULT 100, p_lease interval DEFAULT '30 minutes') RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(split_part(method, ' ', 3) || ' ' || attempt, ', ' ORDER BY method) FROM holdfast.claim_calls('acme', p_limit, p_lease)
$$;
-- A call in words: state, attempts, minutes until it is due.
CREATE FUNCTION call(p_name text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s %s %s', state, attempts, round(extract(epoch FROM due_at - clock_timestamp()) / 60)), ', ') FROM holdfast.open_calls
    WHERE payment = owner(p_name)
$$;

SELECT is(claimed(), NULL, 'when nothing is due nothing is claimed');
SELECT charge('ann');
SELECT results_eq($$SELECT account_id, payment, call, key, kind, amount, currency, method, owner, original, attempt,
        leased_until BETWEEN clock_timestamp() AND clock_timestamp() + '30 s'
        FROM holdfast.claim_calls('acme')$$,
    $$VALUES (7::bigint, owner('ann'), 1, _holdfast.call_key(7, owner('ann'), 1), 'charge', 1000::bigint, 'EUR', 'card of ann', NULL::uuid, NULL::text,
        1, true)$$,
    'a claim has all that a worker must know');
SELECT is(claimed(), NULL, 'for half a minute nobody else gets the call');
SELECT due('ann');
SELECT is(claimed(p_lease => '1 day'), 'ann 2', 'after its end the call is claimed again');
SELECT is(call('ann'), 'pending 2 1440', 'for as long as is wanted');
SELECT charge('bob');
SELECT charge('cid');
SELECT charge('dan');
SELECT due('bob', '-3 s'), due('cid', '-2 s'), due('dan', '1 hour');
SELECT is(claimed(1), 'bob 1', 'who is due longest is first');
SELECT is(claimed(1), 'cid 1', 'the next follows');
SELECT is(claimed(), NULL, 'who is not due waits');
SELECT charge('eve', 'wares');
SELECT is(claimed(), NULL, 'the calls of another provider are not claimed');
SELECT is((SELECT count(*) FROM holdfast.claim_calls('wares')), 1::bigint, 'but by his worker');
SELECT is(undone('SELECT claimed()', $$SELECT holdfast.record_result(7, owner('bob'), 1, 'succeeded'); SELECT due('bob')$$), NULL,
    'what is settled is not claimed');

-- Answers that are none
SELECT is(holdfast.record_result(7, owner('bob'), 1, 'retry') || ', ' || call('bob'), 'capturing, pending 1 2', 'after the first attempt there is a pause');
SELECT due('bob');
SELECT is(claimed(), 'bob 2', 'then the call is made again');
SELECT is(holdfast.record_result(7, owner('bob'), 1, 'retry') || ', ' || call('bob'), 'capturing, pending 2 4', 'the next pause is twice as long');
SELECT due('bob');
SELECT is(claimed(), 'bob 3', 'then comes the last attempt');
SELECT is(undone($$SELECT holdfast.record_result(7, owner('bob'), 1, 'retry') || ', ' || call('bob')$$), 'unknown, unknown 3 10',
    'after which the outcome is unknown');
SELECT due('bob');
SELECT is(claimed(), NULL, 'as it is when the worker never says anything');
SELECT is(call('bob') || ', ' || (SELECT state FROM holdfast.payments WHERE payment = owner('bob')), 'unknown 3 10, unknown',
    'it is asked again after the longest pause');
SELECT is((SELECT reason FROM holdfast.unknown_outcomes), 'no answer', 'the reason says so');
SELECT due('bob');
SELECT is(claimed(p_lease => '1 minute'), 'bob 4', 'and is claimed then');
SELECT is(call('bob'), 'unknown 4 10', 'but not sooner again, however short the lease');
SELECT due('bob');
SELECT is(claimed(p_lease => '20 minutes') || ', ' || call('bob'), 'bob 5, unknown 5 20', 'though later');
SELECT is(holdfast.record_result(7, owner('bob'), 1, 'succeeded', 'ch_bob'), 'captured', 'the answer is taken whenever it comes');
SELECT is(holdfast.record_result(7, owner('cid'), 1, 'pending') || ', ' || call('cid'), 'capturing, pending 1 10',
    'what is pending is looked at after the longest pause');
UPDATE _holdfast.provider_call SET attempts = 3 WHERE payment IN (owner('cid'), owner('dan'));
SELECT due('cid'), due('dan');
SELECT is(undone('SELECT claimed(1)'), NULL, 'silent calls are recorded as unknown');
SELECT is(undone($$SELECT string_agg(state, ' ' ORDER BY state) FROM holdfast.open_calls WHERE payment IN (owner('cid'), owner('dan'))$$, 'SELECT claimed(1)'),
    'pending unknown', 'no more of them than calls are wanted');
SELECT is(claimed(), NULL, 'or all');
SELECT is(call('cid') || ', ' || call('dan'), 'unknown 3 10, unknown 3 10', 'of the provider');

-- What was made before
SELECT is(holdfast.record_result(7, owner('ann'), 1, 'succeeded', 'ch_ann'), 'captured', 'a charge succeeds');
SELECT is((SELECT state FROM holdfast.refund_payment(7, owner('ann'), 'refund ann', 300)), 'captured', 'and is refunded');
SELECT results_eq($$SELECT kind, call, amount, original FROM holdfast.claim_calls('acme')$$, $$VALUES ('refund', 2, 300::bigint, 'ch_ann')$$,
    'a refund names the charge');
SELECT charge('fay', p_then => 'authorize'), charge('guy', p_then => 'authorize');
SELECT is((SELECT string_agg(kind, ' ') FROM holdfast.claim_calls('acme')), 'authorize authorize', 'payments are authorized');
SELECT is(holdfast.record_result(7, owner('fay'), 1, 'succeeded', 'au_fay') || holdfast.record_result(7, owner('guy'), 1, 'succeeded', 'au_guy'),
    'authorizedauthorized', 'both');
SELECT is((SELECT state FROM holdfast.capture_payment(7, owner('fay'), 'capture fay', 600)) || (SELECT state FROM holdfast.void_payment(7,
    owner('guy'), 'void guy')),
    'capturingvoided', 'one is captured, the other voided');
SELECT results_eq($$SELECT kind, amount, original FROM holdfast.claim_calls('acme') ORDER BY kind$$, $$VALUES ('capture', 600::bigint, 'au_fay'),
    ('void', 1000, 'au_guy')$$,
    'a capture and a void name the authorization');
SELECT is(holdfast.record_result(7, owner('fay'), 2, 'succeeded', 'ca_fay'), 'captured', 'the capture succeeds');
SELECT is((SELECT call FROM holdfast.refund_payment(7, owner('fay'), 'refund fay')), 3, 'and is refunded');
SELECT results_eq($$SELECT kind, amount, original FROM holdfast.claim_calls('acme')$$, $$VALUES ('refund', 600::bigint, 'ca_fay')$$,
    'the refund names the capture');

-- What was given up is asked about, and not made any more.
CREATE FUNCTION given_up(p_name text, p_then text) RETURNS text LANGUAGE sql AS $$
    SELECT charge(p_name, p_then => p_then);
    SELECT holdfast.claim_calls('acme');
    SELECT holdfast.record_result(7, owner(p_name), 1, 'unknown');
    SELECT state FROM holdfast.void_payment(7, owner(p_name), 'void ' || p_name);
$$;
SELECT is(given_up('hal', 'capture') || given_up('ida', 'authorize'), 'voidedvoided', 'payments whose outcome is unknown are given up');
SELECT charge('jim', p_then => 'authorize'), charge('kim', p_then => 'authorize'), charge('leo', p_then => 'authorize');
SELECT is((SELECT string_agg(kind, ' ') FROM holdfast.claim_calls('acme')), 'authorize authorize authorize', 'others are authorized');
SELECT is((SELECT state FROM holdfast.void_payment(7, owner('jim'), 'void jim')), 'voided', 'one of them is given up before there is an answer');
SELECT is(holdfast.record_result(7, owner('kim'), 1, 'succeeded', 'au_kim') || holdfast.record_result(7, owner('leo'), 1, 'succeeded', 'au_leo'),
    'authorizedauthorized', 'for the others there is one');
SELECT is((SELECT state FROM holdfast.capture_payment(7, owner('kim'), 'capture kim', 600)) || (SELECT state FROM holdfast.capture_payment(7, owner('leo'),
    'capture leo')), 'capturingcapturing', 'they are captured');
SELECT is((SELECT string_agg(kind, ' ') FROM holdfast.claim_calls('acme')), 'capture capture', 'and nobody has heard of it');
SELECT is(holdfast.record_result(7, owner('kim'), 2, 'unknown') || holdfast.record_result(7, owner('leo'), 2, 'unknown'), 'unknownunknown', 'for long');
SELECT is((SELECT state FROM holdfast.void_payment(7, owner('kim'), 'void kim')), 'voided', 'so one is given up');
SELECT due(name) FROM unnest('{hal,ida,jim,kim,leo}'::text[]) AS name;
SELECT results_eq($$SELECT method, kind, call, key = _holdfast.call_key(7, payment, call), amount, original, attempt FROM holdfast.claim_calls('acme') ORDER BY method$$,
    $$VALUES ('card of hal', 'lookup', 1, true, 1000::bigint, NULL::text, 2), ('card of ida', 'lookup', 1, true, 1000, NULL, 2),
        ('card of jim', 'lookup', 1, true, 1000, NULL, 2), ('card of kim', 'lookup', 2, true, 600, 'au_kim', 2), ('card of leo', 'capture', 2, true, 1000, 'au_leo', 2)$$,
    'of a payment that was given up nothing is made: what has become of its call is looked up, with the same key');
SELECT is(holdfast.record_result(7, owner('hal'), 1, 'unknown') || ' ' || call('hal'), 'voided unknown 2 10', 'without an answer it is looked up again');
SELECT is(holdfast.record_result(7, owner('ida'), 1, 'succeeded', 'au_ida') || holdfast.record_result(7, owner('jim'), 1, 'declined')
    || holdfast.record_result(7, owner('kim'), 2, 'declined'), 'voidedvoidedvoided', 'one was made, the others were not');
SELECT results_eq($$SELECT method, kind, call, amount, original FROM holdfast.claim_calls('acme') ORDER BY method$$,
    $$VALUES ('card of ida', 'void', 2, 1000::bigint, 'au_ida'), ('card of kim', 'void', 3, 1000, 'au_kim')$$, 'what was set aside is let go');
SELECT is(holdfast.record_result(7, owner('hal'), 1, 'succeeded', 'ch_hal'), 'refunding', 'the first was made after all');
SELECT results_eq($$SELECT method, kind, call, amount, original FROM holdfast.claim_calls('acme')$$, $$VALUES ('card of hal', 'refund', 2, 1000::bigint, 'ch_hal')$$,
    'that money goes back');

-- Bad input
SELECT refuses($$SELECT count(*) FROM holdfast.claim_calls('nobody')$$, 'HF032', 'an unknown provider has no calls', 'no provider "nobody"', 'add_provider');
SELECT refuses($$SELECT count(*) FROM holdfast.claim_calls(NULL)$$, '22004', 'nor has none');
SELECT refuses(format($$SELECT count(*) FROM holdfast.claim_calls('acme', %s)$$, arguments), code, sentence)
FROM (VALUES ('NULL', '22004', 'the limit is not null'), ('0', '22023', 'nor zero'), ('-1', '22023', 'nor negative'), ('10001', '22023', 'nor above 10000'),
             ('1, NULL', '22004', 'the lease is not null'), ($$1, '0'$$, '22023', 'nor zero'), ($$1, '-1 s'$$, '22023', 'nor negative'),
             ($$1, '25 hours'$$, '22023', 'nor above a day')) AS t (arguments, code, sentence);
SELECT is((SELECT count(*) FROM holdfast.verify()), 0::bigint, 'in all that no invariant was broken');

SELECT * FROM finish();
ROLLBACK;

-- The simulated provider: every test card, every kind of call, both ledgers equal.
\ir include/begin.sql
SELECT plan(104);

-- A payment of 1000 by a card, for an owner's three units of SKU 1, by its name.
CREATE FUNCTION order_of(p_name text, p_method text, p_then text DEFAULT 'capture') RETURNS text LANGUAGE sql AS $$
    SELECT held(p_name, 1, 3);
    SELECT state FROM holdfast.create_payment(1, 'create ' || p_name, 1000, 'EUR', 'simulated', p_method, owner(p_name), p_then, owner(p_name))
$$;
-- A payment in words, with its owner's hold.
CREATE FUNCTION payment(p_name text) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s: authorized %s, captured %s, refunding %s, refunded %s; %s', state, authorized, captured, refunding, refunded, hold(p_name, 1))
    FROM holdfast.payments WHERE payment = owner(p_name)
$$;
-- What the provider says of a payment's calls.
CREATE FUNCTION provider_says(p_name text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', kind, amount, state, reason), ', ' ORDER BY heard_at) FROM holdfast.simulated_statement
    WHERE key LIKE '%\_' || owner(p_name) || '\_%'
$$;
-- What he and we do not agree about.
CREATE FUNCTION differences() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', difference, our_state, their_state), ', ') FROM holdfast.reconcile('simulated', (SELECT array_agg(key)
        FROM holdfast.simulated_statement),
        (SELECT array_agg(amount) FROM holdfast.simulated_statement), (SELECT array_agg(state) FROM holdfast.simulated_statement))
$$;
-- Time goes by: everything that is open is due.
CREATE FUNCTION later() RETURNS void LANGUAGE sql AS $$ UPDATE _holdfast.provider_call SET due_at = clock_timestamp() WHERE state IN ('d', 'u') $$;

SELECT given(1, 1000);
SELECT refuses('SELECT holdfast.simulate_provider()', 'HF032', 'it must be added: it gives goods for nothing', '"simulated"', 'add_provider');
SELECT refuses($$SELECT order_of('x', 'test_approve')$$, 'HF032', 'before that no payment can be made there');
SELECT holdfast.add_provider('simulated', p_attempts => 3, p_backoff => '10 minutes');
SELECT is(holdfast.simulate_provider(), 0, 'without calls it has nothing to answer');
SELECT is((SELECT count(*) FROM _holdfast.webhook_secret WHERE provider = 'simulated' AND secret ~ '^whsec_.{44}$'), 1::bigint, 'it has made a secret');
SELECT holdfast.add_provider('simulated', p_attempts => 3, p_backoff => '10 minutes');
SELECT is((SELECT count(*) FROM _holdfast.webhook_secret), 1::bigint, 'once');

-- test_approve
SELECT is(order_of('ann', 'test_approve'), 'capturing', 'test_approve: asked for');
SELECT is(payment('ann'), 'capturing: authorized 0, captured 0, refunding 0, refunded 0; pinned 3', 'the units are pinned');
SELECT is(holdfast.simulate_provider(), 1, 'answered');
SELECT is(payment('ann'), 'captured: authorized 1000, captured 1000, refunding 0, refunded 0; confirmed 3', 'captured, and the units sold');
SELECT is(holdfast.simulate_provider(), 0, 'that was all');
SELECT is(provider_says('ann'), 'charge 1000 succeeded', 'the provider says the same');
SELECT is((SELECT reference FROM _holdfast.provider_call WHERE payment = owner('ann')), 'sim_1_' || owner('ann') || '_1', 'under a name of his');

-- test_decline, test_insufficient_funds, and what there is not
SELECT is(order_of('bob', 'test_decline') || order_of('cid', 'test_insufficient_funds') || order_of('dan', '4242'), 'capturingcapturingcapturing',
    'three that go wrong');
SELECT is(holdfast.simulate_provider(2) || ', ' || holdfast.simulate_provider(2), '2, 1', 'answered, two at a time');
SELECT is(payment('bob'), 'declined: authorized 0, captured 0, refunding 0, refunded 0; held 3', 'test_decline: declined, and the units have a deadline again');
SELECT is(payment('cid') || payment('dan'), replace(payment('bob') || payment('bob'), 'bob', ''), 'as are the others');
SELECT is(provider_says('bob') || ', ' || provider_says('cid') || ', ' || provider_says('dan'),
    'charge 1000 declined card_declined, charge 1000 declined insufficient_funds, charge 1000 declined unknown_method', 'with reasons');
SELECT is((SELECT string_agg(reason, ', ' ORDER BY reason) FROM holdfast.payment_history WHERE input = 'declined'),
    'card_declined, insufficient_funds, unknown_method',
    'that are in our history');

-- test_timeout
SELECT is(order_of('eve', 'test_timeout'), 'capturing', 'test_timeout: asked for');
SELECT is(holdfast.simulate_provider(), 0, 'not answered');
SELECT is(payment('eve'), 'capturing: authorized 0, captured 0, refunding 0, refunded 0; pinned 3', 'we wait');
SELECT is(provider_says('eve') || '; ' || differences(), 'charge 1000 succeeded; state differs pending succeeded', 'though he has the money');
SELECT is(holdfast.simulate_provider(), 0, 'he is not asked again at once');
SELECT later();
SELECT is(holdfast.simulate_provider(), 1, 'asked again, he answers');
SELECT is(payment('eve'), 'captured: authorized 1000, captured 1000, refunding 0, refunded 0; confirmed 3', 'captured');
SELECT is(provider_says('eve'), 'charge 1000 succeeded', 'once');
SELECT is(differences(), NULL, 'now we agree');

-- test_webhook_twice
SELECT is(order_of('fay', 'test_webhook_twice'), 'capturing', 'test_webhook_twice: asked for');
SELECT is(holdfast.simulate_provider(), 1, 'answered by webhook');
SELECT is(payment('fay'), 'captured: authorized 1000, captured 1000, refunding 0, refunded 0; confirmed 3', 'captured');
SELECT is((SELECT count(*) FROM holdfast.ledger WHERE payment = owner('fay')) || ' ' || (SELECT string_agg(verdict, ' ')
    FROM _holdfast.provider_event), '2 applied',
    'once, though the webhook came twice');

-- test_silent
SELECT is(order_of('guy', 'test_silent'), 'capturing', 'test_silent: asked for');
SELECT is(holdfast.simulate_provider(), 0, 'not answered');
SELECT is(differences(), NULL, 'to both it is pending');
SELECT later();
SELECT is(holdfast.simulate_provider(), 0, 'nor when asked again');
SELECT later();
SELECT is(holdfast.simulate_provider(), 0, 'nor the third time');
SELECT is(payment('guy'), 'unknown: authorized 0, captured 0, refunding 0, refunded 0; pinned 3', 'then it is unknown, and the units stay pinned');
SELECT is((SELECT string_agg(concat_ws(' ', payment_state, kind, attempts, reason), ', ') FROM holdfast.unknown_outcomes), 'unknown charge 3 timeout',
    'for somebody to look into');
SELECT is(differences(), 'state differs unknown pending', 'as it is in a reconciliation');
SELECT later();
SELECT is(holdfast.simulate_provider() || payment('guy'), '0unknown: authorized 0, captured 0, refunding 0, refunded 0; pinned 3',
    'asked again, he is silent again');
SELECT is((SELECT state FROM holdfast.void_payment(1, owner('guy'), 'void guy')), 'voided', 'it can be given up');
SELECT is(hold('guy', 1), 'held 3', 'then the units have a deadline');
SELECT is(holdfast.record_result(1, owner('guy'), 1, 'succeeded', 'sim_1_' || owner('guy') || '_1'), 'refunding', 'money that comes all the same');
UPDATE _holdfast.simulated_call SET state = 'succeeded' WHERE key = _holdfast.call_key(1, owner('guy'), 1);
UPDATE _holdfast.payment SET method = 'test_approve' WHERE id = owner('guy');
SELECT is(holdfast.simulate_provider(), 1, 'goes back by itself');
SELECT is(payment('guy'), 'refunded: authorized 1000, captured 1000, refunding 0, refunded 1000; held 3', 'all of it');
SELECT is(provider_says('guy'), 'charge 1000 succeeded, refund 1000 succeeded', 'says the provider');
SELECT is(differences(), NULL, 'we agree');

-- Authorizing first: each card again
SELECT is(string_agg(order_of('two ' || method, method, 'authorize'), ' '), 'authorizing authorizing authorizing authorizing',
    'payments are authorized by the cards that approve, and one that does not')
FROM unnest('{test_approve,test_timeout,test_webhook_twice,test_decline}'::text[]) AS method;
SELECT is(holdfast.simulate_provider(), 3, 'three answers');
SELECT later();
SELECT is(holdfast.simulate_provider(), 1, 'and one');
SELECT is((SELECT string_agg(payment('two ' || method), ', ') FROM unnest('{test_approve,test_timeout,test_webhook_twice}'::text[]) AS method),
    repeat('authorized: authorized 1000, captured 0, refunding 0, refunded 0; held 3, ', 2)
        || 'authorized: authorized 1000, captured 0, refunding 0, refunded 0; held 3',
    'the money is set aside, the units have a deadline');
SELECT is(payment('two test_decline'), 'declined: authorized 0, captured 0, refunding 0, refunded 0; held 3', 'or not');
SELECT is((SELECT string_agg(state, ' ') FROM unnest('{test_approve,test_timeout,test_webhook_twice}'::text[]) AS method,
    holdfast.capture_payment(1, owner('two ' || method), 'capture ' || method, 700)), 'capturing capturing capturing', 'a part of it is captured');
SELECT is(holdfast.simulate_provider(), 2, 'he answers');
SELECT later();
SELECT is(holdfast.simulate_provider(), 1, 'in the end all');
SELECT is((SELECT string_agg(DISTINCT payment('two ' || method), ', ') FROM unnest('{test_approve,test_timeout,test_webhook_twice}'::text[]) AS method),
    'captured: authorized 1000, captured 700, refunding 0, refunded 0; confirmed 3', 'captured, and the units sold');
SELECT is((SELECT string_agg(state, ' ') FROM unnest('{test_approve,test_timeout,test_webhook_twice}'::text[]) AS method,
    holdfast.refund_payment(1, owner('two ' || method), 'refund ' || method, 200)), 'captured captured captured', 'a part of that is refunded');
SELECT is((SELECT string_agg(call::text, ' ') FROM unnest('{test_approve,test_timeout,test_webhook_twice}'::text[]) AS method,
    holdfast.refund_payment(1, owner('two ' || method), 'refund again ' || method)), '4 4 4', 'then the rest');
SELECT is(holdfast.simulate_provider(), 4, 'he answers');
SELECT later();
SELECT is(holdfast.simulate_provider(), 2, 'in the end all');
SELECT is((SELECT string_agg(DISTINCT payment('two ' || method), ', ') FROM unnest('{test_approve,test_timeout,test_webhook_twice}'::text[]) AS method),
    'refunded: authorized 1000, captured 700, refunding 0, refunded 700; confirmed 3', 'the money is back; the units stay sold');
SELECT is(order_of('hal', 'test_approve', 'authorize') || holdfast.simulate_provider(), 'authorizing1', 'another one is authorized');
SELECT is((SELECT state FROM holdfast.void_payment(1, owner('hal'), 'void hal')) || holdfast.simulate_provider(), 'voided1', 'and voided');
SELECT is(provider_says('hal'), 'authorize 1000 succeeded, void 1000 succeeded', 'the provider has let it go');

-- What was given up is looked up, and not made.
SELECT is(order_of('ida', 'test_approve') || order_of('jim', 'test_approve', 'authorize'), 'capturingauthorizing', 'others are asked for');
SELECT is((SELECT count(*) FROM holdfast.claim_calls('simulated')), 2::bigint, 'by a worker who then dies');
SELECT is(holdfast.record_result(1, owner('ida'), 1, 'unknown'), 'unknown', 'so that nobody knows');
SELECT is(string_agg((SELECT state FROM holdfast.void_payment(1, owner(name), 'void ' || name)), ' '), 'voided voided', 'and given up')
    FROM unnest('{ida,jim}'::text[]) AS name;
SELECT later();
SELECT is(holdfast.simulate_provider(), 2, 'he is asked what he knows of them');
SELECT is(provider_says('ida') || provider_says('jim'), NULL, 'nothing, and so it stays');
SELECT is((SELECT string_agg(concat_ws(' ', kind, state, reason), ', ' ORDER BY kind) FROM _holdfast.provider_call WHERE payment IN (owner('ida'), owner('jim'))),
    'a f never_made, s f never_made', 'they were never made');
SELECT is(payment('ida') || '; ' || payment('jim'), 'voided: authorized 0, captured 0, refunding 0, refunded 0; held 3; '
    'voided: authorized 0, captured 0, refunding 0, refunded 0; held 3', 'no money has moved');
SELECT is(holdfast.simulate_provider(), 0, 'that was all');
SELECT is(order_of('kim', 'test_timeout') || order_of('leo', 'test_timeout', 'authorize'), 'capturingauthorizing', 'of some he has heard');
SELECT is(holdfast.simulate_provider(), 0, 'and not said so');
SELECT is(holdfast.record_result(1, owner('kim'), 1, 'unknown'), 'unknown', 'so that nobody knows');
SELECT is(string_agg((SELECT state FROM holdfast.void_payment(1, owner(name), 'void ' || name)), ' '), 'voided voided', 'before they were given up')
    FROM unnest('{kim,leo}'::text[]) AS name;
SELECT later();
SELECT is(holdfast.simulate_provider(), 2, 'he is asked what he knows of them');
SELECT is(provider_says('kim') || '; ' || provider_says('leo'), 'charge 1000 succeeded; authorize 1000 succeeded', 'what he has answered all along');
SELECT is(payment('kim') || '; ' || payment('leo'), 'refunding: authorized 1000, captured 1000, refunding 1000, refunded 0; held 3; '
    'voided: authorized 0, captured 0, refunding 0, refunded 0; held 3', 'one has taken money, the other has set it aside');
SELECT is(holdfast.simulate_provider(), 0, 'to give it back takes him two attempts, as everything');
SELECT later();
SELECT is(holdfast.simulate_provider(), 2, 'as with this card');
SELECT is(provider_says('kim') || '; ' || provider_says('leo'), 'charge 1000 succeeded, refund 1000 succeeded; authorize 1000 succeeded, void 1000 succeeded',
    'it goes back, or is let go');
SELECT is(order_of('mia', 'test_approve', 'authorize') || holdfast.simulate_provider(), 'authorizing1', 'of what was authorized');
SELECT is((SELECT state FROM holdfast.capture_payment(1, owner('mia'), 'capture mia')), 'capturing', 'a capture is wanted');
SELECT is((SELECT count(*) FROM holdfast.claim_calls('simulated')), 1::bigint, 'by a worker who then dies');
SELECT is(holdfast.record_result(1, owner('mia'), 2, 'unknown') || (SELECT state FROM holdfast.void_payment(1, owner('mia'), 'void mia')), 'unknownvoided', 'and given up');
SELECT later();
SELECT is(holdfast.simulate_provider() || ', ' || holdfast.simulate_provider(), '1, 1', 'it is looked up, then the authorization let go');
SELECT is(provider_says('mia'), 'authorize 1000 succeeded, void 1000 succeeded', 'nothing was captured');
SELECT is(payment('mia'), 'voided: authorized 1000, captured 0, refunding 0, refunded 0; held 3', 'no money has moved');

-- His own rules
CREATE FUNCTION asked(p_kind text, p_amount bigint, p_currency text, p_original text) RETURNS text LANGUAGE sql
    AS $$ SELECT COALESCE(_holdfast.simulated_refusal(p_kind, p_amount, p_currency, 'sim_1_' || p_original), 'fine') $$;
SELECT is(asked('refund', 1000, 'EUR', owner('ann') || '_1'), 'fine', 'he refunds what he has charged');
SELECT is(asked('refund', 1001, 'EUR', owner('ann') || '_1'), 'amount_too_large', 'but not more');
SELECT is(asked('refund', 1, 'EUR', owner('two test_approve') || '_2'), 'amount_too_large', 'or again');
SELECT is(asked('refund', 1, 'EUR', owner('hal') || '_1'), 'not_captured', 'or what he has only set aside');
SELECT is(asked('refund', 1, 'EUR', owner('bob') || '_1'), 'unknown_original', 'or what he has declined');
SELECT is(asked('refund', 1, 'JPY', owner('ann') || '_1'), 'wrong_currency', 'or in another currency');
SELECT is(asked('capture', 1, 'EUR', owner('hal') || '_1') || ', ' || asked('void', 1, 'EUR', owner('two test_approve') || '_1'),
    'not_authorized, not_authorized',
    'he captures nothing that was let go, and lets nothing go that was captured');
SELECT is(asked('capture', 1, 'EUR', owner('ann') || '_1'), 'not_authorized', 'or that was charged');

-- All in all
SELECT is(differences(), NULL, 'both ledgers are equal');
SELECT is((SELECT count(*) FROM holdfast.verify()), 0::bigint, 'no invariant is broken');
SELECT is((SELECT sum(CASE kind WHEN 'refund' THEN -amount ELSE amount END) FROM holdfast.simulated_statement
    WHERE state = 'succeeded' AND kind IN ('charge', 'capture', 'refund')),
    (SELECT sum(amount) FROM holdfast.ledger WHERE book = 'provider'), 'the money that he has is what we think');
SELECT refuses(format('SELECT holdfast.simulate_provider(%s)', arguments), code, sentence)
FROM (VALUES ('0', '22023', 'a limit is not zero'), ('10001', '22023', 'nor too high'), ('NULL', '22004', 'nor null')) AS t (arguments, code, sentence);

SELECT * FROM finish();
ROLLBACK;

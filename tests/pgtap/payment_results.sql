-- record_result(), record_results(): how provider calls went, in whatever order that is told.
\ir include/payments.sql
SELECT plan(106);

-- Due dates, rounded to seconds from now.
CREATE FUNCTION due_in(p_name text, p_call integer DEFAULT 1) RETURNS numeric LANGUAGE sql
    AS $$ SELECT round(extract(epoch FROM due_at - clock_timestamp())) FROM _holdfast.provider_call WHERE payment = payment(p_name) AND n = p_call $$;
-- A worker's claim of one payment's call, as soon as possible.
CREATE FUNCTION claimed(p_name text, p_call integer DEFAULT 1) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    UPDATE _holdfast.provider_call SET due_at = clock_timestamp() WHERE payment = payment(p_name) AND n = p_call;
    RETURN (SELECT count(*) FROM holdfast.claim_calls('bank') WHERE payment = payment(p_name) AND call = p_call);
END
$$;
CREATE FUNCTION attempts(p_name text, p_call integer DEFAULT 1) RETURNS integer LANGUAGE sql
    AS $$ SELECT attempts FROM _holdfast.provider_call WHERE payment = payment(p_name) AND n = p_call $$;

-- Plain outcomes
SELECT is(happens('s1', 'capture, claim'), 'capturing', 'a call is under way');
SELECT is(holdfast.record_result(1, payment('s1'), 1, 'succeeded', 'ch_1', 'thank you'), 'captured', 'what succeeded is recorded; the payment''s state is the answer');
SELECT is((SELECT format('%s %s %s %s', state, reference, reason, settled_at BETWEEN now() AND clock_timestamp()) FROM _holdfast.provider_call
    WHERE payment = payment('s1')),
    's ch_1 thank you t', 'with reference, reason and time');
SELECT is((SELECT format('%s %s %s %s', n, call, amount, reason) FROM _holdfast.payment_event WHERE payment = payment('s1') AND n = 2), '2 1 1000 thank you',
    'and is a line of history');
SELECT is(happens('d1', 'capture, claim'), 'capturing', 'a call is under way');
SELECT is(holdfast.record_result(1, payment('d1'), 1, 'declined', NULL, 'insufficient_funds'), 'declined', 'what was declined is recorded');
SELECT is((SELECT format('%s %s', state, reason) FROM _holdfast.provider_call WHERE payment = payment('d1')), 'f insufficient_funds', 'with the reason');
SELECT is((SELECT count(*) FROM holdfast.claim_calls('bank')), 0::bigint, 'settled calls are not claimed');

-- Again, and late
CREATE TABLE before AS SELECT contents() AS stored;
SELECT is(said('s1', 'succeeded') || ' ' || said('s1', 'declined') || ' ' || said('s1', 'unknown') || ' ' || said('s1', 'retry') || ' ' || said('s1', 'pending'),
    'captured captured captured captured captured', 'nothing that comes later undoes a success');
SELECT is(said('d1', 'declined') || ' ' || said('d1', 'unknown') || ' ' || said('d1', 'retry') || ' ' || said('d1', 'pending'), 'declined declined declined declined',
    'nothing that is less certain undoes a refusal');
SELECT is(holdfast.record_result(1, payment('s1'), 1, 'declined', 'ch_2', 'too late'), 'captured', 'also if it has something to say');
SELECT ok(contents() IS NOT DISTINCT FROM stored, 'all of it changes nothing') FROM before;
SELECT is(said('d1', 'succeeded') || '; ' || calls('d1'), 'refunding; 1 charge succeeded 1000, 2 refund due 1000',
    'but money that did come is not overlooked: it goes back');
SELECT is((SELECT reason FROM _holdfast.provider_call WHERE payment = payment('d1') AND n = 1), 'insufficient_funds', 'a reason stays if there is no new one');
SELECT is(said('d1', 'declined', 1), 'refunding', 'then a refusal comes again');
SELECT is(calls('d1') || '; ' || books('d1'), '1 charge succeeded 1000, 2 refund due 1000; provider 1000, due -1000', 'and undoes nothing');
SELECT is(said('d1', 'succeeded', 1) || '; ' || calls('d1'), 'refunding; 1 charge succeeded 1000, 2 refund due 1000', 'the success comes again: there is one refund');

-- Pending
SELECT is(happens('p1', 'capture, claim'), 'capturing', 'a call is under way');
SELECT is(holdfast.record_result(1, payment('p1'), 1, 'pending', 'ch_p'), 'capturing', 'the provider will tell');
SELECT is(calls('p1') || ' ' || (SELECT reference FROM _holdfast.provider_call WHERE payment = payment('p1')) || ' ' || due_in('p1'), '1 charge due 1000 ch_p 3600',
    'it stays open, and is looked at after the longest back-off');
SELECT is(history('p1'), 'capture: created to capturing', 'nothing has happened');
SELECT is(said('p1', 'succeeded'), 'captured', 'he tells');

-- Retry
SELECT is(happens('r1', 'capture'), 'capturing', 'a call is due');
SELECT is(claimed('r1'), 1::bigint, 'it is made');
SELECT is(said('r1', 'retry') || ' ' || due_in('r1') || ' ' || attempts('r1'), 'capturing 10 1', 'without an answer it is made again after the back-off');
SELECT is(claimed('r1'), 1::bigint, 'it is made again');
SELECT is(said('r1', 'retry') || ' ' || due_in('r1') || ' ' || attempts('r1'), 'capturing 20 2', 'then after twice as long');
SELECT is(claimed('r1'), 1::bigint, 'for the last time');
SELECT is(said('r1', 'retry') || ' ' || due_in('r1') || ' ' || attempts('r1'), 'unknown 3600 3', 'then nobody knows');
SELECT is(calls('r1') || '; ' || history('r1'), '1 charge unknown 1000; capture: created to capturing, unknown: capturing to unknown', 'which is unknown, not declined');
SELECT is(claimed('r1'), 1::bigint, 'it is still asked for');
SELECT is(said('r1', 'retry') || ' ' || calls('r1'), 'unknown 1 charge unknown 1000', 'without an answer');
SELECT is(said('r1', 'pending') || ' ' || calls('r1') || ' ' || due_in('r1'), 'unknown 1 charge unknown 1000 3600', 'that the provider has it does not make it known');
SELECT is(history('r1'), 'capture: created to capturing, unknown: capturing to unknown', 'history has it once');
SELECT is(said('r1', 'succeeded') || '; ' || books('r1'), 'captured; provider 1000, sales -1000', 'the answer comes at last');
SELECT is(said('p1', 'retry') || ' ' || said('p1', 'unknown'), 'captured captured', 'what is known is not asked again');

-- The bounds of back-off
SELECT holdfast.add_provider('slow', p_attempts => 1000, p_backoff => '2 s', p_backoff_max => '30 s');
SELECT is((SELECT state FROM holdfast.create_payment(1, 'slow-0001', 1000, 'EUR', 'slow', 'card', NULL, 'capture', payment('slow'))), 'capturing', 'another provider');
SELECT is((SELECT string_agg(undone($$SELECT due_in('slow') FROM said('slow', 'retry')$$,
        format('UPDATE _holdfast.provider_call SET attempts = %s WHERE payment = payment(''slow'')', attempt)), ' ' ORDER BY attempt)
    FROM unnest('{1,2,3,4,5,6,64,65,999}'::integer[]) AS attempt), '2 4 8 16 30 30 30 30 30', 'the back-off doubles up to its bound, after any number of attempts');
SELECT is(undone($$SELECT said('slow', 'retry')$$, 'UPDATE _holdfast.provider_call SET attempts = 1000 WHERE payment = payment(''slow'')'), 'unknown',
    'attempts are used up');

-- Unknown at once
SELECT is(happens('u1', 'authorize, unknown') || ' ' || due_in('u1'), 'unknown 3600', 'an outcome may be unknown at once');
SELECT is(said('u1', 'unknown') || '; ' || history('u1'), 'unknown; authorize: created to authorizing, unknown: authorizing to unknown', 'once');
SELECT is(said('u1', 'succeeded') || '; ' || sums('u1'), 'authorized; authorized 1000', 'and become known');

-- Never answered
SELECT is(happens('n1', 'capture') || claimed('n1') || claimed('n1') || claimed('n1') || state('n1'), 'capturing111capturing', 'a worker dies three times');
SELECT is(claimed('n1') || ' ' || state('n1') || ' ' || calls('n1'), '0 unknown 1 charge unknown 1000', 'then nobody knows what became of the call');
SELECT is((SELECT reason FROM _holdfast.provider_call WHERE payment = payment('n1')) || '; ' || history('n1'),
    'no answer; capture: created to capturing, unknown: capturing to unknown', 'and the reason is given');

-- Calls that move no money of the payment
SELECT is(happens('v1', 'authorize, succeeded, void, unknown') || '; ' || calls('v1'), 'voided; 1 authorize succeeded 1000, 2 void unknown 1000',
    'a void whose outcome is unknown');
SELECT is(said('v1', 'succeeded') || '; ' || history('v1'), 'voided; authorize: created to authorizing, authorized: authorizing to authorized, void: authorized to voided',
    'or known is no step of the payment');
SELECT is(happens('f1', 'capture, succeeded, refund 400, unknown') || '; ' || calls('f1'), 'captured; 1 charge succeeded 1000, 2 refund unknown 400',
    'nor is a refund whose outcome is unknown');
SELECT is(sums('f1') || '; ' || books('f1'), 'authorized 1000, captured 1000, refunding 400; provider 1000, sales -600, due -400', 'its money stays on the way');

-- Keys of calls
SELECT is(happens('k1', 'authorize, succeeded, capture'), 'capturing', 'a payment has two calls');
SELECT is((SELECT string_agg(key, ' ') FROM (SELECT key FROM holdfast.claim_calls('bank') AS c WHERE c.payment = payment('k1')) AS c), 'hf_1_' || payment('k1') || '_2',
    'a call is made with a key of account, payment and number');
SELECT is(claimed('k1', 2) || ' ' || (SELECT string_agg(DISTINCT _holdfast.call_key(1, payment, n), ' ') FROM _holdfast.provider_call
    WHERE payment = payment('k1') AND n = 2),
    '1 hf_1_' || payment('k1') || '_2', 'the same one at every attempt');
SELECT is(_holdfast.call_key(-9223372036854775808, payment('k1'), 2147483647), 'hf_-9223372036854775808_' || payment('k1') || '_2147483647', 'however long');
SELECT is(_holdfast.call_key(NULL, payment('k1'), 1), NULL, 'of nothing there is none');

-- Many
SELECT is(happens('m' || n, 'capture'), 'capturing', 'a call is due') FROM generate_series(1, 5) AS n;
SELECT is(happens('m6', 'authorize, succeeded, capture'), 'capturing', 'and another one');
SELECT results_eq($$SELECT * FROM holdfast.record_results('{1,1,1,1}', ARRAY[payment('m3'), payment('m1'), payment('m2'), payment('m6')], '{1,1,1,2}',
    '{succeeded,declined,unknown,succeeded}', '{ref3,ref1,NULL,ref6}', '{NULL,expired_card,NULL,NULL}')$$,
    $$VALUES (1, 'captured'), (2, 'declined'), (3, 'unknown'), (4, 'captured')$$, 'many results are recorded in one go; states come in the order of the lines');
SELECT is((SELECT string_agg(format('%s/%s', reference, reason), ' ' ORDER BY reference) FROM _holdfast.provider_call WHERE payment IN (payment('m1'), payment('m2'),
    payment('m3'), payment('m6')) AND state <> 'u' AND reference IS NOT NULL),
    'ref1/expired_card ref3/ ref6/', 'with their references and reasons');
SELECT results_eq($$SELECT * FROM holdfast.record_results('{1,1}', ARRAY[payment('m4'), payment('m5')], '{1,1}', '{succeeded,succeeded}')$$,
    $$VALUES (1, 'captured'), (2, 'captured')$$, 'references and reasons can be left out');
SELECT is(happens('t1', 'capture') || happens('t2', 'capture'), 'capturingcapturing', 'calls are due');
SELECT is((SELECT string_agg(r.state, ' ' ORDER BY line) FROM holdfast.record_results('{1,1,1}', ARRAY[payment('t1'), payment('t1'), payment('t1')], '{1,1,1}',
    '{declined,succeeded,declined}') AS r),
    'declined refunding refunding', 'lines of one call follow one another');
SELECT is((SELECT string_agg(r.state, ' ' ORDER BY line) FROM holdfast.record_results('{1,1}', ARRAY[payment('t2'), payment('t2')], '{1,1}',
    '{succeeded,succeeded}') AS r) || '; ' || books('t2'),
    'captured captured; provider 1000, sales -1000', 'who succeeds twice in one go is paid once');
SELECT is((SELECT string_agg(r.state, ' ' ORDER BY line) FROM holdfast.record_results('{1,1}', ARRAY[payment('k1'), payment('t1')], '{2,2}',
    '{succeeded,succeeded}') AS r), 'captured refunded',
    'calls of all kinds can be mixed');
SELECT is(happens('b1', 'capture') || happens('b2', 'capture'), 'capturingcapturing', 'calls are due');
SELECT refuses(format('SELECT * FROM holdfast.record_results(%s)', arguments), state, 'record_results() refuses ' || what, detail, hint)
FROM (VALUES ($$'{1,1}', ARRAY[payment('b1'), payment('nobody')], '{1,1}', '{succeeded,succeeded}'$$, 'HF027', 'an unknown payment, with all lines',
    payment('nobody')::text, NULL),
             ($$'{1,2}', ARRAY[payment('b1'), payment('b2')], '{1,1}', '{succeeded,succeeded}'$$, 'HF027', 'a payment of another account', 'Account 2', NULL),
             ($$'{1,1}', ARRAY[payment('b1'), payment('b2')], '{1,2}', '{succeeded,succeeded}'$$, 'HF035', 'an unknown call', 'call 2', NULL),
             ($$'{1,1}', ARRAY[payment('b1'), payment('b2')], '{1,1}', '{succeeded,fine}'$$, '22023', 'an unknown outcome', NULL, 'declined'),
             ($$'{1,NULL}', ARRAY[payment('b1'), payment('b2')], '{1,1}', '{succeeded,succeeded}'$$, '22004', 'an account that is NULL', NULL, NULL),
             ($$'{1,1}', ARRAY[payment('b1'), NULL], '{1,1}', '{succeeded,succeeded}'$$, '22004', 'a payment that is NULL', NULL, NULL),
             ($$'{1,1}', ARRAY[payment('b1'), payment('b2')], '{1,NULL}', '{succeeded,succeeded}'$$, '22004', 'a call that is NULL', NULL, NULL),
             ($$'{1,1}', ARRAY[payment('b1'), payment('b2')], '{1,1}', '{succeeded,NULL}'$$, '22004', 'an outcome that is NULL', NULL, NULL),
             ($$'{}', '{}', '{}', '{}'$$, 'HF005', 'nothing', NULL, NULL),
             ($$'{1}', ARRAY[payment('b1'), payment('b2')], '{1,1}', '{succeeded,succeeded}'$$, 'HF005', 'fewer accounts than payments', '1 and 2', NULL),
             ($$'{1,1}', ARRAY[payment('b1'), payment('b2')], '{1}', '{succeeded,succeeded}'$$, 'HF005', 'fewer calls than payments', '2 and 1', NULL),
             ($$'{1,1}', ARRAY[payment('b1'), payment('b2')], '{1,1}', '{succeeded}'$$, 'HF005', 'fewer outcomes than payments', '2 and 1', NULL),
             ($$'{1,1}', ARRAY[payment('b1'), payment('b2')], '{1,1}', '{succeeded,succeeded}', '{a}'$$, 'HF005', 'fewer references than payments', '2 and 1', NULL),
             ($$'{1,1}', ARRAY[payment('b1'), payment('b2')], '{1,1}', '{succeeded,succeeded}', NULL, '{a,b,c}'$$, 'HF005', 'more reasons than payments', '2 and 3',
                 NULL),
             ($$'{{1}}', ARRAY[payment('b1')], '{1}', '{succeeded}'$$, 'HF005', 'two dimensions', NULL, NULL),
             ($$array_fill(1::bigint, '{100001}'), array_fill(payment('b1'), '{100001}'), array_fill(1, '{100001}'), array_fill('succeeded'::text, '{100001}')$$, 'HF005',
                 'too many lines', '100001', NULL),
             ($$NULL, ARRAY[payment('b1')], '{1}', '{succeeded}'$$, '22004', 'accounts that are NULL', NULL, NULL),
             ($$'{1}', NULL, '{1}', '{succeeded}'$$, '22004', 'payments that are NULL', NULL, NULL),
             ($$'{1}', ARRAY[payment('b1')], NULL, '{succeeded}'$$, '22004', 'calls that are NULL', NULL, NULL),
             ($$'{1}', ARRAY[payment('b1')], '{1}', NULL$$, '22004', 'outcomes that are NULL', NULL, NULL)) AS a (arguments, state, what, detail, hint) ORDER BY what;

-- One
SELECT refuses(format('SELECT holdfast.record_result(%s)', arguments), state, 'record_result() refuses ' || what, detail, hint)
FROM (VALUES ($$1, payment('nobody'), 1, 'succeeded'$$, 'HF027', 'an unknown payment', payment('nobody')::text, NULL),
             ($$2, payment('b1'), 1, 'succeeded'$$, 'HF027', 'a payment of another account', 'Account 2', NULL),
             ($$1, payment('b1'), 2, 'succeeded'$$, 'HF035', 'an unknown call', 'call 2', NULL),
             ($$1, payment('b1'), 0, 'succeeded'$$, 'HF035', 'call 0', 'call 0', NULL),
             ($$1, payment('b1'), -1, 'succeeded'$$, 'HF035', 'a call below 0', 'call -1', NULL),
             ($$1, payment('b1'), 2147483647, 'succeeded'$$, 'HF035', 'the last call there could be', 'call 2147483647', NULL),
             ($$1, payment('b1'), 1, 'fine'$$, '22023', 'an unknown outcome', NULL, 'succeeded, declined, pending, retry and unknown'),
             ($$1, payment('b1'), 1, 'Succeeded'$$, '22023', 'an outcome in capitals', NULL, 'succeeded'),
             ($$1, payment('b1'), 1, ''$$, '22023', 'no outcome', NULL, 'succeeded'),
             ($$1, payment('b1'), 1, 's'$$, '22023', 'a letter', NULL, 'succeeded'),
             ($$NULL, payment('b1'), 1, 'succeeded'$$, '22004', 'an account that is NULL', NULL, NULL),
             ($$1, NULL, 1, 'succeeded'$$, '22004', 'a payment that is NULL', NULL, NULL),
             ($$1, payment('b1'), NULL, 'succeeded'$$, '22004', 'a call that is NULL', NULL, NULL),
             ($$1, payment('b1'), 1, NULL$$, '22004', 'an outcome that is NULL', NULL, NULL)) AS a (arguments, state, what, detail, hint) ORDER BY what;
SELECT is(undone($$SELECT said('b1', 'succeeded')$$), 'captured', 'a result that is rolled back');
SELECT is(state('b1') || '; ' || calls('b1'), 'capturing; 1 charge due 1000', 'was none');
SELECT is(holdfast.record_result(1, payment('b1'), 1, 'declined', repeat('r', 10000), repeat('s', 100000)), 'declined', 'what a provider writes may be long');
SELECT is((SELECT octet_length(reference) || ' ' || octet_length(reason) FROM _holdfast.provider_call WHERE payment = payment('b1')), '10000 100000', 'and is kept');

SELECT * FROM finish();
ROLLBACK;

-- Views of payments.
\ir include/payments.sql
SELECT plan(47);

SELECT is(shape(view), columns, 'the columns of ' || view)
FROM (VALUES
    ('holdfast.payments'::regclass, 'account_id bigint, payment uuid, owner uuid, state text, amount bigint, currency text, authorized bigint, captured bigint, refunding bigint, '
        'refunded bigint, provider text, method text, created_at timestamp with time zone, changed_at timestamp with time zone'),
    ('holdfast.payment_history', 'account_id bigint, payment uuid, step integer, input text, from_state text, to_state text, amount bigint, call integer, reason text, '
        'happened_at timestamp with time zone'),
    ('holdfast.refunds', 'account_id bigint, payment uuid, refund integer, state text, amount bigint, currency text, provider text, reference text, reason text, '
        'attempts integer, created_at timestamp with time zone, settled_at timestamp with time zone'),
    ('holdfast.ledger', 'account_id bigint, payment uuid, step integer, book text, amount bigint, currency text, booked_at timestamp with time zone'),
    ('holdfast.balances', 'account_id bigint, book text, currency text, day date, debit numeric, credit numeric, balance numeric'),
    ('holdfast.open_calls', 'account_id bigint, payment uuid, call integer, key text, kind text, state text, amount bigint, currency text, provider text, '
        'attempts integer, reference text, reason text, created_at timestamp with time zone, due_at timestamp with time zone'),
    ('holdfast.unknown_outcomes', 'account_id bigint, payment uuid, payment_state text, owner uuid, call integer, key text, kind text, state text, amount bigint, currency text, '
        'provider text, attempts integer, reference text, reason text, created_at timestamp with time zone, due_at timestamp with time zone'),
    ('holdfast.simulated_statement', 'key text, amount bigint, currency text, state text, kind text, reference text, original text, reason text, '
        'heard_at timestamp with time zone')) AS t (view, columns);

SELECT is((SELECT count(*) FROM holdfast.payments) + (SELECT count(*) FROM holdfast.payment_history) + (SELECT count(*) FROM holdfast.refunds)
    + (SELECT count(*) FROM holdfast.ledger) + (SELECT count(*) FROM holdfast.balances) + (SELECT count(*) FROM holdfast.open_calls)
    + (SELECT count(*) FROM holdfast.unknown_outcomes), 0::bigint, 'without payments all are empty');
SELECT is((SELECT count(payment_in(name, name)) FROM situation), (SELECT count(*) FROM situation), 'there are payments in every situation');

-- payments, history
SELECT is((SELECT string_agg(DISTINCT state, ', ' ORDER BY state) FROM holdfast.payments),
    'authorized, authorizing, captured, capturing, created, declined, partially_refunded, refunded, refunding, unknown, voided',
        'payments: the states by name');
SELECT is((SELECT count(*) FROM holdfast.payments AS p JOIN situation AS s ON p.payment = payment(s.name) WHERE p.state = state_of(s.name)),
    (SELECT count(*) FROM situation), 'each its own');
SELECT given(1, 10), held('ann', 1, 2), happens('of ann', 'capture, succeeded, refund 300, succeeded, refund 200', 'ann');
SELECT results_eq($$SELECT account_id, owner, state, amount, currency COLLATE "default", authorized, captured, refunding, refunded,
    provider COLLATE "default", method COLLATE "default" FROM holdfast.payments WHERE payment = payment('of ann')$$,
    $$VALUES (1::bigint, owner('ann'), 'partially_refunded', 1000::bigint, 'EUR', 1000::bigint, 1000::bigint, 200::bigint, 300::bigint, 'bank',
        'card of of ann')$$, 'a payment has all its amounts');
SELECT is((SELECT created_at < changed_at AND changed_at <= clock_timestamp() FROM holdfast.payments WHERE payment = payment('of ann')), true, 'and times');
SELECT results_eq($$SELECT step, input COLLATE "default", from_state, to_state, amount, call FROM holdfast.payment_history
    WHERE payment = payment('of ann') ORDER BY step$$,
    $$VALUES (1, 'capture', 'created', 'capturing', 1000::bigint, 1), (2, 'captured', 'capturing', 'captured', 1000, 1), (3, 'refund', 'captured',
        'captured', 300, 2),
        (4, 'refunded', 'captured', 'partially_refunded', 300, 2), (5, 'refund', 'partially_refunded', 'partially_refunded', 200, 3)$$,
            'payment_history: every step');
SELECT is((SELECT count(*) FROM holdfast.payment_history AS h WHERE NOT EXISTS (SELECT FROM holdfast.payment_transitions() AS t
    WHERE (t.state, t.input, t.next_state) = (h.from_state, h.input, h.to_state))), 0::bigint, 'in the words of payment_transitions()');

-- refunds
SELECT results_eq($$SELECT refund, state, amount, currency COLLATE "default", settled_at IS NULL FROM holdfast.refunds
    WHERE payment = payment('of ann') ORDER BY refund$$,
    $$VALUES (2, 'succeeded', 300::bigint, 'EUR', false), (3, 'pending', 200, 'EUR', true)$$, 'refunds: those that were asked for');
SELECT is((SELECT string_agg(DISTINCT state, ', ' ORDER BY state) FROM holdfast.refunds), 'cancelled, declined, excess, pending, succeeded, unknown',
    'the states by name');
SELECT is((SELECT format('%s %s', refund, state) FROM holdfast.refunds WHERE payment = payment('refunding')), '2 pending',
    'and those of money that came too late');
SELECT is(holdfast.record_result(1, payment('of ann'), 3, 'declined', 're_3', 'expired_card'), 'partially_refunded', 'a refund is declined');
SELECT is((SELECT concat_ws(' ', state, reference, reason) FROM holdfast.refunds WHERE payment = payment('of ann') AND refund = 3),
    'declined re_3 expired_card', 'with a reason');

-- ledger, balances
SELECT results_eq($$SELECT step, book, amount, currency COLLATE "default" FROM holdfast.ledger WHERE payment = payment('of ann') ORDER BY step, book$$,
    $$VALUES (2, 'provider', 1000::bigint, 'EUR'), (2, 'sales', -1000, 'EUR'), (3, 'refunds due', -300, 'EUR'), (3, 'sales', 300, 'EUR'), (4,
        'provider', -300, 'EUR'),
        (4, 'refunds due', 300, 'EUR'), (5, 'refunds due', -200, 'EUR'), (5, 'sales', 200, 'EUR'), (6, 'refunds due', 200, 'EUR'), (6, 'sales', -200, 'EUR')$$,
    'ledger: both sides of everything');
SELECT is((SELECT string_agg(concat_ws(' ', book, debit, credit, balance), ', ' ORDER BY book) FROM holdfast.balances WHERE account_id = 9), NULL,
    'balances: an account without entries has none');
-- Another account, on three days: 100 and 200 captured at the end of the first (UTC), the 100 refunded early on the second, then 50 EUR and 70 JPY on the fourth.
CREATE FUNCTION of_nine(p_name text, p_amount bigint, p_currency text) RETURNS text LANGUAGE sql AS $$
    SELECT holdfast.record_result(9, p.payment, p.call, 'succeeded')
    FROM holdfast.create_payment(9, new_key(), p_amount, p_currency, 'bank', p_name, p_then => 'capture', p_payment => payment(p_name)) AS p
$$;
SELECT is(of_nine('n1', 100, 'EUR') || of_nine('n2', 200, 'EUR') || of_nine('n3', 50, 'EUR') || of_nine('n4', 70, 'JPY'),
    'capturedcapturedcapturedcaptured', 'another account');
SELECT is((SELECT holdfast.record_result(9, payment, call, 'succeeded') FROM holdfast.refund_payment(9, payment('n1'), new_key())), 'refunded',
    'with a refund');
SET LOCAL session_replication_role = replica;
UPDATE _holdfast.ledger_entry SET booked_at = CASE WHEN payment IN (payment('n1'), payment('n2')) AND event = 2 THEN timestamptz '2026-03-01 23:59:59.9+00'
    WHEN payment = payment('n1') THEN '2026-03-02 00:00+00' ELSE '2026-03-04 12:00+00' END WHERE account_id = 9;
SET LOCAL session_replication_role = origin;
SELECT results_eq($$SELECT book, currency COLLATE "default", day, debit, credit, balance FROM holdfast.balances WHERE account_id = 9 ORDER BY currency,
    day, book$$,
    $$VALUES ('provider', 'EUR', date '2026-03-01', 300::numeric, 0::numeric, 300::numeric), ('sales', 'EUR', '2026-03-01', 0, 300, -300),
        ('provider', 'EUR', '2026-03-02', 0, 100, 200), ('refunds due', 'EUR', '2026-03-02', 100, 100, 0), ('sales', 'EUR', '2026-03-02', 100, 0, -200),
        ('provider', 'EUR', '2026-03-04', 50, 0, 250), ('sales', 'EUR', '2026-03-04', 0, 50, -250), ('provider', 'JPY', '2026-03-04', 70, 0, 70),
            ('sales', 'JPY', '2026-03-04', 0, 70, -70)$$,
    'turnover by day and the balance at its end, for each book and currency');
SELECT is(undone('SELECT count(DISTINCT day) FROM holdfast.balances WHERE account_id = 9', $$SET LOCAL timezone = 'Pacific/Kiritimati'$$), '3',
    'days are those of UTC, wherever one looks from');
SELECT is((SELECT count(*) FROM (SELECT account_id, currency, day FROM holdfast.balances GROUP BY 1, 2, 3 HAVING sum(debit) <> sum(credit)) AS d), 0::bigint,
    'debits and credits of each day are equal');
SELECT results_eq($$SELECT account_id, book, sum(debit - credit) FROM holdfast.balances GROUP BY 1, 2 ORDER BY 1, 2$$,
    $$SELECT account_id, book, sum(amount) FROM holdfast.ledger GROUP BY 1, 2 ORDER BY 1, 2$$, 'all days together are the ledger');

-- open_calls, unknown_outcomes
SELECT is((SELECT count(*) FROM holdfast.open_calls), (SELECT count(*) FROM _holdfast.provider_call WHERE settled_at = 'infinity'),
    'open_calls: all that are not settled');
SELECT is(happens('of bob', 'capture'), 'capturing', 'a call is due');
SELECT results_eq($$SELECT call, kind, state, amount, currency COLLATE "default", provider COLLATE "default", attempts, due_at <= clock_timestamp()
    FROM holdfast.open_calls WHERE payment = payment('of bob')$$,
    $$VALUES (1, 'charge', 'pending', 1000::bigint, 'EUR', 'bank', 0, true)$$, 'with all about it');
SELECT is((SELECT string_agg(DISTINCT kind, ', ' ORDER BY kind) FROM holdfast.open_calls), 'authorize, capture, charge, refund, void', 'calls of each kind');
SELECT is((SELECT string_agg(DISTINCT state, ', ' ORDER BY state) FROM holdfast.open_calls), 'pending, unknown', 'pending or unknown');
SELECT is((SELECT count(*) FROM holdfast.open_calls WHERE key <> _holdfast.call_key(account_id, payment, call)), 0::bigint,
    'with the keys that they are made with');
SELECT is((SELECT string_agg(s.name, '; ' ORDER BY s.name COLLATE "C") FROM holdfast.unknown_outcomes AS u JOIN situation AS s ON u.payment = payment(s.name) WHERE u.state = 'unknown'),
    (SELECT string_agg(name, '; ' ORDER BY name COLLATE "C") FROM situation WHERE name ~ 'unknown'),
        'unknown_outcomes: calls whose outcome is unknown, whatever the payment''s state');
SELECT is((SELECT string_agg(s.name, '; ' ORDER BY s.name COLLATE "C") FROM holdfast.unknown_outcomes AS u JOIN situation AS s ON u.payment = payment(s.name) WHERE u.state = 'excess'),
    (SELECT string_agg(name, '; ' ORDER BY name COLLATE "C") FROM situation WHERE name ~ 'in excess'), 'and refunds that were more than there was');
SELECT results_eq($$SELECT payment_state, call, key COLLATE "default", kind, state, amount, currency COLLATE "default", provider COLLATE "default"
    FROM holdfast.unknown_outcomes WHERE payment = payment('refunding, refund unknown')$$,
    $$SELECT 'refunding', 2, _holdfast.call_key(1, payment('refunding, refund unknown'), 2), 'refund', 'unknown', 1000::bigint, 'EUR', 'bank'$$,
        'with what one asks the provider by');
SELECT is((SELECT count(*) FROM holdfast.verify()), 0::bigint, 'in all that no invariant is broken');

-- Views read with their owner's rights
CREATE ROLE reporter;
GRANT USAGE ON SCHEMA holdfast TO reporter;
GRANT SELECT ON ALL TABLES IN SCHEMA holdfast TO reporter;
SELECT isnt(undone(format('SELECT count(t.*) FROM holdfast.%I AS t', view), 'SET LOCAL ROLE reporter'), '42501', 'a role with SELECT reads ' || view)
FROM unnest('{payments,payment_history,refunds,ledger,balances,open_calls,unknown_outcomes,simulated_statement}'::text[]) AS view;

SELECT * FROM finish();
ROLLBACK;

-- Payments: views and reports. Amounts are in minor units of the currency; sums of them are numeric,
-- for many payments may add up to more than a bigint holds.

-- Codes in words, as in provider_work.sql.
CREATE VIEW _holdfast.payment_state (code, name) AS
VALUES ('n'::"char", 'created'), ('g', 'authorizing'), ('a', 'authorized'), ('p', 'capturing'), ('c', 'captured'), ('q', 'partially_refunded'),
       ('r', 'refunded'), ('b', 'refunding'), ('d', 'declined'), ('v', 'voided'), ('u', 'unknown');
COMMENT ON VIEW _holdfast.payment_state IS 'What payment.state, and the states of payment_event, mean.';

CREATE VIEW _holdfast.ledger_book (code, name) AS
VALUES ('p'::"char", 'provider'), ('s', 'sales'), ('d', 'refunds due');
COMMENT ON VIEW _holdfast.ledger_book IS 'What ledger_entry.book means.';

CREATE VIEW holdfast.payments AS
SELECT p.account_id, p.id AS payment, p.owner, s.name AS state, p.amount, p.currency, p.authorized, p.captured, p.refunding, p.refunded,
       p.provider, p.method, p.created_at, p.changed_at
FROM _holdfast.payment p LEFT JOIN _holdfast.payment_state s ON s.code = p.state;
COMMENT ON VIEW holdfast.payments IS 'Every payment: its state, and what was asked for, authorized, captured, is on its way back (refunding) and went back (refunded), in minor units.';

CREATE VIEW holdfast.payment_history AS
SELECT e.account_id, e.payment, e.n AS step, e.input, f.name AS from_state, t.name AS to_state, e.amount, e.call, e.reason, e.happened_at
FROM _holdfast.payment_event e
LEFT JOIN _holdfast.payment_state f ON f.code = e.from_state
LEFT JOIN _holdfast.payment_state t ON t.code = e.to_state;
COMMENT ON VIEW holdfast.payment_history IS 'Every step of every payment: what was requested or said (input, as in payment_transitions()), and what it made of the state. call: the number of the provider call that it was about.';

CREATE VIEW holdfast.refunds AS
SELECT c.account_id, c.payment, c.n AS refund, s.name AS state, c.amount, p.currency, c.provider, c.reference, c.reason, c.attempts,
       c.created_at, NULLIF(c.settled_at, 'infinity') AS settled_at
FROM _holdfast.provider_call c
LEFT JOIN _holdfast.call_state s ON s.code = c.state
JOIN _holdfast.payment p ON p.account_id = c.account_id AND p.id = c.payment
WHERE c.kind = 'r';
COMMENT ON VIEW holdfast.refunds IS 'Every refund, asked for or made necessary by money that came too late: pending, unknown, succeeded, declined, or excess (declined at first, and made all the same when the money was spoken for). refund is the number that refund_payment() returned as call; reason is the provider''s.';

CREATE VIEW holdfast.ledger AS
SELECT e.account_id, e.payment, e.event AS step, b.name AS book, e.amount, e.currency, e.booked_at
FROM _holdfast.ledger_entry e LEFT JOIN _holdfast.ledger_book b ON b.code = e.book;
COMMENT ON VIEW holdfast.ledger IS 'The ledger of money: debits positive, credits negative. Books: provider (what the provider has for us), sales, refunds due (what we owe). Each step of a payment sums to zero.';

CREATE VIEW holdfast.balances AS
SELECT d.account_id, d.book, d.currency, d.day, d.debit, d.credit,
       pg_catalog.sum(d.debit - d.credit) OVER (PARTITION BY d.account_id, d.book, d.currency ORDER BY d.day) AS balance
FROM (SELECT e.account_id, b.name AS book, e.currency, pg_catalog.timezone('UTC', e.booked_at)::date AS day,
             COALESCE(pg_catalog.sum(e.amount) FILTER (WHERE e.amount > 0), 0) AS debit,
             COALESCE(-pg_catalog.sum(e.amount) FILTER (WHERE e.amount < 0), 0) AS credit
      FROM _holdfast.ledger_entry e LEFT JOIN _holdfast.ledger_book b ON b.code = e.book
      GROUP BY 1, 2, 3, 4) d;
COMMENT ON VIEW holdfast.balances IS 'Turnover of each account, book and currency by day (UTC), and its balance (debits less credits of all days) at the end of that day. Days without turnover have no row.';

-- The key is spelled out, for who reads a view would need EXECUTE on call_key().
CREATE VIEW holdfast.open_calls AS
SELECT c.account_id, c.payment, c.n AS call, pg_catalog.format('hf_%s_%s_%s', c.account_id, c.payment, c.n) AS key, k.name AS kind, s.name AS state,
       c.amount, p.currency, c.provider, c.attempts, c.reference, c.reason, c.created_at, c.due_at
FROM _holdfast.provider_call c
LEFT JOIN _holdfast.call_kind k ON k.code = c.kind
LEFT JOIN _holdfast.call_state s ON s.code = c.state
JOIN _holdfast.payment p ON p.account_id = c.account_id AND p.id = c.payment
WHERE c.state IN ('d', 'u');
COMMENT ON VIEW holdfast.open_calls IS 'Provider calls whose outcome is open: pending (due, under way, or to be told by webhook) or unknown. due_at: when it may be claimed, which is the end of the lease or of the back-off.';

CREATE VIEW holdfast.unknown_outcomes AS
SELECT c.account_id, c.payment, t.name AS payment_state, p.owner, c.n AS call, pg_catalog.format('hf_%s_%s_%s', c.account_id, c.payment, c.n) AS key,
       k.name AS kind, s.name AS state, c.amount, p.currency, c.provider, c.attempts, c.reference, c.reason, c.created_at, c.due_at
FROM _holdfast.provider_call c
LEFT JOIN _holdfast.call_kind k ON k.code = c.kind
LEFT JOIN _holdfast.call_state s ON s.code = c.state
JOIN _holdfast.payment p ON p.account_id = c.account_id AND p.id = c.payment
LEFT JOIN _holdfast.payment_state t ON t.code = p.state
WHERE c.state = 'u' OR c.state = 'o';
COMMENT ON VIEW holdfast.unknown_outcomes IS 'Provider calls that somebody has to look into. unknown: attempts used up, or an event with another amount; such a call is made again now and then (due_at), with the same key; look the key up at the provider and use record_result(). excess: a refund that was declined, and made all the same when the money was spoken for; nothing is booked.';

-- Both sides are long, whatever the planner thinks of arrays: hence no nested loops.
CREATE FUNCTION holdfast.reconcile(p_provider text, p_keys text[], p_amounts bigint[], p_states text[],
                                   p_from timestamptz DEFAULT '-infinity', p_to timestamptz DEFAULT 'infinity')
    RETURNS TABLE (difference text, key text, our_amount bigint, their_amount bigint, our_state text, their_state text)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
    AS $$
DECLARE
    v_provider CONSTANT _holdfast.provider := _holdfast.known_provider(p_provider);
    v_null text;
BEGIN
    IF greatest(array_ndims(p_keys), array_ndims(p_amounts), array_ndims(p_states)) > 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'HF005', MESSAGE = 'an array has several dimensions', HINT = 'Pass one-dimensional arrays.';
    END IF;
    v_null := CASE
        WHEN p_keys IS NULL THEN 'p_keys is null' WHEN array_position(p_keys, NULL) IS NOT NULL THEN 'p_keys contains a null'
        WHEN p_amounts IS NULL THEN 'p_amounts is null' WHEN array_position(p_amounts, NULL) IS NOT NULL THEN 'p_amounts contains a null'
        WHEN p_states IS NULL THEN 'p_states is null' WHEN array_position(p_states, NULL) IS NOT NULL THEN 'p_states contains a null'
        WHEN p_from IS NULL THEN 'p_from is null' WHEN p_to IS NULL THEN 'p_to is null' END;
    IF v_null IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = v_null;
    END IF;
    IF cardinality(p_keys) <> cardinality(p_amounts) OR cardinality(p_keys) <> cardinality(p_states) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'HF005',
            MESSAGE = 'p_keys, p_amounts and p_states differ in length',
            DETAIL = format('They have %s, %s and %s elements.', cardinality(p_keys), cardinality(p_amounts), cardinality(p_states));
    END IF;
    IF NOT p_states <@ '{succeeded,declined,pending}'::text[] THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'unknown state', HINT = 'States are succeeded, declined and pending.';
    END IF;

    RETURN QUERY
    WITH theirs AS MATERIALIZED (
        SELECT t.line, t.key, t.amount, t.state, t.account_id, t.payment, t.call, row_number() OVER (PARTITION BY t.key ORDER BY t.line) AS nth
        FROM ROWS FROM (unnest(p_keys, p_amounts, p_states), _holdfast.read_call_keys(p_keys))
            WITH ORDINALITY AS t (key, amount, state, account_id, payment, call, line)),
    met AS (
        SELECT t.line, t.key, t.nth, c.n IS NOT NULL AS is_ours, c.amount AS our_amount, t.amount AS their_amount, s.name AS our_state,
               t.state AS their_state
        FROM theirs AS t
        LEFT JOIN (_holdfast.provider_call AS c LEFT JOIN _holdfast.call_state AS s ON s.code = c.state)
            ON c.account_id = t.account_id AND c.payment = t.payment AND c.n = t.call AND c.provider = v_provider.name),
    found AS (
        SELECT m.line, f.difference, m.key, m.our_amount, m.their_amount, m.our_state, m.their_state
        FROM met AS m
        CROSS JOIN LATERAL (VALUES
            ('listed twice', m.nth > 1),
            ('missing here', m.nth = 1 AND NOT m.is_ours),
            ('amount differs', m.nth = 1 AND m.our_amount <> m.their_amount),
            ('state differs', m.nth = 1 AND m.our_state <> m.their_state)) AS f (difference, is_found)
        WHERE f.is_found
        UNION ALL
        SELECT NULL, 'missing there', _holdfast.call_key(c.account_id, c.payment, c.n), c.amount, NULL, s.name, NULL
        FROM _holdfast.provider_call AS c
        LEFT JOIN _holdfast.call_state AS s ON s.code = c.state
        WHERE c.provider = v_provider.name AND c.created_at >= p_from AND c.created_at < p_to
          AND CASE c.state WHEN 'x' THEN false WHEN 'f' THEN false WHEN 'd' THEN c.attempts > 0 ELSE true END
          AND NOT EXISTS (SELECT FROM theirs AS t WHERE t.account_id = c.account_id AND t.payment = c.payment AND t.call = c.n))
    SELECT f.difference, f.key, f.our_amount, f.their_amount, f.our_state, f.their_state
    FROM found AS f ORDER BY f.line, f.key, f.difference;
END
$$;
COMMENT ON FUNCTION holdfast.reconcile(text, text[], bigint[], text[], timestamptz, timestamptz) IS
'Compares our calls with a provider''s statement, whose lines are a key (of claim_calls()), an amount in minor units, and a state (succeeded, declined or pending), and returns a row for each difference: missing here (not a call of ours at this provider), missing there (a call of ours that was made between p_from and before p_to, was not declined, and is not in the statement), amount differs, state differs, listed twice. our_state is pending, unknown, succeeded, declined, cancelled or excess (view unknown_outcomes). Lines about calls of another time are compared as well. An empty statement is one. Errors: HF032 unknown provider, HF005 arrays, 22004, 22023 state. Definer''s rights: it reads the storage on behalf of whoever may execute it.';

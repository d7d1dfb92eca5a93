-- verify() names every invariant of payments that is broken, and the payment.
\ir include/payments.sql
SELECT plan(71);

-- Payments in all situations, and some for the units of an owner of the same name. Account 2 has
-- payments with the same ids and without owners, which must never be named.
CREATE TABLE called (id uuid, name text);
CREATE TABLE sale (name text, steps text);
INSERT INTO sale VALUES ('asking', 'authorize'), ('back', 'capture, succeeded, refund, succeeded'), ('late', 'capture, unknown, void, succeeded, succeeded'),
    ('lost', 'capture, unknown'), ('part back', 'capture, succeeded, refund 400, succeeded, refund 100'), ('set aside', 'authorize, succeeded'),
    ('taken', 'capture, succeeded'), ('taking', 'capture');
SELECT given(1, 1000);
SELECT held(name, 1, 2) FROM sale;
SELECT is((SELECT string_agg(happens(name, steps, name), ' ' ORDER BY name) FROM sale),
    'authorizing refunded refunded unknown partially_refunded authorized captured capturing', 'payments are made for the units of owners');
SELECT is((SELECT count(payment_in(name, name)) FROM situation), (SELECT count(*) FROM situation), 'and some in every situation');
CREATE FUNCTION copy(p_table text, p_columns text DEFAULT '') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TEMPORARY TABLE copied AS SELECT * FROM _holdfast.%I; UPDATE copied SET account_id = 2%s; INSERT INTO _holdfast.%I SELECT * FROM copied;
        DROP TABLE copied', p_table, p_columns, p_table);
END
$$;
SELECT copy('payment', ', owner = NULL, live = false'), copy('payment_event'), copy('ledger_entry'), copy('provider_call');
INSERT INTO called SELECT payment(name), name FROM sale UNION ALL SELECT payment(name), name FROM situation UNION ALL SELECT owner(name), 'owner '
    || name FROM sale;
SELECT is((SELECT count(*) FROM holdfast.payments WHERE account_id = 2), (SELECT count(*) FROM called WHERE name !~ '^owner '),
    'all of it for another account as well');

-- What verify() finds after the storage was tampered with, as invariant: names. The damage is undone.
CREATE FUNCTION found(p_damage text) RETURNS text LANGUAGE sql AS $$
    SELECT undone('SELECT string_agg(invariant || '': '' || names, ''; '' ORDER BY invariant)
            FROM (SELECT v.invariant, string_agg(DISTINCT COALESCE(n.name, ''SKU '' || v.sku, v.payment::text, v.owner::text) ||
                      CASE WHEN v.sku IS NULL AND v.detail !~ ''^account 1: '' THEN '' of another account'' ELSE '''' END, '', '') AS names
                  FROM holdfast.verify() AS v LEFT JOIN called AS n ON n.id = COALESCE(v.payment, v.owner) GROUP BY v.invariant) AS t',
        'SET LOCAL session_replication_role = replica; DROP INDEX _holdfast.payment_owner_idx;
         ALTER TABLE _holdfast.payment DROP CONSTRAINT payment_amount_check, DROP CONSTRAINT payment_live_check;' || p_damage)
$$;
-- Damage to what account 1 has of a payment.
CREATE FUNCTION damage(p_what text, p_table text, p_name text, p_where text DEFAULT 'true') RETURNS text LANGUAGE sql AS $$
    SELECT format(CASE p_what WHEN 'DELETE' THEN 'DELETE FROM _holdfast.%1$I' ELSE 'UPDATE _holdfast.%1$I SET ' || p_what END
        || ' WHERE account_id = 1 AND %2$I = %3$L AND %4$s',
        p_table, CASE p_table WHEN 'payment' THEN 'id' ELSE 'payment' END, payment(p_name), p_where)
$$;
SELECT is(found(''), NULL, 'while all is well nothing is found');
CREATE VIEW verified AS SELECT * FROM holdfast.verify();
SELECT is(shape('verified'), 'invariant text, sku bigint, owner uuid, payment uuid, detail text', 'the columns of verify()');
SELECT is(undone('SELECT format(''%s %s %s %s'', sku, owner, payment, detail) FROM holdfast.verify()', damage('amount = 900', 'provider_call', 'taken')),
    format(' %s %s account 1: payment 1000, calls 900', owner('taken'), payment('taken')), 'a line names owner and payment, and has the numbers');

-- The ledger
SELECT is(found(damage), found, sentence)
FROM (VALUES
    (format($$INSERT INTO _holdfast.ledger_entry VALUES (1, %L, 90, 's', 5, now(), 'EUR')$$, payment('taken')),
        'the ledger of a payment sums to zero: taken', 'half an entry'),
    (damage($$currency = 'JPY'$$, 'ledger_entry', 'taken'), 'the ledger is in the payment''s currency: taken', 'a ledger in another currency'),
    (damage($$currency = 'JPY'$$, 'ledger_entry', 'taken', $$book = 'p'$$), 'the ledger is in the payment''s currency: taken', 'or in two'),
    (damage('DELETE', 'ledger_entry', 'taken'), 'money at the provider = captured - refunded: taken', 'a capture that was not booked'),
    (damage('amount = amount + sign(amount)', 'ledger_entry', 'taken'), 'money at the provider = captured - refunded: taken', 'or too high'),
    (damage($$book = 'd'$$, 'ledger_entry', 'taken', $$book = 's'$$), 'refunds due = refunds under way: taken', 'or in the wrong book'),
    (damage('DELETE', 'ledger_entry', 'captured, refund due', 'event = 3'), 'refunds due = refunds under way: captured, refund due',
        'a refund that was not booked'),
    (damage('DELETE', 'ledger_entry', 'refunded', 'event = 4'),
        'money at the provider = captured - refunded: refunded; refunds due = refunds under way: refunded', 'or not when it was made'),
    (damage($$book = 's'$$, 'ledger_entry', 'refunding', $$book = 'd'$$), 'refunds due = refunds under way: refunding', 'what is owed, as if it were sales'),
    (damage('account_id = 3', 'ledger_entry', 'taken'),
        format('ledger, history and calls are those of a payment: taken of another account; money at the provider = captured - refunded: taken'),
        'the ledger of a payment that there is not')) AS t (damage, found, sentence);

-- Amounts
SELECT is(found(damage), found, sentence)
FROM (VALUES
    (damage('captured = captured - 1', 'payment', 'taken'), 'captured = calls that captured: taken; money at the provider = captured - refunded: taken', 'less captured'),
    (damage('captured = 1000', 'payment', 'taking'), 'captured = calls that captured: taking; money at the provider = captured - refunded: taking; '
        'the state agrees with the amounts: taking', 'captured before the provider has said so'),
    (damage('refunding = 0', 'payment', 'captured, refund due'),
        'refunding = refund calls that are open: captured, refund due; refunds due = refunds under way: captured, refund due',
            'a refund under way that is forgotten'),
    (damage('refunding = 0', 'payment', 'refunding'), 'refunding = refund calls that are open: refunding', 'also of money that came too late'),
    (damage('refunding = 400', 'payment', 'captured, refund declined'), 'refunding = refund calls that are open: captured, refund declined; '
        'refunds due = refunds under way: captured, refund declined', 'one that is not under way any more'),
    (damage('refunded = refunded - 1', 'payment', 'partially_refunded'),
        'money at the provider = captured - refunded: partially_refunded; refunded = refund calls that succeeded: partially_refunded', 'less refunded'),
    (damage('refunded = 0', 'payment', 'partially_refunded'), 'money at the provider = captured - refunded: partially_refunded; '
        'refunded = refund calls that succeeded: partially_refunded; the state agrees with the amounts: partially_refunded', 'or nothing'),
    (damage('amount = 900', 'provider_call', 'taken'), 'captured = calls that captured: taken', 'a charge of another amount'),
    (damage($$state = 'f'$$, 'provider_call', 'taken'), 'captured = calls that captured: taken', 'a charge that was declined'),
    (damage($$kind = 'v'$$, 'provider_call', 'taken'), 'captured = calls that captured: taken; the state agrees with the calls: taken', 'that was none'),
    (damage($$state = 'f'$$, 'provider_call', 'back', 'n = 2'), 'refunded = refund calls that succeeded: back', 'a refund that was declined'),
    (damage($$state = 's', settled_at = now()$$, 'provider_call', 'captured, refund due', 'n = 2'),
        'refunded = refund calls that succeeded: captured, refund due; '
        'refunding = refund calls that are open: captured, refund due', 'one that was made')) AS t (damage, found, sentence);

-- States and calls
SELECT is(found(damage(format('state = %L', state), 'payment', name)),
    format('history is numbered without gaps and ends in the state: %s; %s: %1$s', name, replace(found, ';', ': ' || name || ';')),
        format('%s is not %s', name, word(state)))
FROM (VALUES ('taken', 'p'::"char", 'the state agrees with the amounts; the state agrees with the calls'), ('taken', 'r', 'the state agrees with the amounts'),
             ('taken', 'q', 'the state agrees with the amounts'), ('taken', 'b', 'refunds due = refunds under way'), ('refunded', 'c',
                 'the state agrees with the amounts'),
             ('refunded', 'b', 'the state agrees with the amounts'), ('partially_refunded', 'r', 'the state agrees with the amounts'),
             ('authorizing', 'a', 'the state agrees with the calls'), ('authorizing', 'u', 'the state agrees with the calls'),
             ('authorizing', 'p', 'the state agrees with the calls'), ('authorizing', 'd', 'the state agrees with the calls'),
             ('unknown', 'p', 'the state agrees with the calls'), ('declined', 'g', 'the state agrees with the calls'), ('declined', 'n',
                 'the state agrees with the calls'),
             ('created', 'd', 'the state agrees with the calls'), ('authorized', 'g', 'the state agrees with the calls'),
             ('authorized', 'c', 'the state agrees with the amounts')) AS t (name, state, found);
SELECT is(found(damage), found, sentence)
FROM (VALUES
    (damage('DELETE', 'provider_call', 'capturing'), 'calls are numbered without gaps: capturing; the state agrees with the calls: capturing',
        'a call that is gone'),
    (format($$INSERT INTO _holdfast.provider_call SELECT account_id, payment, 2, 0, amount, created_at, due_at, settled_at, kind, state, provider
        FROM _holdfast.provider_call
            WHERE payment = %L AND account_id = 1; $$, payment('capturing')) || damage('calls = 2', 'payment', 'capturing'),
        'the state agrees with the calls: capturing', 'two charges at once'),
    (damage('n = 2', 'provider_call', 'capturing'), 'calls are numbered without gaps: capturing', 'a call with another number'),
    (damage('calls = 2', 'payment', 'capturing'), 'calls are numbered without gaps: capturing', 'a call too few'),
    (damage('settled_at = now()', 'provider_call', 'capturing'), 'a call is settled when its outcome is known: capturing', 'an open call that is settled'),
    (damage($$settled_at = 'infinity'$$, 'provider_call', 'taken'), 'a call is settled when its outcome is known: taken', 'a settled one that is open'),
    (damage('DELETE', 'payment', 'captured'), 'ledger, history and calls are those of a payment: captured', 'a payment that is gone')) AS t (damage,
        found, sentence);

-- History
SELECT is(found(damage), found || ': captured', sentence)
FROM (VALUES
    (damage('DELETE', 'payment_event', 'captured', 'n = 1'), 'every step is a legal transition from where the last one led: captured; '
        'history is numbered without gaps and ends in the state', 'a first step that is gone'),
    (damage('DELETE', 'payment_event', 'captured', 'n = 2'), 'history is numbered without gaps and ends in the state', 'a last one'),
    (damage('n = 7', 'payment_event', 'captured', 'n = 2'), 'history is numbered without gaps and ends in the state', 'a gap'),
    (damage('steps = 3', 'payment', 'captured'), 'history is numbered without gaps and ends in the state', 'a step too few'),
    (damage($$input = 'declined'$$, 'payment_event', 'captured', 'n = 2'), 'every step is a legal transition from where the last one led',
        'a step that is not legal'),
    (damage($$from_state = 'u'$$, 'payment_event', 'captured', 'n = 2'), 'every step is a legal transition from where the last one led',
        'one that is, from elsewhere'),
    (damage($$to_state = 'b'$$, 'payment_event', 'captured', 'n = 2'), 'history is numbered without gaps and ends in the state',
        'or to elsewhere')) AS t (damage, found, sentence);

-- Units, and owners
SELECT is(found(damage), found, sentence)
FROM (VALUES
    (format($$UPDATE _holdfast.hold SET expires_at = now() + '1 hour' WHERE owner = %L$$, owner('taking')),
        'holds stay pinned while a provider call is open: taking',
        'a hold that can expire while its payment is captured'),
    (format($$UPDATE _holdfast.hold SET expires_at = now() + '1 hour' WHERE owner = %L$$, owner('asking')),
        'holds stay pinned while a provider call is open: asking', 'or authorized'),
    (format($$UPDATE _holdfast.hold SET (expires_at, ended_at, state) = (SELECT t, t, 'x'::"char" FROM clock_timestamp() AS t) WHERE owner = %L$$, owner('lost')),
        'holds stay pinned while a provider call is open: lost; received = available + held + sold: SKU 1', 'or that has expired while the outcome is unknown'),
    (format($$UPDATE _holdfast.hold SET expires_at = now() + '1 hour' WHERE owner IN (%L, %L)$$, owner('set aside'), owner('taken')), NULL, 'others may'),
    (format('SELECT holdfast.release(%L)', owner('taking')), NULL, 'what the caller has released is gone'),
    (format('SELECT given(2, 1), holdfast.reserve(%L::uuid, 2, 1)', owner('taking')), NULL, 'what the owner holds since is not for this payment'),
    (format($$UPDATE _holdfast.hold SET state = 'r' WHERE owner = %L$$, owner('taken')), 'a captured payment has sold the owner''s units: taken; '
        'sold units are confirmed holds: SKU 1', 'units that were not sold'),
    (format($$UPDATE _holdfast.hold SET state = 'r' WHERE owner = %L$$, owner('back')), 'a captured payment has sold the owner''s units: back; '
        'sold units are confirmed holds: SKU 1', 'also when it was refunded'),
    (format('DELETE FROM _holdfast.hold WHERE owner = %L', owner('late')), 'received = available + held + sold: SKU 1', 'unless the money came too late'),
    (damage(format('live = true, owner = %L', owner('taken')), 'payment', 'captured'), 'an owner has one live payment: owner taken',
        'two live payments of an owner'),
    (damage(format('live = true, owner = %L', owner('taken')), 'payment', 'authorizing'), 'an owner has one live payment: owner taken',
        'even if one has not taken his money yet'),
    (damage(format('owner = %L', owner('taken')), 'payment', 'refunding'), NULL, 'money on its way back is not his')) AS t (damage, found, sentence);

SELECT * FROM finish();
ROLLBACK;

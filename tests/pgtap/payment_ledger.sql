-- The ledger of money: double entry, append-only, and in balance whoever writes it.
\ir include/payments.sql
SELECT plan(48);

-- The entries of a payment, by step.
CREATE FUNCTION entries(p_name text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(lines, '; ' ORDER BY event) FROM (
        SELECT event, format('%s: %s', input, string_agg(format('%s %s', CASE book WHEN 'p' THEN 'provider' WHEN 's' THEN 'sales' WHEN 'd' THEN 'due' END, l.amount),
            ', ' ORDER BY l.amount DESC)) AS lines
        FROM _holdfast.ledger_entry AS l JOIN _holdfast.payment_event AS e ON (e.account_id, e.payment, e.n) = (l.account_id, l.payment, l.event)
        WHERE l.account_id = 1 AND l.payment = payment(p_name) GROUP BY event, input) AS t
$$;

-- What is booked
SELECT is(happens('m', 'authorize, succeeded') || entries('m'), NULL, 'an authorization moves no money');
SELECT is(happens('m', 'capture 800') || entries('m'), NULL, 'nor does asking for it');
SELECT is(happens('m', 'succeeded') || '; ' || entries('m'), 'captured; captured: provider 800, sales -800', 'a capture is money at the provider, and sales');
SELECT is(happens('m', 'refund 300') || '; ' || entries('m'), 'captured; captured: provider 800, sales -800; refund: sales 300, due -300',
    'a refund is due from when it is asked for');
SELECT is(happens('m', 'succeeded') || '; ' || entries('m'), 'partially_refunded; captured: provider 800, sales -800; refund: sales 300, due -300; refunded: due 300, provider -300',
    'and paid when the provider says so');
SELECT is(books('m'), 'provider 500, sales -500', 'which leaves the rest');
SELECT is(happens('n', 'capture, succeeded, refund 300, declined') || '; ' || entries('n'),
    'captured; captured: provider 1000, sales -1000; refund: sales 300, due -300; refund_declined: due 300, sales -300', 'one that is declined is sales again');
SELECT is(happens('n', 'succeeded') || '; ' || books('n'), 'partially_refunded; provider 700, sales -700', 'and not, when it has been made after all');
SELECT is(happens('o', 'capture, declined, succeeded') || '; ' || entries('o'), 'refunding; captured: provider 1000, due -1000',
    'money for a dead order is due from the start');
SELECT is(happens('o', 'declined') || '; ' || books('o'), 'refunding; provider 1000, due -1000', 'and stays so until it has gone');
SELECT is(happens('o', 'refund 400') || '; ' || books('o'), 'refunding; provider 1000, due -1000', 'however it is asked for');
SELECT is(happens('o', 'succeeded, refund, succeeded') || '; ' || entries('o'),
    'refunded; captured: provider 1000, due -1000; refunded: due 400, provider -400; refunded: due 600, provider -600', 'and goes');
SELECT is(happens('x', 'authorize, succeeded, void, succeeded') || entries('x'), NULL, 'a void moves no money');
SELECT is((SELECT string_agg(DISTINCT format('%s %s', currency, booked_at BETWEEN now() AND clock_timestamp()), ', ') FROM _holdfast.ledger_entry), 'EUR t',
    'entries have currency and time');

-- After everything that can happen, every payment's entries sum to zero, step by step.
SELECT is((SELECT count(payment_in(name, 'sum of ' || name)) FROM situation), (SELECT count(*) FROM situation), 'payments in all situations');
SELECT is((SELECT count(DISTINCT payment) FROM _holdfast.ledger_entry) > 15, true, 'many of which have moved money');
SELECT is_empty('SELECT payment, event FROM _holdfast.ledger_entry GROUP BY payment, event, currency HAVING sum(amount) <> 0 OR count(*) <> 2',
    'every step has two entries that sum to zero');
SELECT is_empty($$SELECT p.id FROM _holdfast.payment AS p WHERE p.captured - p.refunded <> COALESCE((SELECT sum(amount) FROM _holdfast.ledger_entry AS l
    WHERE l.account_id = p.account_id AND l.payment = p.id AND book = 'p'), 0)$$, 'what was captured and not refunded is at the provider');
SELECT is_empty($$SELECT p.id FROM _holdfast.payment AS p WHERE -(CASE WHEN p.state = 'b' THEN p.captured - p.refunded ELSE p.refunding END) <> COALESCE((SELECT sum(amount) FROM _holdfast.ledger_entry AS l
    WHERE l.account_id = p.account_id AND l.payment = p.id AND book = 'd'), 0)$$, 'what is on its way back, or must go, is due');
SELECT is_empty($$SELECT e.payment, e.n FROM _holdfast.payment_event AS e JOIN _holdfast.provider_call AS c ON (c.account_id, c.payment, c.n) = (e.account_id, e.payment,
    e.call)
    WHERE e.amount <> c.amount$$, 'a step that is about a call is about its amount');
SET CONSTRAINTS ALL IMMEDIATE;
SELECT pass('the transaction could be committed');
SET CONSTRAINTS ALL DEFERRED;

-- Other currencies
SELECT is((SELECT string_agg(created(currency, NULL, amount, currency) || ' ' || happens(currency, 'capture, succeeded, refund 1') || ' ' || books(currency),
    '; ' ORDER BY currency)
    FROM (VALUES ('JPY', 1050), ('KWD', 1050), ('USD', 1)) AS c (currency, amount)),
    'created captured provider 1050, sales -1049, due -1; created captured provider 1050, sales -1049, due -1; created captured provider 1, due -1',
        'an amount is of minor units, whatever they are');
SELECT is((SELECT string_agg(DISTINCT currency, ' ') FROM _holdfast.ledger_entry WHERE payment IN (payment('JPY'), payment('KWD'), payment('USD'))), 'JPY KWD USD',
    'each in its currency');

-- Whoever writes
CREATE FUNCTION entry(p_name text, p_event integer, p_book "char", p_amount bigint, p_currency text DEFAULT 'EUR') RETURNS void LANGUAGE sql
    AS $$ INSERT INTO _holdfast.ledger_entry VALUES (1, payment(p_name), p_event, p_book, p_amount, clock_timestamp(), p_currency) $$;
SELECT refuses($$SELECT entry('m', 9, 'p', 100); SET CONSTRAINTS ALL IMMEDIATE$$, 'HF040', 'half an entry is refused when the transaction ends', payment('m')::text
    || ' sum to 100', 'both sides');
SELECT refuses($$SELECT entry('m', 9, 'p', 100), entry('m', 9, 's', -99); SET CONSTRAINTS ALL IMMEDIATE$$, 'HF040', 'or one that does not balance', 'sum to 1');
SELECT refuses($$SELECT entry('m', 9, 'p', 100), entry('n', 9, 's', -100); SET CONSTRAINTS ALL IMMEDIATE$$, 'HF040', 'or the halves of two payments', 'sum to -?100');
SELECT refuses($$SELECT entry('m', 9, 'p', 100), entry('m', 9, 's', -100, 'USD'); SET CONSTRAINTS ALL IMMEDIATE$$, 'HF040', 'or one in two currencies',
    'several currencies');
SELECT refuses($$SELECT entry('nobody', 1, 'p', 100); SET CONSTRAINTS ALL IMMEDIATE$$, 'HF040', 'of no payment at all', 'sum to 100');
SELECT is(undone('SELECT 1', $$SELECT entry('m', 9, 'p', 100), entry('m', 9, 's', -50), entry('m', 9, 'd', -50); SET CONSTRAINTS ALL IMMEDIATE$$), '1',
    'nor are those of three books');
SELECT is(undone('SELECT 1', $$SELECT entry('m', 9, 'p', 100); SELECT entry('m', 10, 's', -100); SET CONSTRAINTS ALL IMMEDIATE$$), '1',
    'or of two commands, as long as they balance in the end');
SELECT is(undone('SELECT 1', $$SELECT entry('m', 9, 'p', 9223372036854775807), entry('m', 9, 's', 9223372036854775807), entry('m', 9, 'd', 2), entry('m', 10, 'd', 500),
    entry('m', 11, 'd', -500);
    SET CONSTRAINTS ALL IMMEDIATE$$), 'HF040', 'sums beyond a bigint do not wrap around to zero');
SELECT throws_ok(format('INSERT INTO _holdfast.ledger_entry VALUES (1, payment(''m''), 9, %s, clock_timestamp(), ''EUR'')', line), state, NULL, 'an entry is not '
    || what)
FROM (VALUES ('''p'', 0', '23514', 'of nothing'), ('''z'', 1', '23514', 'in a fourth book'), ('NULL, 1', '23502', 'in none')) AS l (line, state, what) ORDER BY what;
SELECT throws_ok($$SELECT entry('m', 4, 'p', 1)$$, '23505', NULL, 'a step has one entry in a book');

-- Append-only, also when nothing is left to be looked at
SET CONSTRAINTS ALL IMMEDIATE;
SELECT refuses(format(command, ledger), 'HF018', format('%s: %s', ledger, command))
FROM (VALUES ('_holdfast.ledger_entry'), ('_holdfast.payment_event')) AS l (ledger),
    (VALUES ('UPDATE %s SET amount = amount + 1'), ('UPDATE %s SET amount = amount WHERE false'), ('DELETE FROM %s'), ('TRUNCATE %s'),
        ('DELETE FROM %s WHERE false')) AS c (command) ORDER BY ledger, command;
SELECT is((SELECT string_agg(format('%s %s', tgname, tgenabled), ', ' ORDER BY tgname) FROM pg_trigger
    WHERE tgrelid = '_holdfast.ledger_entry'::regclass AND NOT tgisinternal),
    'ledger_entry_append_only O, ledger_entry_balanced_check O', 'two triggers guard it');
SELECT is((SELECT format('%s %s', tgdeferrable, tginitdeferred) FROM pg_trigger WHERE tgname = 'ledger_entry_balanced_check'), 't t',
    'the balance is looked at when the transaction ends');
SELECT throws_ok('SELECT _holdfast.check_ledger()', '39P01', NULL, 'the check is for triggers only');

SELECT * FROM finish();
ROLLBACK;

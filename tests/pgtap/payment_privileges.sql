-- Who may pay, who may say that it was paid, and who may look.
\ir include/payments.sql
SELECT plan(92);

CREATE ROLE guest;
CREATE ROLE payer;
CREATE ROLE worker;
CREATE ROLE caller;
CREATE ROLE inbox;
CREATE ROLE reporter;
GRANT USAGE ON SCHEMA holdfast TO guest, payer, worker, caller, inbox, reporter;
GRANT EXECUTE ON FUNCTION holdfast.create_payment, holdfast.authorize_payment, holdfast.capture_payment, holdfast.void_payment, holdfast.refund_payment TO payer;
GRANT EXECUTE ON FUNCTION holdfast.claim_calls, holdfast.record_result, holdfast.record_results TO worker;
GRANT EXECUTE ON FUNCTION holdfast.claim_key, holdfast.complete_key, holdfast.abandon_key, holdfast.claim_keys, holdfast.complete_keys, holdfast.rotate_keys TO caller;
GRANT EXECUTE ON FUNCTION holdfast.receive_webhook, holdfast.record_event TO inbox;
GRANT SELECT ON ALL TABLES IN SCHEMA holdfast TO reporter;
SELECT holdfast.set_webhook_secret('bank', 'whsec_' || encode('a secret of the bank, 32 bytes ..', 'base64'));
SELECT given(1, 10);
SELECT held('ann', 1, 2);
SELECT is(created('made', 'ann') || ' ' || happens('due', 'capture') || ' ' || happens('paid', 'capture, succeeded'), 'created capturing captured', 'there are payments');

-- The answer that a role gets.
CREATE FUNCTION answer(p_role text, p_sql text) RETURNS text LANGUAGE sql AS $$ SELECT undone(p_sql, format('SET LOCAL ROLE %I', p_role)) $$;
CREATE TABLE call (who text, name text, sql text, result text);
INSERT INTO call VALUES
    ('payer', 'create_payment()', $$SELECT state FROM holdfast.create_payment(1, 'key-0001', 1000, 'EUR', 'bank', 'card', owner('ann'), 'capture')$$, 'capturing'),
    ('payer', 'authorize_payment()', $$SELECT state FROM holdfast.authorize_payment(1, payment('made'), 'key-0001')$$, 'authorizing'),
    ('payer', 'capture_payment()', $$SELECT state FROM holdfast.capture_payment(1, payment('made'), 'key-0001')$$, 'capturing'),
    ('payer', 'void_payment()', $$SELECT state FROM holdfast.void_payment(1, payment('made'), 'key-0001')$$, 'voided'),
    ('payer', 'refund_payment()', $$SELECT state FROM holdfast.refund_payment(1, payment('paid'), 'key-0001')$$, 'captured'),
    ('worker', 'claim_calls()', $$SELECT key FROM holdfast.claim_calls('bank')$$, 'hf_1_' || payment('due') || '_1'),
    ('worker', 'record_result()', $$SELECT holdfast.record_result(1, payment('due'), 1, 'succeeded')$$, 'captured'),
    ('worker', 'record_results()', $$SELECT state FROM holdfast.record_results('{1}', ARRAY[payment('due')], '{1}', '{succeeded}')$$, 'captured'),
    ('caller', 'claim_key()', $$SELECT claimed FROM holdfast.claim_key(1, 'order', 'key-0001', '\x00')$$, 'true'),
    ('caller', 'complete_key()', $$SELECT holdfast.complete_key(1, 'order', 'key-0001', '\x00') FROM holdfast.claim_key(1, 'order', 'key-0001', '\x00')$$, ''),
    ('caller', 'abandon_key()', $$SELECT holdfast.abandon_key(1, 'order', 'key-0001') FROM holdfast.claim_key(1, 'order', 'key-0001', '\x00')$$, ''),
    ('caller', 'claim_keys()', $$SELECT verdict FROM holdfast.claim_keys('{1}', 'order', '{key-0001}', '{a}')$$, '00000'),
    ('caller', 'complete_keys()', $$SELECT holdfast.complete_keys('{1}', 'order', '{key-0001}', '{a}', '{1}') FROM holdfast.claim_keys('{1}', 'order', '{key-0001}',
        '{a}')$$, '1'),
    ('caller', 'rotate_keys()', $$SELECT holdfast.rotate_keys()$$, 'true'),
    ('inbox', 'record_event()', $$SELECT holdfast.record_event('bank', 'evt_1', 'hf_1_' || payment('due') || '_1', 'succeeded')$$, 'applied');
INSERT INTO call SELECT 'inbox', 'receive_webhook()', format($$SELECT holdfast.receive_webhook('bank', %L, %L, 'evt_1', %L)$$, body, holdfast.sign_webhook('standard',
    secret, body, 'evt_1', sent_at), sent_at), 'applied'
FROM (SELECT convert_to(format('{"type": "call.succeeded", "data": {"key": "hf_1_%s_1"}}', payment('due')), 'UTF8'), 'whsec_'
    || encode('a secret of the bank, 32 bytes ..', 'base64'),
    extract(epoch FROM clock_timestamp())::bigint) AS w (body, secret, sent_at);
UPDATE _holdfast.idempotency_turn SET since = since - interval '25 hours';

-- Each function by everybody
SELECT is(answer(who, sql), result, format('%s: with EXECUTE a role can, without rights in the storage', name)) FROM call ORDER BY name;
SELECT is((SELECT string_agg(DISTINCT answer(other.who, sql), ' ') FROM (SELECT DISTINCT who FROM call UNION VALUES ('guest'), ('reporter'),
    ('holdfast_worker')) AS other (who) WHERE other.who <> call.who),
    '42501', name || ': nobody else can') FROM call ORDER BY name;
SELECT is(answer(role, 'SELECT count(*) FROM ' || t::text), '42501', format('%s cannot read %s', role, t))
FROM (SELECT oid::regclass FROM pg_class WHERE relnamespace = '_holdfast'::regnamespace AND relname IN
        ('idempotency_0', 'idempotency_1', 'payment', 'payment_event', 'ledger_entry', 'provider_call', 'provider', 'webhook_secret', 'provider_event')) AS c (t),
    unnest('{payer,reporter}'::text[]) AS role ORDER BY role, t::text;
SELECT is((SELECT string_agg(grantee::text, ', ') FROM information_schema.table_privileges WHERE table_schema = '_holdfast' AND grantee NOT IN (SELECT rolname
    FROM pg_roles WHERE rolsuper)), NULL,
    'nobody is granted anything in the storage');

-- What a refusal tells a role is the same as it tells others; nothing goes on behind it.
SELECT is(answer('payer', $$SELECT state FROM holdfast.capture_payment(1, payment('paid'), 'key-0001')$$), 'HF028', 'who may pay is refused what is not legal');
SELECT is(answer('payer', $$SELECT state FROM holdfast.capture_payment(2, payment('due'), 'key-0001')$$), 'HF027', 'and what is not the account''s');
SELECT is(answer('worker', $$SELECT state FROM holdfast.refund_payment(1, payment('paid'), 'key-0001')$$), '42501', 'who records results cannot give money back');
SELECT is(answer('payer', $$SELECT holdfast.record_result(1, payment('due'), 1, 'succeeded')$$), '42501', 'who pays cannot say that he has paid');

-- The whole life of a payment, to the end of the transaction, by roles that have EXECUTE and no more.
CREATE FUNCTION whole_life() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text := '';
BEGIN
    SET LOCAL ROLE payer;
    PERFORM holdfast.capture_payment(1, payment('made'), 'life-0001');
    SET LOCAL ROLE worker;
    PERFORM holdfast.record_result(1, payment('made'), 1, 'succeeded');
    SET CONSTRAINTS ALL IMMEDIATE;
    SET LOCAL ROLE payer;
    PERFORM holdfast.refund_payment(1, payment('made'), 'life-0002', 400);
    SET LOCAL ROLE inbox;
    answer := holdfast.record_event('bank', 'life', 'hf_1_' || payment('made') || '_2', 'succeeded', 400, 'EUR');
    RESET ROLE;
    RETURN concat_ws('; ', answer, state('made'), books('made'), account(1));
END
$$;
SELECT is(undone('SELECT whole_life()'), 'applied; partially_refunded; provider 600, sales -600; 8 available, 0 held, 2 sold',
    'balance, holds and all do not ask for rights on the way');

-- Views
SELECT is(answer('reporter', 'SELECT state FROM holdfast.payments WHERE payment = payment(''paid'')'), 'captured', 'with SELECT a reporter reads payments');
SELECT is(answer('reporter', format('SELECT count(*) >= 0 FROM holdfast.%I', v)), 'true', 'and ' || v)
    FROM unnest('{balances,ledger,open_calls,open_keys,payment_history,payments,refunds,unknown_outcomes}'::text[]) AS v ORDER BY v;
SELECT is(answer('payer', format('SELECT count(*) FROM holdfast.%I', v)), '42501', 'without it nobody reads ' || v)
    FROM unnest('{balances,ledger,open_calls,open_keys,payment_history,payments,refunds,unknown_outcomes}'::text[]) AS v
ORDER BY v;
SELECT is_empty($$SELECT d.refobjid::regclass FROM pg_depend AS d JOIN pg_rewrite AS r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
    WHERE d.refobjid = '_holdfast.webhook_secret'::regclass AND r.ev_class <> d.refobjid$$, 'no view shows a secret');
SELECT is((SELECT string_agg(format('%s.%s', c.relname, attname), ', ') FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = attrelid
    WHERE relnamespace = 'holdfast'::regnamespace AND relkind = 'v'
    AND attname IN ('response', 'fingerprint', 'secret')), NULL, 'nor an answer, nor a fingerprint');

-- A caller's own objects are not used.
CREATE SCHEMA trap;
GRANT USAGE ON SCHEMA trap TO worker, caller, inbox, payer;
CREATE TABLE trap.provider AS SELECT * FROM _holdfast.provider WHERE false;
CREATE TABLE trap.payment (LIKE _holdfast.payment);
CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'infinity'::timestamptz $$;
CREATE FUNCTION trap.texteq(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.texteq);
SELECT is(undone(sql, format('SET LOCAL search_path = trap, pg_temp, public, pg_catalog; SET LOCAL ROLE %I', who)), result, name
    || ': a caller''s own objects are not used') FROM call ORDER BY name;

SELECT * FROM finish();
ROLLBACK;

-- reconcile(): our calls against a provider's statement.
\ir include/begin.sql
SELECT plan(57);

SELECT holdfast.add_provider('acme'), holdfast.add_provider('wares');
CREATE FUNCTION key(p_name text, p_call integer DEFAULT 1) RETURNS text LANGUAGE sql AS $$ SELECT _holdfast.call_key(5, owner(p_name), p_call) $$;
CREATE FUNCTION charge(p_name text, p_amount bigint, p_provider text DEFAULT 'acme', p_then text DEFAULT 'capture') RETURNS text LANGUAGE sql
    AS $$ SELECT state FROM holdfast.create_payment(5, 'create ' || p_name, p_amount, 'EUR', p_provider, 'card', p_then => p_then,
        p_payment => owner(p_name)) $$;
CREATE FUNCTION result(p_name text, p_outcome text, p_call integer DEFAULT 1) RETURNS text LANGUAGE sql
    AS $$ SELECT holdfast.record_result(5, owner(p_name), p_call, p_outcome) $$;

-- A statement, and what is wrong with it when some SQL has been run: difference, whose call, our and their amount and state.
CREATE TABLE statement (line integer GENERATED ALWAYS AS IDENTITY, key text, amount bigint, state text);
CREATE FUNCTION differences(p_from timestamptz DEFAULT '-infinity', p_to timestamptz DEFAULT 'infinity') RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', difference || ':', COALESCE(names.name, r.key), our_amount, our_state, '|', their_amount, their_state), ', ' ORDER BY n)
    FROM (SELECT array_agg(key ORDER BY line) AS keys, array_agg(amount ORDER BY line) AS amounts, array_agg(state ORDER BY line) AS states
        FROM statement) AS s,
        holdfast.reconcile('acme', COALESCE(keys, '{}'), COALESCE(amounts, '{}'), COALESCE(states, '{}'), p_from, p_to) WITH ORDINALITY AS
            r (difference, key, our_amount, their_amount, our_state, their_state, n)
        LEFT JOIN unnest('{ann,bob,cid,dan,eve,fay,guy}'::text[]) AS names (name) ON r.our_amount IS NOT NULL AND split_part(r.key, '_',
            3) = owner(names.name)::text
$$;
CREATE FUNCTION after(p_sql text) RETURNS text LANGUAGE sql AS $$ SELECT undone('SELECT differences()', p_sql) $$;

SELECT is(differences(), NULL, 'nobody has anything');
SELECT is(charge('ann', 100) || charge('bob', 200) || charge('cid', 300) || charge('dan', 400) || charge('eve', 500, p_then => 'authorize'),
    'capturingcapturingcapturingcapturingauthorizing', 'payments are made');
SELECT is(differences(), NULL, 'as long as nobody has been asked, nothing is missing there');
SELECT is((SELECT count(*) FROM holdfast.claim_calls('acme', 4)), 4::bigint, 'some are asked for');
SELECT is((SELECT string_agg(part, ', ' ORDER BY part) FROM unnest(string_to_array(differences(), ', ')) AS part),
    'missing there: ann 100 pending |, missing there: bob 200 pending |, missing there: cid 300 pending |, missing there: dan 400 pending |',
        'and those are missing there');
INSERT INTO statement (key, amount, state) VALUES (key('ann'), 100, 'pending'), (key('bob'), 200, 'pending'), (key('cid'), 300, 'pending'),
    (key('dan'), 400, 'pending');
SELECT is(differences(), NULL, 'until he knows of them');
SELECT is(result('ann', 'succeeded') || result('bob', 'declined') || result('cid', 'unknown'), 'captureddeclinedunknown', 'results come in');
SELECT is(differences(), 'state differs: ann 100 succeeded | 100 pending, state differs: bob 200 declined | 200 pending, state differs: cid 300 unknown | 300 pending',
    'states differ, in the order of the statement');
UPDATE statement SET state = CASE key WHEN key('ann') THEN 'succeeded' WHEN key('bob') THEN 'declined' ELSE 'pending' END;
SELECT is(result('cid', 'succeeded'), 'captured', 'the one that was unknown has succeeded');
UPDATE statement SET state = 'succeeded' WHERE key = key('cid');
SELECT is(differences(), NULL, 'then all is well');

-- Each difference
SELECT is(after('DELETE FROM statement WHERE line = 2'), NULL, 'a declined call need not be listed: neither side has moved money');
SELECT is(after('DELETE FROM statement WHERE line = 1'), 'missing there: ann 100 succeeded |', 'one that succeeded must');
SELECT is(after($$DELETE FROM statement WHERE line = 1; UPDATE _holdfast.provider_call SET attempts = 0 WHERE payment = owner('ann')$$),
    'missing there: ann 100 succeeded |', 'even if nobody has claimed it');
SELECT is(after('UPDATE statement SET amount = 101 WHERE line = 1'), 'amount differs: ann 100 succeeded | 101 succeeded', 'another amount');
SELECT is(after('UPDATE statement SET amount = -100 WHERE line = 1'), 'amount differs: ann 100 succeeded | -100 succeeded', 'of any kind');
SELECT is(after($$UPDATE statement SET amount = 0, state = 'declined' WHERE line = 1$$),
    'amount differs: ann 100 succeeded | 0 declined, state differs: ann 100 succeeded | 0 declined', 'another amount and state');
SELECT is(after('INSERT INTO statement (key, amount, state) SELECT key, 7, state FROM statement WHERE line = 1'),
    'listed twice: ann 100 succeeded | 7 succeeded',
    'a line that is there twice, with what the second says');
SELECT is(after('INSERT INTO statement (key, amount, state) SELECT key, amount, state FROM statement WHERE line = 1;
    INSERT INTO statement (key, amount, state) SELECT key, amount, state FROM statement WHERE line = 1'),
    'listed twice: ann 100 succeeded | 100 succeeded, listed twice: ann 100 succeeded | 100 succeeded', 'or three times');
SELECT is(after(format('INSERT INTO statement (key, amount, state) VALUES (%L, 9, ''succeeded'')', key)), format('missing here: %s | 9 succeeded',
    key), sentence)
FROM (VALUES ('order 17', 'what is not ours at all'), ('', 'what has no key'), (key('ann', 2), 'a call that we did not make'),
             ('hf_5_' || owner('zoe') || '_1', 'a payment that we do not have'), ('hf_6_' || owner('ann') || '_1', 'another account''s'),
             ('hf_05_' || owner('ann') || '_1', 'another spelling of one of ours'), (upper(key('ann')), 'another still'), (key('ann') || ' ',
                 'or with a blank'),
             ('hf_99999999999999999999_' || owner('ann') || '_1', 'an account that cannot be'), ('hf_5_' || owner('ann') || '_9999999999',
                 'a call that cannot be'),
             ('hf_5_' || translate(owner('ann')::text, '-', '_') || '_1', 'a payment that is none')) AS t (key, sentence);
SELECT is(charge('fay', 600, 'wares'), 'capturing', 'another provider has a call of his own');
SELECT is((SELECT count(*) FROM holdfast.claim_calls('wares')), 1::bigint, 'that is made');
SELECT is(differences(), NULL, 'it is not missing here');
SELECT is(after($$INSERT INTO statement (key, amount, state) VALUES (key('fay'), 600, 'pending')$$),
    'missing here: ' || key('fay') || ' | 600 pending', 'and if it is listed here we do not know it');

-- Cancelled, unknown, refunds
SELECT is((SELECT state FROM holdfast.void_payment(5, owner('eve'), 'void eve')), 'voided', 'a payment is voided before anybody was asked');
SELECT is(differences(), NULL, 'a cancelled call is not missing there');
SELECT is(after($$INSERT INTO statement (key, amount, state) VALUES (key('eve'), 500, 'succeeded')$$),
    'state differs: eve 500 cancelled | 500 succeeded', 'but he may know of it');
SELECT is((SELECT call FROM holdfast.refund_payment(5, owner('ann'), 'refund ann', 40)), 2, 'a refund');
SELECT is(after($$SELECT holdfast.claim_calls('acme')$$), 'missing there: ann 40 pending |', 'is a call like others');
SELECT is(after($$SELECT result('ann', 'declined', 2); SELECT holdfast.refund_payment(5, owner('ann'), 'refund all'); SELECT holdfast.claim_calls('acme');
    SELECT result('ann', 'succeeded', 2); INSERT INTO statement (key, amount, state) VALUES (key('ann', 2), 40, 'succeeded'), (key('ann', 3), 100, 'pending')$$), 'state differs: ann 40 excess | 40 succeeded',
    'one that we could not book is a difference for ever');

-- Times
UPDATE _holdfast.provider_call SET created_at = '2026-01-02 10:00+00' WHERE payment = owner('ann') AND n = 1;
DELETE FROM statement WHERE line = 1;
SELECT is(differences('2026-01-02 10:00+00', '2026-01-02 10:00:01+00'), 'missing there: ann 100 succeeded |', 'the first instant counts');
SELECT is(differences('2026-01-02 09:00+00', '2026-01-02 10:00+00'), NULL, 'the last does not');
INSERT INTO statement (key, amount, state) VALUES (key('ann'), 101, 'succeeded');
SELECT is(differences('2026-01-03', '2026-01-03'), 'amount differs: ann 100 succeeded | 101 succeeded', 'what is listed is compared, whenever it was');

-- Bad input
SELECT refuses(format('SELECT count(*) FROM holdfast.reconcile(%s)', arguments), code, sentence, detail)
FROM (VALUES ($$'nobody', '{}', '{}', '{}'$$, 'HF032', 'an unknown provider has no statement', '"nobody"'),
             ($$NULL, '{}', '{}', '{}'$$, '22004', 'nor has none', NULL),
             ($$'acme', NULL, '{}', '{}'$$, '22004', 'keys are not null', NULL),
             ($$'acme', '{}', NULL, '{}'$$, '22004', 'nor amounts', NULL),
             ($$'acme', '{}', '{}', NULL$$, '22004', 'nor states', NULL),
             ($$'acme', '{x,NULL}', '{1,1}', '{pending,pending}'$$, '22004', 'nor one key', NULL),
             ($$'acme', '{x,y}', '{1,NULL}', '{pending,pending}'$$, '22004', 'nor one amount', NULL),
             ($$'acme', '{x,y}', '{1,1}', '{pending,NULL}'$$, '22004', 'nor one state', NULL),
             ($$'acme', '{x,y}', '{1}', '{pending,pending}'$$, 'HF005', 'arrays are equally long', '2, 1 and 2 elements'),
             ($$'acme', '{x}', '{1}', '{pending,pending}'$$, 'HF005', 'all of them', '1, 1 and 2 elements'),
             ($$'acme', '{{x},{y}}', '{1,1}', '{pending,pending}'$$, 'HF005', 'and have one dimension', NULL),
             ($$'acme', '{x}', '{1}', '{Pending}'$$, '22023', 'there are three states', NULL),
             ($$'acme', '{x}', '{1}', '{unknown}'$$, '22023', 'and no others', NULL),
             ($$'acme', '{}', '{}', '{}', NULL$$, '22004', 'the beginning is not null', NULL),
             ($$'acme', '{}', '{}', '{}', p_to => NULL$$, '22004', 'nor the end', NULL)) AS t (arguments, code, sentence, detail);

SELECT * FROM finish();
ROLLBACK;

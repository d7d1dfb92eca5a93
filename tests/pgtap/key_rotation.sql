-- rotate_keys(): a key is remembered for one to two times holdfast.key_retention, and while it is
-- open for ever.
\ir include/begin.sql
SELECT plan(58);

-- A key in words: what claiming it would answer.
CREATE FUNCTION answer(p_key text, p_request text DEFAULT 'request') RETURNS text LANGUAGE sql AS $$
    SELECT undone(format('SELECT CASE WHEN claimed THEN ''free'' ELSE status || '' '' || convert_from(response, ''UTF8'') END FROM holdfast.claim_key(1, ''order'', %L, %L)',
        p_key, p_request::bytea))
$$;
CREATE FUNCTION claimed(p_key text) RETURNS boolean LANGUAGE sql
    AS $$ SELECT claimed FROM holdfast.claim_key(1, 'order', p_key, 'request') $$;
CREATE FUNCTION completed(p_key text) RETURNS text LANGUAGE sql
    AS $$ SELECT holdfast.complete_key(1, 'order', p_key, ('answer of ' || p_key)::bytea)::text $$;
-- Time passes for the table whose turn it is.
CREATE FUNCTION passes(p_time interval) RETURNS void LANGUAGE sql
    AS $$ UPDATE _holdfast.idempotency_turn SET since = since - p_time $$;
CREATE FUNCTION turn() RETURNS smallint LANGUAGE sql
    AS $$ SELECT half FROM _holdfast.idempotency_turn $$;
CREATE FUNCTION stored() RETURNS text LANGUAGE sql AS $$
    SELECT format('%s, %s', (SELECT count(*) FROM _holdfast.idempotency_0), (SELECT count(*) FROM _holdfast.idempotency_1))
$$;

-- rotate_keys() waits for nobody but 20 ms, nor for a vacuum.
LOCK TABLE _holdfast.idempotency_0, _holdfast.idempotency_1 IN ACCESS EXCLUSIVE MODE;

-- The first look at the clock
DELETE FROM _holdfast.idempotency_turn;
SELECT is(claimed('before-all'), true, 'keys can be claimed before anybody has looked at the clock');
SELECT is(holdfast.rotate_keys(), false, 'the first look is too early');
SELECT is((SELECT format('%s %s', count(*), bool_and(since BETWEEN now() AND clock_timestamp())) FROM _holdfast.idempotency_turn), '1 t', 'it notes the time');
SELECT is(turn(), 0::smallint, 'the first table begins');
SELECT is(answer('before-all') || '; ' || stored(), 'HF022; 1, 0', 'which it has done before');
SELECT is(holdfast.abandon_key(1, 'order', 'before-all')::text, '', 'the key is given back');
SELECT is(claimed('done-early') AND claimed('open-early') AND claimed('open-early-too'), true, 'keys are claimed');
SELECT clock_timestamp() AS claimed \gset
SELECT is(completed('done-early'), '', 'one of them is completed');
SELECT is(holdfast.rotate_keys(), false, 'rotating early');
SELECT is(turn(), 0::smallint, 'changes nothing');
SELECT passes('23 hours 59 minutes');
SELECT is(holdfast.rotate_keys(), false, 'not within 24 hours');
SELECT passes('1 minute');
SELECT is(holdfast.rotate_keys(), true, 'after 24 hours it is the other table''s turn');
SELECT is(turn(), 1::smallint, 'which is noted');
SELECT is((SELECT since BETWEEN now() AND clock_timestamp() FROM _holdfast.idempotency_turn), true, 'with the time');
SELECT is(holdfast.rotate_keys(), false, 'and lasts as long');

-- Keys of the table before
SELECT is(answer('done-early'), '200 answer of done-early', 'a key from before has its answer');
SELECT is(answer('done-early', 'other'), 'HF021', 'for its own request');
SELECT is(answer('open-early') || ' ' || answer('open-early', 'other'), 'HF022 HF021', 'one that is open is in flight');
SELECT is((SELECT string_agg(key, ' ' ORDER BY key) FROM holdfast.open_keys), 'open-early open-early-too', 'and can be seen');
SELECT is(claimed('done-late') AND claimed('open-late'), true, 'new keys');
SELECT is(stored(), '3, 2', 'go to the table whose turn it is');
SELECT is(completed('done-late'), '', 'and are completed there');
SELECT is(undone($$SELECT answer('open-early')$$, $$SELECT completed('open-early')$$), '200 answer of open-early', 'a key from before can be completed');
SELECT is(undone($$SELECT answer('open-early', 'other')$$, $$SELECT holdfast.abandon_key(1, 'order', 'open-early')$$), 'free', 'or given back');
SELECT is((SELECT string_agg(verdict, ' ' ORDER BY line) FROM holdfast.claim_keys('{1,1,1,1}', 'order', '{done-early,open-early,done-late,open-late}',
    '{request,request,request,other}')),
    '02000 HF022 02000 HF021', 'a batch looks into both tables');
SELECT is(undone($$SELECT answer('open-early') || ', ' || answer('open-late')$$,
    $$SELECT holdfast.complete_keys('{1,1}', 'order', '{open-early,open-late}', '{a,b}', '{1,2}')$$), '1 a, 2 b', 'and completes keys of both');

-- Turns go on
SELECT passes('24 hours');
SELECT is(holdfast.rotate_keys(), true, 'the next turn');
SELECT is(answer('done-early'), 'free', 'forgets an answer that is older than one retention');
SELECT is(answer('done-late'), '200 answer of done-late', 'and no younger one');
SELECT is(answer('open-early') || ' ' || answer('open-early-too') || ' ' || answer('open-late'), 'HF022 HF022 HF022', 'what is open stays');
SELECT is((SELECT string_agg(key, ' ' ORDER BY key) FROM holdfast.open_keys), 'open-early open-early-too open-late', 'each key once');
SELECT is((SELECT claimed_at BETWEEN now() AND :'claimed' FROM holdfast.open_keys WHERE key = 'open-early'), true, 'with the time of its claim');
SELECT passes('240 hours');
SELECT is(holdfast.rotate_keys(), true, 'nobody has rotated for long');
SELECT is(holdfast.rotate_keys(), false, 'it is caught up with once');
SELECT is(answer('done-late'), 'free', 'and forgets what is old');
SELECT is(answer('open-early') || ' ' || answer('open-late'), 'HF022 HF022', 'and nothing that is open');
SELECT is(completed('open-early'), '', 'an open key that has moved often can be completed');
SELECT is(answer('open-early'), '200 answer of open-early', 'and has its answer');
SELECT passes('24 hours');
SELECT is(holdfast.rotate_keys(), true, 'a turn later');
SELECT is(answer('open-early'), '200 answer of open-early', 'it still has: an answer is remembered from when it was given');
SELECT passes('24 hours');
SELECT is(holdfast.rotate_keys(), true, 'two turns later');
SELECT is(answer('open-early'), 'free', 'it is forgotten as others are');
SELECT is(completed('open-early-too') || completed('open-late'), '', 'all are completed');
SELECT passes('24 hours');
SELECT is(holdfast.rotate_keys(), true, 'after one turn');
SELECT passes('24 hours');
SELECT is(holdfast.rotate_keys(), true, 'and another');
SELECT is(stored(), '0, 0', 'nothing is left');
SELECT is(pg_relation_size('_holdfast.idempotency_0') + pg_relation_size('_holdfast.idempotency_1'), 0::bigint, 'not even space');

-- The setting
SET LOCAL holdfast.key_retention = '2 h';
SELECT passes('1 hour 59 minutes');
SELECT is(holdfast.rotate_keys(), false, 'holdfast.key_retention says how long');
SELECT passes('1 minute');
SELECT is(holdfast.rotate_keys(), true, 'a turn lasts');
SELECT is(claimed('in-savepoint'), true, 'a key is claimed');
SELECT passes('2 hours');
SELECT is(undone('SELECT holdfast.rotate_keys()'), 'true', 'a turn that is rolled back');
SELECT is(answer('in-savepoint') || ' ' || turn(), 'HF022 ' || turn(), 'was none');
SELECT is(holdfast.rotate_keys(), true, 'and is taken again');

-- Payments use keys too
SELECT holdfast.add_provider('bank');
SELECT is((SELECT state || ' ' || replayed FROM holdfast.create_payment(1, 'payment-key', 1000, 'EUR', 'bank', 'card', NULL, 'capture', owner('p'))), 'capturing false',
    'a payment is made');
SELECT passes('2 hours');
SELECT is(holdfast.rotate_keys(), true, 'a turn later');
SELECT is((SELECT state || ' ' || replayed FROM holdfast.create_payment(1, 'payment-key', 1000, 'EUR', 'bank', 'card', NULL, 'capture', owner('p'))), 'capturing true',
    'its answer is known');
SELECT passes('2 hours');
SELECT is(holdfast.rotate_keys(), true, 'two turns later');
SELECT refuses($$SELECT * FROM holdfast.create_payment(1, 'payment-key', 1000, 'EUR', 'bank', 'card', NULL, 'capture', owner('p'))$$, 'HF034',
    'it is not, but a payment with its id is not made twice');

SELECT * FROM finish();
ROLLBACK;

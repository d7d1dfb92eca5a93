-- claim_key(), complete_key(), abandon_key(): a key is a caller's name for one intent.
\ir include/begin.sql
SELECT plan(172);

-- What claiming a key answers: mine, the answer that is replayed, or the SQLSTATE of the refusal.
CREATE FUNCTION claimed(p_key text, p_request text DEFAULT 'request', p_operation text DEFAULT 'order', p_account bigint DEFAULT 1)
    RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer record;
BEGIN
    SELECT * INTO answer FROM holdfast.claim_key(p_account, p_operation, p_key, sha256(p_request::bytea));
    RETURN CASE WHEN answer.claimed AND answer.status IS NULL AND answer.response IS NULL THEN 'mine'
                WHEN NOT answer.claimed THEN format('%s %s', answer.status, convert_from(answer.response, 'UTF8')) END;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
CREATE FUNCTION completed(p_key text, p_response text, p_status integer DEFAULT 200) RETURNS text LANGUAGE sql
    AS $$ SELECT holdfast.complete_key(1, 'order', p_key, p_response::bytea, p_status)::text $$;
CREATE FUNCTION keys() RETURNS bigint LANGUAGE sql
    AS $$ SELECT (SELECT count(*) FROM _holdfast.idempotency_0) + (SELECT count(*) FROM _holdfast.idempotency_1) $$;

-- One intent, one answer
SELECT results_eq($$SELECT * FROM holdfast.claim_key(1, 'order', 'key-0001', sha256('request'))$$, 'VALUES (true, NULL::integer, NULL::bytea)',
    'who claims a key first has the work to do');
SELECT is((SELECT format('%s %s %s %s', account_id, operation, key, claimed_at BETWEEN now() AND clock_timestamp()) FROM holdfast.open_keys), '1 order key-0001 t',
    'the key is open');
SELECT refuses($$SELECT * FROM holdfast.claim_key(1, 'order', 'key-0001', sha256('request'))$$, 'HF022', 'nobody else has it to do', 'key-0001', 'Try again');
SELECT refuses($$SELECT * FROM holdfast.claim_key(1, 'order', 'key-0001', sha256('other'))$$, 'HF021', 'least of all for another request', 'key-0001', 'new key');
SELECT is(completed('key-0001', 'done'), '', 'the work is done');
SELECT results_eq($$SELECT * FROM holdfast.claim_key(1, 'order', 'key-0001', sha256('request'))$$, $$VALUES (false, 200, 'done'::bytea)$$,
    'from then on the key has an answer, of status 200 as a rule');
SELECT is((SELECT string_agg(claimed('key-0001'), ', ') FROM generate_series(1, 3)), '200 done, 200 done, 200 done', 'the same one every time');
SELECT refuses($$SELECT * FROM holdfast.claim_key(1, 'order', 'key-0001', sha256('other'))$$, 'HF021', 'but for no other request', 'key-0001', 'new key');
SELECT is((SELECT count(*) FROM holdfast.open_keys), 0::bigint, 'a completed key is not open');
SELECT is(keys(), 1::bigint, 'there is one key all the time');
SELECT refuses($$SELECT completed('key-0001', 'done again')$$, 'HF023', 'a key is completed once', 'key-0001', 'once');
SELECT refuses($$SELECT holdfast.abandon_key(1, 'order', 'key-0001')$$, 'HF023', 'a completed key cannot be given back', 'key-0001');
SELECT is(claimed('key-0001'), '200 done', 'and its answer stays');
SELECT is((SELECT string_agg(claimed('status-' || s) || ', ' || completed('status-' || s, 'x', s) || claimed('status-' || s), '; ' ORDER BY s)
    FROM unnest('{-2147483648,0,422,2147483647}'::integer[]) AS s), 'mine, -2147483648 x; mine, 0 x; mine, 422 x; mine, 2147483647 x',
    'the status is any integer');

-- Whose
SELECT is(claimed('key-0001', p_operation => 'refund'), 'mine', 'a key belongs to an operation');
SELECT is(claimed('key-0001', p_account => 2), 'mine', 'and to an account');
SELECT is(claimed('key-0001', p_operation => 'Order'), 'mine', 'operations differ by case');
SELECT is(claimed('Key-0001') || ' ' || claimed('key-0001 ') || ' ' || claimed(' key-0001'), 'mine mine mine', 'and so do keys, and by blanks');
SELECT is(claimed('key-0001', p_account => -9223372036854775808) || ' ' || claimed('key-0001', p_account => 9223372036854775807)
    || ' ' || claimed('key-0001', p_account => 0), 'mine mine mine', 'any bigint is an account');
SELECT refuses($$SELECT holdfast.complete_key(3, 'order', 'key-0001', '')$$, 'HF023', 'who has not claimed a key cannot complete it', 'Account 3');
SELECT refuses($$SELECT holdfast.complete_key(2, 'refund', 'key-0001', '')$$, 'HF023', 'nor in another operation', 'refund');
SELECT refuses($$SELECT holdfast.abandon_key(3, 'order', 'key-0001')$$, 'HF023', 'nor give it back', 'Account 3');

-- Rollback
CREATE TABLE before AS SELECT contents() AS stored, keys() AS keys;
SELECT is(undone($$SELECT completed('rolled-back', 'done')$$, $$SELECT claimed('rolled-back')$$), '', 'a key is claimed and completed, and rolled back');
SELECT is((SELECT keys FROM before), keys(), 'it was never there');
SELECT is(claimed('rolled-back', 'other'), 'mine', 'and can be claimed for another request');
SAVEPOINT s;
SELECT is(completed('rolled-back', 'first answer'), '', 'an answer');
ROLLBACK TO s;
SELECT is(claimed('rolled-back', 'other'), 'HF022', 'that is rolled back was never given');
SELECT is(completed('rolled-back', 'second answer'), '', 'the next one');
SELECT is(claimed('rolled-back', 'other'), '200 second answer', 'is the answer');
SAVEPOINT s;
SELECT is(claimed('in-savepoint'), 'mine', 'a key that was claimed in a savepoint');
RELEASE s;
SELECT is(completed('in-savepoint', 'done'), '', 'is completed after it');
SELECT given(1, 10);
SELECT is(undone($$SELECT claimed('work-fails') || (holdfast.reserve(owner('x'), 1, 99) IS NOT NULL)$$), 'HF001', 'work that fails');
SELECT is(claimed('work-fails') || account(1), 'mine10 available, 0 held, 0 sold', 'takes the key with it, and the other way round');

-- Giving back
SELECT is(holdfast.abandon_key(1, 'order', 'work-fails')::text, '', 'an open key can be given back');
SELECT refuses($$SELECT holdfast.abandon_key(1, 'order', 'work-fails')$$, 'HF023', 'once', 'work-fails');
SELECT refuses($$SELECT completed('work-fails', 'too late')$$, 'HF023', 'then it cannot be completed', 'work-fails', 'claim_key');
SELECT is(claimed('work-fails', 'other'), 'mine', 'but claimed anew, also for another request');
SELECT refuses($$SELECT holdfast.abandon_key(1, 'order', 'never-claimed')$$, 'HF023', 'what nobody has claimed cannot be given back', 'never-claimed');
SELECT refuses($$SELECT completed('never-claimed', '')$$, 'HF023', 'or completed', 'never-claimed', 'claim_key');

-- Operations of the extension's own
CREATE TABLE reserved (operation text);
INSERT INTO reserved VALUES ('holdfast.'), ('holdfast.create_payment'), ('holdfast.refund_payment'), ('holdfast.anything else');
SELECT refuses(format(call, operation), 'HF019', format('%s refuses %s', function, operation), 'begin with "holdfast."')
FROM reserved, (VALUES ('claim_key()', $$SELECT * FROM holdfast.claim_key(1, %L, 'key-0002', '\x00')$$),
                       ('complete_key()', $$SELECT holdfast.complete_key(1, %L, 'key-0002', '\x00')$$),
                       ('abandon_key()', $$SELECT holdfast.abandon_key(1, %L, 'key-0002')$$),
                       ('claim_keys()', $$SELECT * FROM holdfast.claim_keys('{1}', %L, '{key-0002}', '{x}')$$),
                       ('complete_keys()', $$SELECT holdfast.complete_keys('{1}', %L, '{key-0002}', '{x}', '{200}')$$)) AS c (function, call) ORDER BY function, operation;
SELECT is(string_agg(claimed('reserved-1', p_operation => operation), ' '), 'mine mine mine mine', 'what only looks like them is anybody''s: '
    || string_agg(operation, ', ')) FROM unnest('{holdfast,Holdfast.order,"my holdfast.order",holdfastorder}'::text[]) AS operation;

-- Answers, byte for byte
CREATE TABLE answer (name text PRIMARY KEY, response bytea NOT NULL);
ALTER TABLE answer ALTER response SET STORAGE EXTERNAL;
INSERT INTO answer VALUES
    ('empty', ''),
    ('one zero byte', '\x00'),
    ('zero bytes inside', '\x0041000042000000'),
    ('every byte there is', (SELECT string_agg(decode(lpad(to_hex(b), 2, '0'), 'hex'), '' ORDER BY b) FROM generate_series(0, 255) AS b)),
    ('no text in any encoding', '\xc328a0a1f8a1a1a1a1ed3fff'),
    ('126 bytes', convert_to(repeat('s', 126), 'UTF8')),
    ('127 bytes', convert_to(repeat('s', 127), 'UTF8')),
    ('as long as a page', convert_to(repeat('p', 8192), 'UTF8')),
    ('1 MB of zero bytes', decode(repeat('00', 1048576), 'hex')),
    ('1 MB that cannot be compressed', (SELECT string_agg(sha256(n::text::bytea), '' ORDER BY n) FROM generate_series(1, 32768) AS n));
SELECT is((SELECT octet_length(response) FROM answer WHERE name LIKE '%compressed'), 1048576, 'an answer has exactly 1 MB');
SELECT is(claimed('answer: ' || name), 'mine', 'a key is claimed') FROM answer ORDER BY name;
SELECT is(count(holdfast.complete_key(1, 'order', 'answer: ' || name, response)), 10::bigint, 'all are completed') FROM answer;
SELECT ok(NOT k.claimed AND k.response = a.response AND octet_length(k.response) = octet_length(a.response), 'an answer comes back byte for byte: ' || name)
FROM answer AS a, holdfast.claim_key(1, 'order', 'answer: ' || name, sha256('request')) AS k ORDER BY name;
CREATE TABLE digest AS SELECT name, md5(response) AS digest FROM answer;
DROP TABLE answer;
SELECT is((SELECT count(*) FROM digest, holdfast.claim_key(1, 'order', 'answer: ' || name, sha256('request')) WHERE md5(response) = digest), 10::bigint,
    'also when the table that they came from is gone');

-- Names
SELECT is(claimed(repeat('k', 8)) || ' ' || claimed(repeat('k', 255)), 'mine mine', 'a key may have 8 to 255 characters');
SELECT is(claimed((SELECT string_agg(chr(c), '' ORDER BY c) FROM generate_series(32, 126) AS c)), 'mine', 'all that ASCII can print');
SELECT is(claimed('        '), 'mine', 'even blanks alone');
SELECT is(claimed('operation-key', p_operation => 'o') || ' ' || claimed('operation-key', p_operation => repeat('o', 64)), 'mine mine',
    'an operation may have 1 to 64 characters');
CREATE TABLE bad (name text, what text, detail text);
INSERT INTO bad VALUES ('', 'empty', '0 bytes'), ('1234567', 'too short', '7 bytes; 8 to 255'), (repeat('k', 256), 'too long', '256 bytes; 8 to 255'),
    (repeat('k', 1000000), 'far too long', '1000000'), (E'control\x01', 'with a control character', 'Byte 8'), (E'\ttabulator', 'with a tabulator', 'Byte 1'),
    (E'line\nfeed', 'with a line feed', 'Byte 5'), (E'return\r\r', 'with a carriage return', 'Byte 7'), (E'escape\x1b[2J', 'with an escape sequence', 'Byte 7'),
    (E'deleted\x7f', 'with a delete character', 'Byte 8'), ('schlüssel', 'with an umlaut', 'Byte 5'), ('ключключ', 'in Cyrillic', 'Byte 1'),
    (E'zero\u200bwidth', 'with an invisible character', 'Byte 5'), (E'\U0001F511\U0001F511', 'of two pictures', 'Byte 1');
SELECT refuses(format(call, name), 'HF019', format('%s refuses a key that is %s', function, what), detail)
FROM bad, (VALUES ('claim_key()', $$SELECT * FROM holdfast.claim_key(1, 'order', %L, '\x00')$$),
                  ('complete_key()', $$SELECT holdfast.complete_key(1, 'order', %L, '\x00')$$),
                  ('abandon_key()', $$SELECT holdfast.abandon_key(1, 'order', %L)$$)) AS c (function, call) ORDER BY function, what;
SELECT refuses(format(call, name), 'HF019', format('%s refuses an operation that is %s', function, what), '.')
FROM (VALUES ('', 'empty'), (repeat('o', 65), 'too long'), (E'or\nder', 'of two lines'), ('bestellüng', 'with an umlaut')) AS b (name, what),
     (VALUES ('claim_key()', $$SELECT * FROM holdfast.claim_key(1, %L, 'key-0002', '\x00')$$),
             ('complete_key()', $$SELECT holdfast.complete_key(1, %L, 'key-0002', '\x00')$$),
             ('abandon_key()', $$SELECT holdfast.abandon_key(1, %L, 'key-0002')$$)) AS c (function, call) ORDER BY function, what;

-- Fingerprints
SELECT refuses($$SELECT * FROM holdfast.claim_key(1, 'order', 'fingerprint', '')$$, 'HF020', 'an empty fingerprint is refused', '0 bytes', 'hash');
SELECT refuses($$SELECT * FROM holdfast.claim_key(1, 'order', 'fingerprint', decode(repeat('ab', 65), 'hex'))$$, 'HF020', 'and one of 65 bytes', '65 bytes; 1 to 64');
SELECT refuses($$SELECT * FROM holdfast.claim_key(1, 'order', 'key-0001', '')$$, 'HF020', 'also for a key that is known', '0 bytes');
SELECT is((SELECT claimed FROM holdfast.claim_key(1, 'order', 'fingerprint of 1', '\x00')), true, 'one of a byte is good');
SELECT is((SELECT claimed FROM holdfast.claim_key(1, 'order', 'fingerprint of 64', decode(repeat('ab', 64), 'hex'))), true, 'and one of 64');
SELECT refuses($$SELECT * FROM holdfast.claim_key(1, 'order', 'fingerprint of 1', '\x0000')$$, 'HF021', 'a fingerprint is not its own beginning');
SELECT refuses($$SELECT * FROM holdfast.claim_key(1, 'order', 'fingerprint of 64', decode(repeat('ab', 63), 'hex'))$$, 'HF021', 'nor longer than it is');
SELECT refuses($$SELECT * FROM holdfast.claim_key(1, 'order', 'fingerprint of 64', decode(repeat('ab', 63) || 'ac', 'hex'))$$, 'HF021', 'its last bit counts');
SELECT is((SELECT count(*) FROM holdfast.open_keys WHERE key = 'fingerprint'), 0::bigint, 'a refusal leaves no key');

-- Nothing
SELECT refuses('SELECT * FROM holdfast.claim_key(' || arguments || ')', '22004', 'claim_key() needs ' || what)
FROM (VALUES ($$NULL, 'order', 'key-0002', '\x00'$$, 'an account'), ($$1, NULL, 'key-0002', '\x00'$$, 'an operation'),
    ($$1, 'order', NULL, '\x00'$$, 'a key'), ($$1, 'order', 'key-0002', NULL$$, 'a fingerprint')) AS a (arguments, what) ORDER BY what;
SELECT refuses('SELECT holdfast.complete_key(' || arguments || ')', '22004', 'complete_key() needs ' || what)
FROM (VALUES ($$NULL, 'order', 'fingerprint of 1', '\x00'$$, 'an account'), ($$1, NULL, 'fingerprint of 1', '\x00'$$, 'an operation'),
    ($$1, 'order', NULL, '\x00'$$, 'a key'), ($$1, 'order', 'fingerprint of 1', NULL$$, 'a response'),
    ($$1, 'order', 'fingerprint of 1', '\x00', NULL$$, 'a status')) AS a (arguments, what) ORDER BY what;
SELECT refuses('SELECT holdfast.abandon_key(' || arguments || ')', '22004', 'abandon_key() needs ' || what)
FROM (VALUES ($$NULL, 'order', 'fingerprint of 1'$$, 'an account'), ($$1, NULL, 'fingerprint of 1'$$, 'an operation'), ($$1, 'order', NULL$$, 'a key')) AS a (arguments,
    what)
ORDER BY what;

-- A key of our own that is open is in flight at once, however long we would wait for others.
SET LOCAL holdfast.key_wait = '1 h';
SELECT is(claimed('fingerprint of 1', 'x'), 'HF021', 'nobody waits for himself');
SET LOCAL statement_timeout = '60 s';
SELECT refuses($$SELECT * FROM holdfast.claim_key(1, 'order', 'fingerprint of 1', '\x00')$$, 'HF022', 'also when it is the same request');
SET LOCAL statement_timeout = 0;
SELECT throws_ok('SET LOCAL holdfast.key_wait = -1', '22023', NULL, 'the wait is not negative');
SELECT throws_ok('SET LOCAL holdfast.key_retention = 0', '22023', NULL, 'keys are kept for some time');
SELECT is(undone('SELECT claimed(''read-only'')', 'SET LOCAL transaction_read_only = on'), '25006', 'a read-only transaction claims nothing');

-- The tables guard themselves
SELECT throws_ok(format($$INSERT INTO _holdfast.idempotency_%s VALUES (1, now(), 200, 'order', 'no-answer', '\x00', NULL)$$, half), '23514', NULL,
    'a status without an answer cannot be stored') FROM generate_series(0, 1) AS half;
SELECT holdfast.rotate_keys();
SELECT throws_ok('INSERT INTO _holdfast.idempotency_turn VALUES (true, 0, now())', '23505', NULL, 'it is the turn of one table');
SELECT throws_ok('UPDATE _holdfast.idempotency_turn SET half = 2', '23514', NULL, 'of two');
SELECT throws_ok('INSERT INTO _holdfast.idempotency_turn VALUES (false, 0, now())', '23514', NULL, 'only');

SELECT * FROM finish();
ROLLBACK;

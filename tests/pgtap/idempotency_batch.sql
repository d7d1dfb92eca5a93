-- claim_keys(), complete_keys(): many keys in one statement, a verdict for every line.
\ir include/begin.sql
SELECT plan(65);

-- The verdicts of a batch, each with the answer that is replayed.
CREATE FUNCTION batch(p_keys text[], p_requests text[], p_accounts bigint[] DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(verdict || COALESCE('(' || status || ' ' || convert_from(response, 'UTF8') || ')', ''), ' ' ORDER BY line)
    FROM holdfast.claim_keys(COALESCE(p_accounts, array_fill(1::bigint, ARRAY[cardinality(p_keys)])), 'order', p_keys,
        ARRAY(SELECT r::bytea FROM unnest(p_requests) WITH ORDINALITY AS t (r, i) ORDER BY i))
$$;
CREATE FUNCTION keys() RETURNS bigint LANGUAGE sql
    AS $$ SELECT (SELECT count(*) FROM _holdfast.idempotency_0) + (SELECT count(*) FROM _holdfast.idempotency_1) $$;

SELECT results_eq($$SELECT * FROM holdfast.claim_keys('{1,1,2}', 'order', '{key-0001,key-0002,key-0001}', '{a,b,c}')$$,
    $$VALUES (1, '00000', NULL::integer, NULL::bytea), (2, '00000', NULL, NULL), (3, '00000', NULL, NULL)$$, 'a batch gives a verdict for every line, in order');
SELECT is((SELECT count(*) FROM holdfast.open_keys), 3::bigint, 'and claims the keys');
SELECT is(batch('{key-0001,key-0003,key-0002}', '{a,d,b}'), 'HF022 00000 HF022', 'what is open is in flight; others are claimed all the same');
SELECT is(holdfast.complete_keys('{1,2,1}', 'order', '{key-0001,key-0001,key-0002}', '{one,two,three}', '{200,201,422}'), 3::bigint, 'keys are completed in one go');
SELECT is(batch('{key-0001,key-0002,key-0003}', '{a,b,d}') || ' ' || batch('{key-0001}', '{c}', '{2}'), '02000(200 one) 02000(422 three) HF022 02000(201 two)',
    'each has its own answer');
SELECT is((SELECT format('%s %s %s', claimed, status, convert_from(response, 'UTF8')) FROM holdfast.claim_key(1, 'order', 'key-0002', 'b')), 'f 422 three',
    'claim_key() gives the same one');
SELECT is(batch('{key-0001,key-0004,key-0001}', '{a,e,a}'), '02000(200 one) 00000 02000(200 one)', 'it is replayed for every line');
SELECT is(batch('{key-0001,key-0003,key-0005}', '{x,x,f}'), 'HF021 HF021 00000', 'another request refuses its line only');

-- Lines of one key
SELECT is(batch('{twice-in-one,once-in-one,twice-in-one}', '{a,b,a}'), '00000 00000 HF022', 'the second line of a key is in flight: the first one has it');
SELECT is(batch('{twice-differing,twice-differing}', '{a,b}'), '00000 HF021', 'and is refused if it is another request');
SELECT is(batch('{two-accounts,two-accounts}', '{a,b}', '{1,2}'), '00000 00000', 'the same key of two accounts is two keys');

-- Bad lines among good ones
SELECT is(batch(ARRAY['good-0001', 'short', 'good-0002', repeat('x', 256), E'line\nfeed', 'schlüssel'], '{a,a,a,a,a,a}'), '00000 HF019 00000 HF019 HF019 HF019',
    'a bad key refuses its line only');
SELECT is((SELECT string_agg(verdict, ' ' ORDER BY line) FROM holdfast.claim_keys('{1,1,1}', 'order', '{good-0003,good-0004,good-0005}', ARRAY['\x00', '',
    decode(repeat('00', 65), 'hex')])),
    '00000 HF020 HF020', 'and so does a bad fingerprint');
SELECT is(batch('{good-0006,NULL,good-0007,good-0008,good-0009}', '{a,a,NULL,a,a}', '{1,1,1,NULL,1}'), '00000 22004 22004 22004 00000', 'and what is NULL');
SELECT is((SELECT count(*) FROM holdfast.open_keys WHERE key IN ('short', 'good-0004', 'good-0005', 'good-0007', 'good-0008')), 0::bigint,
    'a refused line leaves no key');

-- Answers, byte for byte
SELECT is(batch('{bytes-empty,bytes-zero,bytes-long}', '{a,a,a}'), '00000 00000 00000', 'keys are claimed');
CREATE TABLE long AS SELECT string_agg(sha256(n::text::bytea), '' ORDER BY n) AS response FROM generate_series(1, 32768) AS n;
SELECT is(holdfast.complete_keys('{1,1,1}', 'order', '{bytes-empty,bytes-zero,bytes-long}', ARRAY['', '\x00ff00', response], '{0,-1,1}'), 3::bigint,
    'and completed with nothing, zero bytes, and 1 MB') FROM long;
SELECT is((SELECT string_agg(format('%s %s %s', status, octet_length(c.response), c.response = CASE line WHEN 1 THEN '' WHEN 2 THEN '\x00ff00' ELSE long.response END),
    ', ' ORDER BY line)
    FROM long, holdfast.claim_keys('{1,1,1}', 'order', '{bytes-empty,bytes-zero,bytes-long}', '{a,a,a}') AS c), '0 0 t, -1 3 t, 1 1048576 t', 'all comes back');

-- Many lines
SELECT is((SELECT string_agg(verdict || ' ' || n, ', ' ORDER BY verdict) FROM (SELECT verdict, count(*) AS n
    FROM holdfast.claim_keys(array_fill(7::bigint, '{3000}'), 'many', (SELECT array_agg('many-' || lpad((g / 2)::text, 5, '0') ORDER BY g) FROM generate_series(0,
        2999) AS g),
        array_fill('x'::bytea, '{3000}')) GROUP BY verdict) AS t), '00000 1500, HF022 1500', 'a batch may have thousands of lines');
SELECT is(holdfast.complete_keys(array_fill(7::bigint, '{1500}'), 'many', (SELECT array_agg('many-' || lpad(g::text, 5, '0') ORDER BY g DESC) FROM generate_series(0,
    1499) AS g),
    (SELECT array_agg(g::text::bytea ORDER BY g DESC) FROM generate_series(0, 1499) AS g), (SELECT array_agg(g ORDER BY g DESC) FROM generate_series(0, 1499) AS g)),
        1500::bigint,
    'they are completed, in another order');
SELECT is((SELECT count(*) FROM holdfast.claim_keys(array_fill(7::bigint, '{1500}'), 'many', (SELECT array_agg('many-' || lpad(g::text, 5, '0') ORDER BY g)
    FROM generate_series(0, 1499) AS g),
    array_fill('x'::bytea, '{1500}')) WHERE verdict = '02000' AND status = line - 1 AND convert_from(response, 'UTF8') = (line - 1)::text), 1500::bigint,
    'each with its own answer');

-- Rollback
CREATE TABLE before AS SELECT keys();
SELECT is(undone($$SELECT batch('{undone-01,undone-02}', '{a,b}')$$), '00000 00000', 'a batch is rolled back');
SELECT is(keys(), (SELECT keys FROM before), 'no key is left');
SELECT is(undone($$SELECT batch('{undone-01}', '{a}')$$, $$SELECT batch('{undone-01}', '{a}'); SELECT holdfast.abandon_key(1, 'order', 'undone-01')$$), '00000',
    'a key that was given back is claimed again');

-- complete_keys(): all or nothing
SELECT is(batch('{all-0001,all-0002}', '{a,a}'), '00000 00000', 'keys are claimed');
SELECT refuses($$SELECT holdfast.complete_keys('{1,1}', 'order', '{all-0001,all-0009}', '{x,x}', '{1,1}')$$, 'HF023', 'one key that nobody has claimed refuses all',
    'all-0009');
SELECT refuses($$SELECT holdfast.complete_keys('{1,1}', 'order', '{all-0001,key-0001}', '{x,x}', '{1,1}')$$, 'HF023', 'or one that is completed', 'key-0001');
SELECT refuses($$SELECT holdfast.complete_keys('{1,1}', 'order', '{all-0001,all-0001}', '{x,y}', '{1,1}')$$, 'HF023', 'or one that is named twice', 'all-0001');
SELECT refuses($$SELECT holdfast.complete_keys('{1,2}', 'order', '{all-0001,all-0002}', '{x,x}', '{1,1}')$$, 'HF023', 'or one of another account', 'Account 2');
SELECT refuses($$SELECT holdfast.complete_keys('{1,1}', 'order', '{all-0001,short}', '{x,x}', '{1,1}')$$, 'HF019', 'or a bad one', '5 bytes');
SELECT refuses(format($$SELECT holdfast.complete_keys(%s)$$, arguments), '22004', 'or ' || what || ' that is NULL')
FROM (VALUES ($$'{1,NULL}', 'order', '{all-0001,all-0002}', '{x,x}', '{1,1}'$$, 'an account'),
             ($$'{1,1}', 'order', '{all-0001,NULL}', '{x,x}', '{1,1}'$$, 'a key'),
             ($$'{1,1}', 'order', '{all-0001,all-0002}', '{x,NULL}', '{1,1}'$$, 'a response'),
             ($$'{1,1}', 'order', '{all-0001,all-0002}', '{x,x}', '{1,NULL}'$$, 'a status')) AS a (arguments, what) ORDER BY what;
SELECT is(holdfast.complete_keys('{1,1}', 'order', '{all-0002,all-0001}', '{b,a}', '{2,1}'), 2::bigint, 'then they are completed');
SELECT is(batch('{all-0001,all-0002}', '{a,a}'), '02000(1 a) 02000(2 b)', 'and have their answers');

-- The calls as a whole
SELECT refuses(format('SELECT * FROM holdfast.claim_keys(%s)', arguments), state, 'claim_keys() refuses ' || what, detail)
FROM (VALUES ($$'{}', 'order', '{}', '{}'$$, 'HF005', 'nothing', NULL),
             ($$'{1,1}', 'order', '{key-0010}', '{a}'$$, 'HF005', 'more accounts than keys', '2 and 1'),
             ($$'{1,1}', 'order', '{key-0010,key-0011}', '{a}'$$, 'HF005', 'fewer fingerprints than keys', '2 and 1'),
             ($$'{1}', 'order', '{{key-0010}}', '{a}'$$, 'HF005', 'two dimensions', NULL),
             ($$array_fill(1::bigint, '{100001}'), 'order', array_fill('key-0010'::text, '{100001}'), array_fill('a'::bytea, '{100001}')$$, 'HF005',
                 'more lines than a call may carry', '100001'),
             ($$'{1}', '', '{key-0010}', '{a}'$$, 'HF019', 'no operation', '0 bytes'),
             ($$'{1}', repeat('o', 65), '{key-0010}', '{a}'$$, 'HF019', 'too long an operation', '65'),
             ($$'{1}', E'or\nder', '{key-0010}', '{a}'$$, 'HF019', 'an operation of two lines', 'Byte 3'),
             ($$NULL, 'order', '{key-0010}', '{a}'$$, '22004', 'accounts that are NULL', NULL),
             ($$'{1}', NULL, '{key-0010}', '{a}'$$, '22004', 'an operation that is NULL', NULL),
             ($$'{1}', 'order', NULL, '{a}'$$, '22004', 'keys that are NULL', NULL),
             ($$'{1}', 'order', '{key-0010}', NULL$$, '22004', 'fingerprints that are NULL', NULL)) AS a (arguments, state, what, detail) ORDER BY what;
SELECT refuses(format('SELECT holdfast.complete_keys(%s)', arguments), state, 'complete_keys() refuses ' || what, detail)
FROM (VALUES ($$'{}', 'order', '{}', '{}', '{}'$$, 'HF005', 'nothing', NULL),
             ($$'{1,1}', 'order', '{key-0003}', '{a}', '{1}'$$, 'HF005', 'more accounts than keys', '2 and 1'),
             ($$'{1}', 'order', '{key-0003}', '{a,b}', '{1}'$$, 'HF005', 'more responses than keys', '1 and 2'),
             ($$'{1}', 'order', '{key-0003}', '{a}', '{1,2}'$$, 'HF005', 'more statuses than keys', '1 and 2'),
             ($$'{1}', 'order', '{key-0003}', '{{a}}', '{1}'$$, 'HF005', 'two dimensions', NULL),
             ($$'{1}', '', '{key-0003}', '{a}', '{1}'$$, 'HF019', 'no operation', '0 bytes'),
             ($$NULL, 'order', '{key-0003}', '{a}', '{1}'$$, '22004', 'accounts that are NULL', NULL),
             ($$'{1}', NULL, '{key-0003}', '{a}', '{1}'$$, '22004', 'an operation that is NULL', NULL),
             ($$'{1}', 'order', NULL, '{a}', '{1}'$$, '22004', 'keys that are NULL', NULL),
             ($$'{1}', 'order', '{key-0003}', NULL, '{1}'$$, '22004', 'responses that are NULL', NULL),
             ($$'{1}', 'order', '{key-0003}', '{a}', NULL$$, '22004', 'statuses that are NULL', NULL)) AS a (arguments, state, what, detail) ORDER BY what;

-- Many big answers: a batch has all of them, but not all of them in memory at once.
CREATE FUNCTION big_key(p_n integer) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT 'big-' || lpad(p_n::text, 4, '0') $$;
CREATE FUNCTION most_memory() RETURNS bigint LANGUAGE sql
    AS $$ SELECT substring(pg_read_file('/proc/self/status') FROM 'VmHWM:\s+(\d+) kB')::bigint * 1024 $$;
SELECT is((SELECT string_agg(DISTINCT verdict, ' ') FROM holdfast.claim_keys(array_fill(1::bigint, '{100}'), 'big', ARRAY(SELECT big_key(n) FROM generate_series(1, 100) AS n),
    array_fill('a'::bytea, '{100}'))), '00000', 'keys are claimed');
SELECT is((SELECT count(holdfast.complete_key(1, 'big', big_key(n), convert_to(repeat(md5(n::text), 32768), 'UTF8'), n)) FROM generate_series(1, 100) AS n WHERE n % 10 <> 0),
    90::bigint, 'most of them completed with 1 MB each');
SET LOCAL work_mem = '64 kB';
CREATE TABLE memory AS SELECT most_memory() AS before;
CREATE TABLE big AS SELECT line, verdict, status, md5(response) AS digest, octet_length(response) AS length
    FROM holdfast.claim_keys(array_fill(1::bigint, '{111}'), 'big', ARRAY(SELECT big_key(n) FROM generate_series(0, 110) AS n),
        array_fill('a'::bytea, '{110}') || 'b'::bytea);
SELECT cmp_ok(most_memory() - before, '<', 50000000::bigint, 'nor does it take the memory of all') FROM memory;
RESET work_mem;
SELECT is((SELECT string_agg(n || ' ' || verdict, ', ' ORDER BY verdict) FROM (SELECT verdict, count(*) AS n FROM big GROUP BY verdict) AS v),
    '11 00000, 90 02000, 10 HF022', 'each line has its verdict');
SELECT is_empty($$SELECT * FROM big WHERE verdict = '02000' AND (status, length, digest) IS DISTINCT FROM (line - 1, 1048576, md5(repeat(md5((line - 1)::text), 32768)))$$,
    'and each key its own answer, byte for byte');
SELECT is((SELECT count(*) FROM big WHERE verdict <> '02000' AND num_nonnulls(status, digest) > 0), 0::bigint, 'or none');

SELECT * FROM finish();
ROLLBACK;

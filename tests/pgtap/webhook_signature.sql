-- sign_webhook() and verify_webhook(): a webhook is taken if, and only if, one of the secrets signed it just now.
\ir include/begin.sql
SELECT plan(219);

-- A webhook and what is claimed of it; each scheme has one that is good.
CREATE TYPE webhook AS (scheme text, secrets text[], body bytea, signature text, id text, stamp text);
CREATE FUNCTION standard() RETURNS webhook IMMUTABLE LANGUAGE sql AS $$
    SELECT ROW('standard', '{whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}'::text[], convert_to('{"test": 2432232314}', 'UTF8'),
        'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=', 'msg_p5jXN8AQM9LWM0D4loKWxJek', '1614265330')::webhook
$$;
CREATE FUNCTION stripe() RETURNS webhook IMMUTABLE LANGUAGE sql AS $$
    SELECT ROW('stripe', '{webhook_secret}'::text[], convert_to($body${
  "id": "evt_123",
  "object": "event",
  "account": "acct_123",
  "api_version": "2017-05-25",
  "created": 1533204620,
  "data": {
    "object": {
      "id": "cus_123",
      "object": "customer",
      "created": 123456789,
      "email": "test@stripe.com",
      "livemode": false,
      "metadata": {}
    }
  },
  "livemode": false,
  "pending_webhooks": 1,
  "request": {
    "id": "req_123",
    "idempotency_key": "idempotency-key-123"
  },
  "type": "customer.created"
}
$body$, 'UTF8'), 't=1533204620,v1=2220f87ef101a04665f11cdf770523143f875572008577fa0f20882ddb9cc3c7', NULL, NULL)::webhook
$$;

-- The time that a webhook claims to have been signed at.
CREATE FUNCTION signed_at(p_webhook webhook) RETURNS timestamptz LANGUAGE sql
    AS $$ SELECT to_timestamp(COALESCE((p_webhook).stamp, '1533204620')::bigint) $$;

-- How a webhook is taken: verified, or the SQLSTATE. What is said then is kept.
CREATE TABLE said (what text);
CREATE FUNCTION taken(p_webhook webhook, p_now timestamptz DEFAULT '2021-02-25 15:02:10Z', p_tolerance interval DEFAULT '10 years') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail text;
    hint text;
BEGIN
    PERFORM holdfast.verify_webhook((p_webhook).scheme, (p_webhook).secrets, (p_webhook).body, (p_webhook).signature, (p_webhook).id, (p_webhook).stamp,
        p_tolerance, p_now);
    RETURN 'verified';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    INSERT INTO said VALUES (concat_ws(' ', message, detail, hint));
    RETURN SQLSTATE;
END
$$;

-- The same with one thing changed.
CREATE FUNCTION taken_by(p_webhook webhook, VARIADIC p_secrets text[]) RETURNS text LANGUAGE plpgsql
    AS $$ BEGIN p_webhook.secrets := p_secrets; RETURN taken(p_webhook); END $$;
CREATE FUNCTION taken_with(p_webhook webhook, p_signature text) RETURNS text LANGUAGE plpgsql
    AS $$ BEGIN p_webhook.signature := p_signature; RETURN taken(p_webhook); END $$;
CREATE FUNCTION taken_as(p_webhook webhook, p_id text) RETURNS text LANGUAGE plpgsql
    AS $$ BEGIN p_webhook.id := p_id; RETURN taken(p_webhook); END $$;
CREATE FUNCTION taken_of(p_webhook webhook, p_stamp text) RETURNS text LANGUAGE plpgsql
    AS $$ BEGIN p_webhook.stamp := p_stamp; RETURN taken(p_webhook); END $$;
CREATE FUNCTION taken_for(p_webhook webhook, p_body bytea) RETURNS text LANGUAGE plpgsql
    AS $$ BEGIN p_webhook.body := p_body; RETURN taken(p_webhook); END $$;

-- What many attempts came to: each answer with its number.
CREATE FUNCTION tally(p_answers text[]) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s %s', n, answer), ', ' ORDER BY answer) FROM (SELECT answer, count(*) FROM unnest(p_answers) AS u (answer) GROUP BY answer) AS t (answer, n)
$$;

-- Text in which the character at a place is another of the same kind; base64 has the next one, so that spare bits are tried as well.
CREATE FUNCTION altered(p_text text, p_place int) RETURNS text LANGUAGE sql AS $$
    SELECT overlay(p_text PLACING translate(substr(p_text, p_place, 1), 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=,_', 'BCDEFGHIJKLMNOPQRSTUVWXYZAbcdefghijklmnopqrstuvwxyza1234567890/+-;-')
        FROM p_place FOR 1)
$$;

-- HMAC-SHA256 by RFC 2104, in SQL.
CREATE FUNCTION padded(p_key bytea, p_with int) RETURNS bytea LANGUAGE sql AS $$
    SELECT string_agg(set_byte('\x00', 0, p_with # CASE WHEN i < length(k) THEN get_byte(k, i) ELSE 0 END), '' ORDER BY i)
    FROM (SELECT CASE WHEN length(p_key) > 64 THEN sha256(p_key) ELSE p_key END) AS key (k), generate_series(0, 63) AS i
$$;
CREATE FUNCTION hmac(p_key bytea, p_message bytea) RETURNS bytea LANGUAGE sql
    AS $$ SELECT sha256(padded(p_key, 92) || sha256(padded(p_key, 54) || p_message)) $$;

-- What sign_webhook() should answer.
CREATE FUNCTION reference(p_scheme text, p_secret text, p_body bytea, p_id text, p_stamp bigint) RETURNS text LANGUAGE sql AS $$
    SELECT CASE p_scheme
        WHEN 'standard' THEN 'v1,' || encode(hmac(decode(substr(p_secret, 7), 'base64'), convert_to(format('%s.%s.', p_id, p_stamp), 'UTF8') || p_body), 'base64')
        ELSE format('t=%s,v1=%s', p_stamp, encode(hmac(convert_to(p_secret, 'UTF8'), convert_to(p_stamp || '.', 'UTF8') || p_body), 'hex')) END
$$;

SELECT is(encode(hmac(key, message), 'hex'), mac, format('test case %s of RFC 4231 proves the reference', n))
FROM (VALUES
    (1, decode(repeat('0b', 20), 'hex'), 'Hi There'::bytea, 'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7'),
    (2, 'Jefe', 'what do ya want for nothing?', '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'),
    (3, decode(repeat('aa', 20), 'hex'), decode(repeat('dd', 50), 'hex'), '773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe'),
    (6, decode(repeat('aa', 131), 'hex'), 'Test Using Larger Than Block-Size Key - Hash Key First', '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54'))
    AS rfc (n, key, message, mac);

-- Published signatures: the libraries of Standard Webhooks, stripe-dotnet (event_test_signature.json)
SELECT is(holdfast.sign_webhook('standard', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', '{"test": 2432232314}', 'msg_p5jXN8AQM9LWM0D4loKWxJek', 1614265330),
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=', 'the signature of Standard Webhooks is made');
SELECT is(holdfast.sign_webhook('stripe', 'webhook_secret', (stripe()).body, NULL, 1533204620), (stripe()).signature, 'and that of Stripe');
SELECT is(taken(standard()), 'verified', 'the signature of Standard Webhooks is verified');
SELECT is(taken(stripe()), 'verified', 'and that of Stripe');
SELECT is(taken_with(stripe(), (stripe()).signature || ',v0=63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef'), 'verified',
    'beside one of a version that does not count');
SELECT is(taken_by(standard(), 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'), 'verified', 'a secret may come without whsec_');

-- Against the reference
CREATE TABLE sample AS
SELECT scheme, secret, body, 'evt_' || md5(body) AS id, 1700000000 + length(body)::bigint AS stamp
FROM (VALUES ('standard', 'whsec_' || encode(sha256('1'), 'base64')), ('stripe', 'whsec_1234')) AS s (scheme, secret),
    (SELECT substr(bytes, 1, n) FROM (SELECT string_agg(sha256(i::text::bytea), '' ORDER BY i) FROM generate_series(1, 10) AS i) AS b (bytes), generate_series(0, 300) AS n
     UNION ALL VALUES ('\x00'::bytea), ('\x0000000000'), ('\x7b7d00'), ('\x007b7d'), ('\xff'), ('\xc080'), ('\xeda080'), ('\xf8888080'), ('\x0d0a')
     UNION ALL SELECT decode(repeat('00ff7b0a', 262144), 'hex')) AS b (body);
SELECT is((SELECT format('%s, of %s to %s bytes', count(*), min(length(body)), max(length(body))) FROM sample), '622, of 0 to 1048576 bytes', 'there are bodies of all kinds');
SELECT is((SELECT count(*) FROM sample WHERE holdfast.sign_webhook(scheme, secret, body, id, stamp) IS DISTINCT FROM reference(scheme, secret, body, id, stamp)), 0::bigint,
    'each signature is that of the reference');
SELECT is((SELECT tally(array_agg(taken(ROW(scheme, ARRAY[secret], body, reference(scheme, secret, body, id, stamp), id, stamp)::webhook))) FROM sample), '622 verified',
    'and each is verified');

-- Altered
SELECT is((SELECT tally(array_agg(taken_for(w, set_bit((w).body, bit::bigint, 1 - get_bit((w).body, bit::bigint))))) FROM generate_series(0, 8 * length((w).body) - 1) AS bit),
    format('%s HF037', 8 * length((w).body)), format('%s: no bit of the body can be changed', (w).scheme))
FROM (VALUES (standard()), (stripe())) AS t (w);
SELECT is((SELECT tally(array_agg(taken_for(w, substr((w).body, 1, n)))) FROM generate_series(0, length((w).body) - 1) AS n),
    format('%s HF037', length((w).body)), format('%s: the body cannot be cut off anywhere', (w).scheme))
FROM (VALUES (standard()), (stripe())) AS t (w);
SELECT is(tally(ARRAY[taken_for(w, (w).body || '\x00'), taken_for(w, (w).body || '\x0a'), taken_for(w, (w).body || '\x20'), taken_for(w, '\x20' || (w).body),
    taken_for(w, '\x00' || (w).body), taken_for(w, ''), taken_for(w, (w).body || (w).body)]), '7 HF037', format('%s: nor can anything be added', (w).scheme))
FROM (VALUES (standard()), (stripe())) AS t (w);
SELECT is((SELECT tally(array_agg(taken_with(standard(), altered((standard()).signature, n)))) FROM generate_series(4, 47) AS n), '44 HF037',
    'standard: no character of the signature can be changed, and no spare bit');
SELECT is((SELECT tally(array_agg(taken_with(stripe(), altered((stripe()).signature, n)))) FROM generate_series(17, 80) AS n), '64 HF037',
    'stripe: nor there');
SELECT is((SELECT tally(array_agg(taken_with(stripe(), altered((stripe()).signature, n)))) FROM generate_series(3, 12) AS n), '10 HF037',
    'stripe: no digit of the timestamp can be changed');
SELECT is((SELECT tally(array_agg(taken_as(standard(), altered((standard()).id, n)))) FROM generate_series(1, 27) AS n), '27 HF037', 'standard: no character of the id can be changed');
SELECT is((SELECT tally(array_agg(taken_of(standard(), altered((standard()).stamp, n)))) FROM generate_series(1, 10) AS n), '10 HF037', 'standard: nor of the timestamp');

SELECT is(taken_of(standard(), '0' || (standard()).stamp), 'HF037', 'standard: it is signed as it is written');
SELECT is(taken_by(standard(), 'whsec_' || encode(decode(repeat('07', 32), 'hex'), 'base64')), 'HF037', 'standard: another secret does not fit');
SELECT is(tally(ARRAY[taken_by(stripe(), 'webhook_secrer'), taken_by(stripe(), 'webhook_secret '), taken_by(stripe(), 'webhook_secre'), taken_by(stripe(), 'WEBHOOK_SECRET'),
    taken_by(stripe(), E'webhook_secret\n')]), '5 HF037', 'stripe: nor one that is nearly the same');

-- Cut off
SELECT is((SELECT tally(array_agg(taken_with(w, left((w).signature, n)))) FROM generate_series(0, length((w).signature) - 1) AS n),
    format('%s HF036', length((w).signature)), format('%s: a signature header that is cut off, anywhere, is malformed', (w).scheme))
FROM (VALUES (standard()), (stripe())) AS t (w);
SELECT is((SELECT tally(array_agg(taken_with(w, right((w).signature, n)))) FROM generate_series(0, length((w).signature) - 1) AS n),
    format('%s HF036', length((w).signature)), format('%s: and one that lacks its beginning', (w).scheme))
FROM (VALUES (standard()), (stripe())) AS t (w);
SELECT is((SELECT tally(array_agg(taken_with(standard(), (standard()).signature || left(' v1a,hnO3f9T8', n)))) FROM generate_series(0, 13) AS n), '14 verified',
    'standard: what is cut off after a good signature does no harm');
SELECT is((SELECT tally(array_agg(taken_with(stripe(), (stripe()).signature || left(',v0=63f3a723', n)))) FROM generate_series(0, 12) AS n), '3 HF036, 10 verified',
    'stripe: nor there, if it is name=value');
SELECT is((SELECT tally(array_agg(taken_as(standard(), left((standard()).id, n)))) FROM generate_series(0, 27) AS n), '1 HF036, 27 HF037', 'an id that is cut off is another');
SELECT is((SELECT tally(array_agg(taken_of(standard(), left((standard()).stamp, n)))) FROM generate_series(0, 9) AS n), '1 HF036, 9 HF037', 'and so is a timestamp');

-- Several signatures, several secrets
CREATE TABLE rotation AS
SELECT *, by_old || separator || replace(by_new, beginning, '') AS by_both
FROM (SELECT scheme, old, new, holdfast.sign_webhook(scheme, old, '{"n": 1}', 'evt_1', 1700000000) AS by_old, holdfast.sign_webhook(scheme, new, '{"n": 1}', 'evt_1', 1700000000) AS by_new,
          CASE scheme WHEN 'standard' THEN ' ' ELSE ',' END AS separator, CASE scheme WHEN 'standard' THEN '' ELSE 't=1700000000,' END AS beginning
      FROM (VALUES ('standard', 'whsec_' || encode(sha256('old'), 'base64'), 'whsec_' || encode(sha256('new'), 'base64')), ('stripe', 'old', 'new')) AS s (scheme, old, new)) AS t;
SELECT is(taken(ROW(scheme, secrets, '{"n": 1}'::bytea, signature, 'evt_1', '1700000000')::webhook), wanted, format('%s: %s', scheme, sentence))
FROM rotation, LATERAL (VALUES
    (1, ARRAY[old], by_both, 'verified', 'while the sender exchanges the secret, who has the old one verifies'),
    (2, ARRAY[new], by_both, 'verified', 'and who has the new one'),
    (3, ARRAY[old, new], by_old, 'verified', 'while the receiver does, he takes the old one'),
    (4, ARRAY[old, new], by_new, 'verified', 'and the new one'),
    (5, ARRAY[new, old], by_both, 'verified', 'and both'),
    (6, ARRAY[new], by_old, 'HF037', 'who has only the new one does not take the old one'),
    (7, ARRAY[old], by_new, 'HF037', 'nor the other way round')) AS c (n, secrets, signature, wanted, sentence)
ORDER BY scheme, n;
CREATE FUNCTION crowded(p_webhook webhook, p_signatures int) RETURNS text LANGUAGE sql AS $$
    SELECT CASE (p_webhook).scheme
        WHEN 'standard' THEN repeat('v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= ', p_signatures - 1) || (p_webhook).signature
        ELSE repeat('v1=' || repeat('5257a869', 8) || ',', p_signatures - 1) || (p_webhook).signature END
$$;
SELECT is(taken_with(standard(), crowded(standard(), 85)) || ', ' || taken_with(stripe(), crowded(stripe(), 60)), 'verified, verified', 'the last of many signatures fits');
SELECT is(taken_with(standard(), crowded(standard(), 86)) || ', ' || taken_with(stripe(), crowded(stripe(), 61)), 'HF036, HF036', 'but a header has 4096 bytes at most');
SELECT is(taken_with(stripe(), rpad((stripe()).signature || ',v2=', 4096, 'x')), 'verified', 'of which all may be used');
SELECT is(taken_with(stripe(), rpad((stripe()).signature || ',v2=', 4097, 'x')), 'HF036', 'and no more');
SELECT is((SELECT taken_by(stripe(), VARIADIC array_agg('secret ' || i) || '{webhook_secret}'::text[]) FROM generate_series(1, 1000) AS i), 'verified', 'the last of many secrets fits');

-- Other versions, other spellings
SELECT is(taken_with(w, s), wanted, format('%s: %s', (w).scheme, sentence))
FROM (SELECT standard(), (standard()).signature) AS a (w, g), LATERAL (VALUES
    (replace(g, 'v1,', 'v1a,'), 'HF036', 'version v1a does not count'),
    (replace(g, 'v1,', 'v2,'), 'HF036', 'nor v2'),
    (replace(g, 'v1,', 'V1,'), 'HF036', 'nor V1'),
    (replace(g, 'v1,', ''), 'HF036', 'nor none'),
    (replace(g, 'v1,', 'v1='), 'HF036', 'nor one with an equals sign'),
    (replace(g, ',', ', '), 'HF036', 'nor one with a space in it'),
    (g || '=', 'HF036', 'a signature is not longer'),
    (replace(g, '1OE=', '1OE'), 'HF036', 'and does not lack its padding'),
    (translate(g, '+/', '-_'), 'HF037', 'it is not in the base64 of addresses'),
    ('v1,' || encode(decode(substr(g, 4), 'base64'), 'hex'), 'HF036', 'nor in hexadecimal'),
    (g || E'\n', 'HF036', 'and has no line end'),
    ('  ' || g || '  ', 'verified', 'more spaces do no harm'),
    ('v1,potato ' || g || ' v1,', 'verified', 'nor does what is no signature, beside one'),
    ((stripe()).signature, 'HF036', 'a header of Stripe is none')) AS c (s, wanted, sentence);
SELECT is(taken_with(w, s), wanted, format('%s: %s', (w).scheme, sentence))
FROM (SELECT stripe(), (stripe()).signature, split_part((stripe()).signature, 'v1=', 2)) AS a (w, g, hex), LATERAL (VALUES
    (replace(g, 'v1=', 'v0='), 'HF036', 'version v0 does not count'),
    (replace(g, 'v1=', 'v2='), 'HF036', 'nor v2'),
    (replace(g, 'v1=', 'V1='), 'HF036', 'nor V1'),
    (replace(g, 'v1=', 'v1=='), 'HF036', 'nor one with two equals signs'),
    (replace(g, ',', ', '), 'HF036', 'nor one with a space before it'),
    (upper(g), 'HF036', 'a header in capitals is none'),
    ('t=1533204620,v1=' || upper(hex), 'HF037', 'hexadecimal has no capitals'),
    ('t=1533204620,v1=' || encode(decode(hex, 'hex'), 'base64'), 'HF036', 'a signature is not in base64'),
    (g || '0', 'HF036', 'and not longer'),
    (g || E'\n', 'HF036', 'and has no line end'),
    ('v1=' || hex || ',t=1533204620', 'verified', 'the timestamp may come last'),
    (g || ',v1=potato,v1=,future=1', 'verified', 'what is no signature, beside one, does no harm'),
    ((standard()).signature, 'HF036', 'a header of Standard Webhooks is none')) AS c (s, wanted, sentence);

-- Malformed
SELECT is(taken_with(stripe(), header || ',' || split_part((stripe()).signature, ',', 2)), 'HF036', format('stripe: a header that begins with "%s" is malformed', left(header, 30)))
FROM (VALUES (''), ('t'), ('t='), ('t=x'), ('t=-1533204620'), ('t=+1533204620'), ('t= 1533204620'), ('t=1533204620 '), ('t=1533204620.0'), ('t=1.5e9'), ('t=0x5B62CE4C'),
    ('t=1533204620000'), ('t=9223372036854775808'), ('t=18446744075242756236'), ('t=' || repeat('9', 1000)), ('t=1533204620,t=1533204620'), ('t=1533204621,t=1533204620'),
    ('T=1533204620'), ('t=1533204620,'), (',t=1533204620'), ('t=１'), ('t=1533204620;'), ('timestamp=1533204620')) AS h (header);
SELECT is(taken_of(standard(), stamp), 'HF036', format('standard: the timestamp "%s" is malformed', rtrim(left(stamp, 30), E'\n')))
FROM (VALUES (''), (' '), ('x'), ('-1614265330'), ('+1614265330'), (' 1614265330'), ('1614265330 '), ('1614265330.0'), ('1.6e9'), ('0x6037'), ('1614265330000'),
    ('9223372036854775808'), ('18446744075323816946'), (repeat('9', 1000)), ('2021-02-25 15:02:10Z'), ('infinity'), (E'1614265330\n'), ('１')) AS t (stamp);
SELECT is(taken_as(standard(), id), 'HF036', format('standard: an id %s is malformed', sentence))
FROM (VALUES ('', 'of no character'), (' ', 'of a space'), ('msg_1 ', 'with a space'), (E'msg\x01', 'with a control character'), (E'msg_1\r\n', 'with a line end'), (E'msg\x7f', 'with DEL'),
    ('msg_ä', 'beyond ASCII'), ('msg.1', 'with a full stop'), (repeat('m', 256), 'of 256 bytes')) AS i (id, sentence);
SELECT is((SELECT taken(ROW('standard', ARRAY[secret], '{}'::bytea, holdfast.sign_webhook('standard', secret, '{}', id, 1700000000), id, '1700000000')::webhook)
    FROM (VALUES ('whsec_' || encode(sha256('1'), 'base64'), repeat('~', 255))) AS v (secret, id)), 'verified', 'one of 255 bytes is not');

-- The time
SELECT is(taken(w, signed_at(w) + age, '5 minutes'), wanted, format('%s: %s', (w).scheme, sentence))
FROM (VALUES (standard()), (stripe())) AS t (w),
    (VALUES (1, '0'::interval, 'verified', 'a webhook is taken when it is signed'),
            (2, '5 minutes', 'verified', 'and as long after as is tolerated'),
            (3, '5 minutes 0.000001 s', 'HF038', 'but not longer'),
            (4, '-5 minutes', 'verified', 'a clock may be as far behind'),
            (5, '-5 minutes -0.000001 s', 'HF038', 'but not further'),
            (6, '100 years', 'HF038', 'much later it is too old'),
            (7, '-100 years', 'HF038', 'much earlier it is from the future')) AS a (n, age, wanted, sentence)
ORDER BY (w).scheme, n;
SELECT is(taken(w, '2038-01-01', '5 minutes'), 'HF037', format('%s: what is not signed by us is just that, however old, so that nobody learns more', (w).scheme))
FROM (VALUES (ROW('stripe', '{webhook_secret}'::text[], ''::bytea, (stripe()).signature, NULL, NULL)::webhook),
    (ROW('standard', (standard()).secrets, ''::bytea, (standard()).signature, (standard()).id, (standard()).stamp)::webhook)) AS t (w);
SELECT is(taken(standard(), '294276-12-31 23:59:59Z', '178000000 years') || ' ' || taken(standard(), '4713-01-01 00:00:00Z BC', '178000000 years'), 'verified verified',
    'the longest tolerance does not overflow');
SELECT is(taken(standard(), '294276-12-31 23:59:59Z', '1 day') || ' ' || taken(standard(), '4713-01-01 00:00:00Z BC', '1 day'), 'HF038 HF038', 'nor does the furthest time');
SELECT is(taken(ROW('stripe', '{s}'::text[], ''::bytea, holdfast.sign_webhook('stripe', 's', '', NULL, stamp), NULL, NULL)::webhook, now, '1 s'), 'verified',
    format('%s seconds since 1970 are a time', stamp))
FROM (VALUES (0, '1970-01-01 00:00:00Z'::timestamptz), (999999999999, '33658-09-27 01:46:39Z')) AS t (stamp, now);
SELECT is(undone(format($$SELECT 'verified' FROM holdfast.verify_webhook('stripe', '{s}', '{}', holdfast.sign_webhook('stripe', 's', '{}', NULL, %s), NULL, NULL) AS v$$,
    extract(epoch FROM clock_timestamp() + age)::bigint)), wanted, sentence)
FROM (VALUES ('0 s'::interval, 'verified', 'without p_now it is the clock that counts'), ('-290 s', 'verified', 'and five minutes are tolerated'), ('290 s', 'verified', 'either way'),
    ('-310 s', 'HF038', 'but not more'), ('310 s', 'HF038', 'neither way')) AS a (age, wanted, sentence);
SELECT refuses($$SELECT holdfast.verify_webhook('stripe', '{s}', '', holdfast.sign_webhook('stripe', 's', '', NULL, 1700000000), NULL, NULL, '5 minutes', '2023-11-14 23:13:20Z')$$,
    'HF038', 'an old webhook is refused with how old it is', '3600 seconds ago; 300 are allowed', 'clocks');
SELECT refuses($$SELECT holdfast.verify_webhook('stripe', '{s}', '', holdfast.sign_webhook('stripe', 's', '', NULL, 1700000000), NULL, NULL, '90.5 s', '2023-11-14 21:13:20Z')$$,
    'HF038', 'one from the future with how far it is', '3600 seconds ahead; 90.5 are allowed', 'clocks');
SELECT refuses($$SELECT holdfast.verify_webhook('stripe', '{a,b,c}', '', holdfast.sign_webhook('stripe', 's', '', NULL, 1700000000), NULL, NULL)$$,
    'HF037', 'one that does not fit with how much was tried', 'Signatures: 1. Secrets: 3.', 'bytes that were received');
SELECT refuses($$SELECT holdfast.verify_webhook('stripe', '{s}', '', '', NULL, NULL)$$, 'HF036', 'a malformed one with what is wrong', 'name=value', 'headers');

-- Secrets
SELECT is(taken_by(w, secret), '22023', format('%s: a secret %s is refused', (w).scheme, sentence))
FROM (VALUES (standard(), '', 'of no character'), (standard(), 'whsec_', 'of a prefix'), (standard(), 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS', 'that is cut off'),
    (standard(), 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!', 'that is no base64'), (standard(), E'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n', 'with a line end'),
    (standard(), 'whsec_' || encode(decode(repeat('07', 23), 'hex'), 'base64'), 'of 23 bytes'),
    (standard(), 'whsec_' || translate(encode(decode(repeat('07', 65), 'hex'), 'base64'), E'\n', ''), 'of 65 bytes'),
    (standard(), repeat('A', 100000), 'of 75000 bytes'), (standard(), 'whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'that is a public key'), (stripe(), '', 'of no character'))
    AS s (w, secret, sentence);
SELECT is(taken_by(standard(), 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'whsec_'), '22023', 'also when another one fits');
SELECT is((SELECT taken(ROW('standard', ARRAY[secret], ''::bytea, holdfast.sign_webhook('standard', secret, '', 'i', 1700000000), 'i', '1700000000')::webhook)
    FROM (SELECT 'whsec_' || translate(encode(decode(repeat('07', n), 'hex'), 'base64'), E'\n', '')) AS s (secret)), 'verified', format('one of %s bytes is not', n))
FROM (VALUES (24), (64)) AS b (n);
SELECT is(taken(ROW('stripe', ARRAY[secret], ''::bytea, reference('stripe', secret, '', NULL, 1700000000), NULL, NULL)::webhook), 'verified',
    format('a secret of Stripe is taken as it is: %s', left(secret, 20)))
FROM (VALUES ('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'), (' '), ('sésame'), (repeat('x', 64)), (repeat('x', 65)), (repeat('x', 5000))) AS s (secret);

-- Arguments
SELECT is(undone(format('SELECT %s FROM (SELECT (standard()).*) AS w', replace(call, 'none', 'NULL'))), '22004', format('%s is refused', call))
FROM (VALUES ('holdfast.sign_webhook(none, secrets[1], body, id, 1)'), ('holdfast.sign_webhook(scheme, none, body, id, 1)'), ('holdfast.sign_webhook(scheme, secrets[1], none, id, 1)'),
    ('holdfast.sign_webhook(scheme, secrets[1], body, none, 1)'), ('holdfast.sign_webhook(scheme, secrets[1], body, id, none)'),
    ('holdfast.verify_webhook(none, secrets, body, signature, id, stamp)'), ('holdfast.verify_webhook(scheme, none, body, signature, id, stamp)'),
    ('holdfast.verify_webhook(scheme, secrets, none, signature, id, stamp)'), ('holdfast.verify_webhook(scheme, secrets, body, none, id, stamp)'),
    ('holdfast.verify_webhook(scheme, secrets, body, signature, none, stamp)'), ('holdfast.verify_webhook(scheme, secrets, body, signature, id, none)'),
    ('holdfast.verify_webhook(scheme, secrets, body, signature, id, stamp, none)'), ('holdfast.verify_webhook(scheme, ARRAY[secrets[1], none], body, signature, id, stamp)')) AS c (call);
SELECT is(undone(format('SELECT %s FROM (SELECT (standard()).*) AS w', call)), wanted, format('%s is refused', call))
FROM (VALUES ('holdfast.sign_webhook(''Standard'', secrets[1], body, id, 1)', '22023'), ('holdfast.sign_webhook('''', secrets[1], body, id, 1)', '22023'),
    ('holdfast.verify_webhook(''STRIPE'', secrets, body, signature, id, stamp)', '22023'), ('holdfast.verify_webhook(''stripe '', secrets, body, signature, id, stamp)', '22023'),
    ('holdfast.sign_webhook(scheme, ''whsec_'', body, id, 1)', '22023'), ('holdfast.sign_webhook(''stripe'', '''', body, id, 1)', '22023'),
    ('holdfast.sign_webhook(scheme, secrets[1], body, '''', 1)', '22023'), ('holdfast.sign_webhook(scheme, secrets[1], body, ''a.b'', 1)', '22023'),
    ('holdfast.sign_webhook(scheme, secrets[1], body, id, -1)', '22023'), ('holdfast.sign_webhook(scheme, secrets[1], body, id, 1000000000000)', '22023'),
    ('holdfast.sign_webhook(''stripe'', secrets[1], body, id, -9223372036854775808)', '22023'), ('holdfast.sign_webhook(''stripe'', secrets[1], body, id, 9223372036854775807)', '22023'),
    ('holdfast.verify_webhook(scheme, secrets, body, signature, id, stamp, ''0'')', '22023'), ('holdfast.verify_webhook(scheme, secrets, body, signature, id, stamp, ''-5 minutes'')', '22023'),
    ('holdfast.verify_webhook(scheme, secrets, body, signature, id, stamp, ''-178000000 years'')', '22023'),
    ('holdfast.verify_webhook(scheme, secrets, body, signature, id, stamp, ''1 s'', ''infinity'')', '22023'),
    ('holdfast.verify_webhook(scheme, secrets, body, signature, id, stamp, ''1 s'', ''-infinity'')', '22023'),
    ('holdfast.verify_webhook(scheme, ''{}'', body, signature, id, stamp)', 'HF005'), ('holdfast.verify_webhook(scheme, ARRAY[secrets, secrets], body, signature, id, stamp)', 'HF005'))
    AS c (call, wanted);

-- Nothing leaks
SELECT ok(count(*) > 5000, 'all that was said when a webhook was refused is known') FROM said;
SELECT is((SELECT string_agg(DISTINCT what, E'\n') FROM said, unnest(ARRAY['MfKQ9r8G', 'webhook_secre', 'BwcHBwcH', 'A{20}', 'g0hM9SsE', '2220f87e', '243223', 'evt_', 'cus_', 'msg_', '\mv1[,=]\S',
    '[0-9a-f]{32}']) AS secret (pattern) WHERE what ~ pattern), NULL, 'no secret, signature, id or body was ever in it');
SELECT is((SELECT string_agg(DISTINCT what, E'\n') FROM said WHERE what !~ '^(malformed|no|webhook) [a-z ]+'), NULL, 'and it was short and lower-case');
SELECT throws_ok($$SELECT holdfast.sign_webhook('whsec_misplaced', 'stripe', '', NULL, 1)$$, '22023', 'unknown scheme', 'a secret in the wrong place is not repeated');
\getenv log HF_LOG
\! psql -X -q -c "SELECT 'logged_when_it_failed', 1 / 0" >/dev/null 2>&1
\! psql -X -q -c "SELECT holdfast.verify_webhook('stripe', '{never_logged_1}', '', 't=1,v1=' || repeat('0', 64), NULL, NULL)" >/dev/null 2>&1
\! psql -X -q -c "SELECT holdfast.verify_webhook('standard', '{never_logged_2}', NULL, '', '', '')" >/dev/null 2>&1
\! psql -X -q -c "SELECT holdfast.sign_webhook('standard', 'never_logged_3', '', 'i', 1)" >/dev/null 2>&1
SELECT ok(pg_read_file(:'log') ~ 'logged_when_it_failed', 'the server logs statements that fail');
SELECT ok(pg_read_file(:'log') ~ 'no signature fits' AND pg_read_file(:'log') ~ 'p_body is null' AND pg_read_file(:'log') ~ 'malformed secret', 'it logs that these failed');
SELECT ok(pg_read_file(:'log') !~ 'never_logged', 'but not the statements, which have secrets in them');

SELECT * FROM finish();
ROLLBACK;

-- Setting a new password: with a link, and with the old one.
\ir include/begin.sql
SELECT plan(37);

CREATE FUNCTION hash(p_name text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$SELECT sha256(convert_to(p_name, 'UTF8'))$$;
CREATE FUNCTION secret(p_name text) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT rpad(p_name, 43, 'x')$$;
CREATE FUNCTION ask(p_email text, p_name text) RETURNS rest.reply LANGUAGE sql AS $$
    SELECT * FROM rest.password_reset_request(NULL, jsonb_build_object('email', p_email), secret(p_name), hash(secret(p_name)))
$$;
CREATE FUNCTION use(p_who text, p_name text, p_password text) RETURNS integer LANGUAGE sql AS $$
    SELECT status FROM rest.password_reset_finish(NULL, person(p_who), hash(secret(p_name)), '$argon2id$' || p_password)
$$;
CREATE FUNCTION password(p_who text) RETURNS text LANGUAGE sql AS $$SELECT substr(password_hash, 11) FROM shop.account WHERE id = person(p_who)$$;
CREATE FUNCTION families(p_who text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(coalesce(reason, 'going on'), ', ' ORDER BY id) FROM shop.refresh_family WHERE account_id = person(p_who)
$$;
SELECT person('anna'), person('bert') \g /dev/null
SELECT rest.token_issue(NULL, person('anna'), '$argon2id$test', hash('a' || n)) FROM generate_series(1, 2) AS n \g /dev/null
SELECT rest.token_issue(NULL, person('bert'), '$argon2id$test', hash('b')) \g /dev/null

-- A link.
CREATE TEMPORARY TABLE reply AS SELECT 'known' AS who, * FROM ask('Anna@Example.org', 'r1');
SELECT is(status || coalesce(etag, location, body::text, ''), '202', 'asking for a link is accepted') FROM reply;
SELECT is((SELECT array_agg(payload::jsonb) FROM shop.job WHERE kind = 'password_reset'),
    ARRAY[jsonb_build_object('account_id', person('anna')::text, 'token', person('anna') || '.' || secret('r1'))], 'the mail is enqueued with the token');
SELECT is((SELECT count(*) FROM shop.password_reset WHERE token_hash = hash(secret('r1'))), 1::bigint, 'of which only the hash is stored here');
CREATE TEMPORARY TABLE was AS SELECT contents();
INSERT INTO reply SELECT 'unknown', * FROM ask('nobody@example.org', 'r2');
SELECT is((SELECT to_jsonb(r) - 'who' FROM reply r WHERE who = 'unknown'), (SELECT to_jsonb(r) - 'who' FROM reply r WHERE who = 'known'), 'whether somebody has the address is not told');
SELECT is(contents(), contents, 'and nothing is done for nobody') FROM was;
SELECT refuses($$SELECT ask('nobody', 'r2')$$, 'HS015', 'an address that cannot be one is refused', '/email');
SELECT refuses($$SELECT rest.password_reset_request(NULL, '{"email": "anna@example.org"}', 'short', hash('short'))$$, 'HS015', 'a secret is long');
SELECT refuses($$SELECT rest.password_reset_request(NULL, '{"email": "anna@example.org"}', secret('r2'), 'r2')$$, 'HS015', 'and its hash is one');

SELECT is(use('anna', 'r1', 'new'), 204, 'a link sets a new password');
SELECT is(password('anna'), 'new', 'which holds');
SELECT is(families('anna') || '; ' || families('bert'), 'password, password; going on', 'the account is logged out everywhere, and no other');
SELECT refuses($$SELECT use('anna', 'r1', 'again')$$, 'HS104', 'a link works once');
SELECT refuses($$SELECT rest.token_issue(NULL, person('anna'), '$argon2id$test', hash('a3'))$$, 'HS101', 'the old password is good no more, even if it was looked at before');
SELECT lives_ok($$SELECT ask('anna@example.org', 'r3'), ask('anna@example.org', 'r4')$$, 'two links are asked for');
SELECT refuses($$SELECT use('anna', 'r3', 'x')$$, 'HS104', 'the older one is void');
SELECT refuses($$SELECT use('bert', 'r4', 'x')$$, 'HS104', 'the newer one is nobody else''s');
SELECT refuses($$SELECT rest.password_reset_finish(NULL, person('anna'), hash(secret('r4')), 'plain')$$, 'HS015', 'a password does not come in plain text', '/password');
SELECT refuses($$SELECT rest.password_reset_finish(NULL, person('anna'), hash(secret('r4')), NULL)$$, 'HS010', 'nor not at all', '/password');
SELECT refuses($$SELECT rest.password_reset_finish(NULL, NULL, NULL, '$argon2id$x')$$, 'HS104', 'no link is a bad link');
SELECT is(use('anna', 'r4', 'newer') || password('anna'), '204newer', 'the newer one is good all the same');
SELECT lives_ok($$SELECT ask('anna@example.org', 'r5')$$, 'a link is asked for');
UPDATE shop.password_reset SET expires_at = expires_at - interval '61 minutes';
SELECT refuses($$SELECT use('anna', 'r5', 'x')$$, 'HS104', 'it is good for an hour');
SELECT is(shop.purge_tokens(10, '0'), 5::bigint - 2, 'the purge takes what has ended') FROM (SELECT) AS x;
SELECT is((SELECT count(*) FROM shop.password_reset) || ' ' || families('bert'), '0 going on', 'and leaves the rest');
SELECT lives_ok($$SELECT ask('anna@example.org', 'r6')$$, 'a link is asked for');
UPDATE shop.account SET suspended_at = clock_timestamp() WHERE id = person('bert');
UPDATE was SET contents = contents();
SELECT is((SELECT status FROM ask('bert@example.org', 'r7')), 202, 'who is suspended is answered like everybody');
SELECT is(contents(), contents, 'but gets no link') FROM was;

-- With the old password.
SELECT rest.token_issue(NULL, person('anna'), '$argon2id$newer', hash('a4')) \g /dev/null
SELECT refuses($$SELECT rest.me_password_set(person('anna'), '$argon2id$test', '$argon2id$x')$$, 'HS103', 'a wrong password changes nothing', '/current_password');
SELECT refuses($$SELECT rest.me_password_set(person('anna'), NULL, '$argon2id$x')$$, 'HS103', 'and neither does none', '/current_password');
SELECT refuses($$SELECT rest.me_password_set(person('anna'), '$argon2id$newer', 'x')$$, 'HS015', 'the new one does not come in plain text', '/password');
SELECT refuses($$SELECT rest.me_password_set(NULL, '$argon2id$newer', '$argon2id$x')$$, 'HS001', 'somebody is logged in');
SELECT refuses($$SELECT rest.me_password_set(person('bert'), '$argon2id$test', '$argon2id$x')$$, 'HS002', 'and not suspended');
SELECT is((SELECT status FROM rest.me_password_set(person('anna'), '$argon2id$newer', '$argon2id$newest')) || password('anna'), '204newest', 'the old password allows a new one');
SELECT is(families('anna'), 'password', 'the account is logged out everywhere');
SELECT refuses($$SELECT use('anna', 'r6', 'x')$$, 'HS104', 'and links that were sent before are void');
INSERT INTO shop.account (name) VALUES ('customer of a market place');
SELECT refuses($$SELECT rest.token_issue(NULL, id, NULL, hash('c')) FROM shop.account WHERE email IS NULL$$, 'HS101', 'who has no password cannot log in');
SELECT refuses($$SELECT rest.me_password_set(id, NULL, '$argon2id$x') FROM shop.account WHERE email IS NULL$$, 'HS103', 'nor give himself one');
SELECT finish();
ROLLBACK;

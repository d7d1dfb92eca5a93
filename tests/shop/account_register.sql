-- Opening an account, and finding it to log in.
\ir include/begin.sql
SELECT plan(67);

CREATE FUNCTION register(p_email text, p_name text DEFAULT 'Somebody', p_hash text DEFAULT '$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA') RETURNS rest.reply LANGUAGE sql AS $$
    SELECT * FROM rest.account_create(NULL, jsonb_build_object('email', p_email, 'name', p_name), p_hash)
$$;

CREATE TEMPORARY TABLE reply AS SELECT * FROM register('Anna.Smith@Example.org', 'Anna');
SELECT is(status, 201, 'an account is opened') FROM reply;
SELECT is(etag || location, '"1"/v1/me', 'its ETag and its place are told') FROM reply;
SELECT is(body::jsonb - 'id', '{"email": "Anna.Smith@Example.org", "name": "Anna", "roles": ["user"]}', 'and what it is, without its password''s hash') FROM reply;
SELECT is(jsonb_typeof(body::jsonb -> 'id'), 'string', 'an id is a string in JSON') FROM reply;
SELECT is(email, 'Anna.Smith@Example.org', 'the address is kept as it was typed') FROM shop.account WHERE id = (SELECT (body ->> 'id')::bigint FROM reply);
SELECT is(email, 'anna.smith@example.org', 'and in lower case in the directory') FROM shop.login WHERE account_id = (SELECT (body ->> 'id')::bigint FROM reply);

SELECT refuses($$SELECT register('anna.smith@example.ORG')$$, 'HS102', 'an address has one account, however it is written', '/email');
SELECT is((register('ärger@bücher.example')).status, 201, 'an address may have letters beyond ASCII');
SELECT refuses($$SELECT register('ÄRGER@BÜCHER.example')$$, 'HS102', 'whose case does not count either', '/email');
SELECT refuses(E'SELECT register(E\'A\u0308rger@bu\u0308cher.example\')', 'HS102', 'nor how they are composed', '/email');
SELECT refuses(E'SELECT register(E\'anna.smith@e\u0445ample\')', 'HS015', 'a domain has a dot', '/email');
SELECT is((SELECT count(*) FROM shop.account WHERE id NOT IN (SELECT account_id FROM shop.login)), 0::bigint, 'a refused registration leaves no account behind');

SELECT is((register(e)).status, 201, format('%s is an address', e))
FROM unnest(ARRAY['a@b.cd', 'o''brien+tag@mail.example.co.uk', 'x_y-z%q@sub-domain.example', '用户@例え.jp', '1@2.io', 'a!#$&*=?^`{|}~/b@example.org', 'a@xn--bcher-kva.example']) AS e;
SELECT is((register(repeat('a', 64) || '@' || repeat(repeat('b', 59) || '.', 3) || 'example')).status, 201, 'an address may have 252 characters');

SELECT refuses(format('SELECT register(%L)', e), 'HS015', format('%s is none', to_json(e)), '/email')
FROM unnest(ARRAY['anna', 'anna@', '@example.org', 'a@b@example.org', 'a@localhost', 'a b@example.org', 'a@exa mple.org', '"a b"@example.org', '<a@example.org>', 'a@[127.0.0.1]',
    'a@example.org,b@example.org', E'a@example.org\nBcc: all@example.org', E'a@example.org\t', 'a@-example.org', 'a@example-.org', 'a@example..org', '.a@example.org', 'a.@example.org',
    'a..b@example.org', 'a@.example.org', 'a@example.org.', 'a@example.o', 'a\@example.org', E'a\u200b@example.org', E'a\u202e@example.org', E'a\u00a0@example.org', E'a@exam\u3000ple.org',
    repeat('a', 65) || '@example.org', 'a@' || repeat('b', 64) || '.org']) AS e;
SELECT refuses($$SELECT register(repeat('a', 250) || '@b.cd')$$, 'HS012', 'an address has at most 254 characters', '/email');

SELECT refuses($$SELECT register('b@example.org', E'B\r\nBcc: all@example.org')$$, 'HS013', 'a name is one line', '/name');
SELECT refuses($$SELECT register('b@example.org', 'B', NULL)$$, 'HS010', 'there is a password', '/password');
SELECT refuses($$SELECT register('b@example.org', 'B', 'secret')$$, 'HS015', 'which does not come in plain text', '/password');
SELECT refuses($$SELECT rest.account_create(NULL, '{"email": "b@example.org", "name": "B", "password": "secret"}', '$argon2id$x')$$, 'HS009', 'not in the body either', '/password');
SELECT refuses($$SELECT rest.account_create(NULL, '{"email": "b@example.org", "name": "B", "roles": ["admin"]}', '$argon2id$x')$$, 'HS009', 'nobody gives himself a role', '/roles');
SELECT rest.account_create(NULL, '{"email": "c@example.org", "name": "C", "locale": "zh-TW"}', '$argon2id$x') \g /dev/null
SELECT is(locale, 'zh-TW', 'a language may be given') FROM shop.account WHERE email = 'c@example.org';
SELECT refuses($$SELECT rest.account_create(NULL, '{"email": "d@example.org", "name": "D", "locale": "klingon!"}', '$argon2id$x')$$, 'HS015', 'that can be one', '/locale');

-- Finding the account of somebody who logs in.
SELECT person('anna') \g /dev/null
SELECT is(body::jsonb, jsonb_build_object('account_id', person('anna')::text, 'password_hash', '$argon2id$test', 'suspended', false), 'an account is found by its address')
FROM rest.login_find(NULL, 'ANNA@example.org');
SELECT is(status || ' ' || body::jsonb::text, '200 {"suspended": null, "account_id": null, "password_hash": null}', format('%s finds nobody, with the same status', left(quote_nullable(e), 20)))
FROM unnest(ARRAY['nobody@example.org', '', NULL, 'ann_@example.org', repeat('a', 100000)]) AS e, rest.login_find(NULL, e);
SELECT is((SELECT array_agg(k ORDER BY k) FROM json_object_keys(l.body) AS k), '{account_id,password_hash,suspended}', 'nothing else is told of him')
FROM rest.login_find(NULL, 'anna@example.org') AS l;

SELECT ok(bool_and((p ->> 'status')::integer BETWEEN 400 AND 599) AND count(*) = (SELECT count(*) FROM shop.problem), 'the application can read what every code means')
FROM rest.problems(NULL) AS r, json_array_elements(r.body) AS p;
SELECT is(r.body ->> 'invalid_grant', NULL, 'as a list') FROM rest.problems(NULL) AS r;
SELECT is((rest.account_create(NULL, '{"email": "null@example.org", "name": "Null", "locale": null}', '$argon2id$v=19$m=1,t=1,p=1$c2FsdHNhbHQ$aGFzaA')).status, 201, 'null is as good as absent');
SELECT finish();
ROLLBACK;

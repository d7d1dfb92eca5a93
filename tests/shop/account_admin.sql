-- Suspending accounts, and giving them roles.
\ir include/begin.sql
SELECT plan(43);

CREATE FUNCTION hash(p_name text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$SELECT sha256(convert_to(p_name, 'UTF8'))$$;
SELECT person('root', '{user,admin}'), person('anna'), merchant('mary') \g /dev/null
SELECT rest.token_issue(NULL, person('anna'), '$argon2id$test', hash('a1')) \g /dev/null
SELECT rest.password_reset_request(NULL, '{"email": "anna@example.org"}', repeat('r', 43), hash('r')) \g /dev/null

SELECT is((SELECT array_agg(k) FROM json_object_keys(r.body) AS k), '{id,email,name,roles,merchant_id,created_at,suspended_at}', 'an admin sees an account')
FROM rest.admin_account_get(person('root'), person('anna')) AS r;
SELECT refuses($$SELECT rest.admin_account_get(person('root'), 7)$$, 'HS004', 'if there is one');
SELECT is(r.status || ' ' || r.etag || ' ' || (r.body ->> 'suspended_at' LIKE '20__-%Z'), '200 "2" true', 'an admin suspends an account') FROM rest.admin_account_suspend(person('root'), person('anna')) AS r;
SELECT refuses($$SELECT rest.me_get(person('anna'))$$, 'HS002', 'which is refused at once');
SELECT is((SELECT status FROM rest.token_refresh(NULL, person('anna'), hash('a1'), hash('a2'))), 400, 'its refresh tokens are good no more');
SELECT refuses($$SELECT rest.token_issue(NULL, person('anna'), '$argon2id$test', hash('a3'))$$, 'HS002', 'its password is good for nothing');
SELECT refuses($$SELECT rest.password_reset_finish(NULL, person('anna'), hash('r'), '$argon2id$x')$$, 'HS104', 'nor is a link that it was sent');
SELECT is(body ->> 'suspended', 'true', 'the application is told when it logs in') FROM rest.login_find(NULL, 'anna@example.org');
CREATE TEMPORARY TABLE since AS SELECT suspended_at, version FROM shop.account WHERE id = person('anna');
SELECT is((SELECT status FROM rest.admin_account_suspend(person('root'), person('anna'))), 200, 'suspending again is no error');
SELECT is((SELECT ROW(a.suspended_at, a.version)::text FROM shop.account a WHERE a.id = person('anna')), (SELECT s::text FROM since s), 'and changes nothing');
SELECT is(r.status || coalesce(r.body ->> 'suspended_at', ' not suspended'), '200 not suspended', 'an admin reinstates an account') FROM rest.admin_account_reinstate(person('root'), person('anna')) AS r;
SELECT is((SELECT status FROM rest.me_get(person('anna'))), 200, 'which is served at once');
SELECT is((SELECT status FROM rest.token_refresh(NULL, person('anna'), hash('a1'), hash('a2'))), 400, 'but has to log in anew');
SELECT is((SELECT status FROM rest.token_issue(NULL, person('anna'), '$argon2id$test', hash('a3'))), 200, 'and can');
SELECT is((SELECT etag FROM rest.admin_account_reinstate(person('root'), person('anna'))), '"3"', 'reinstating again changes nothing');

-- Even if a family was left over, a suspended account cannot refresh.
UPDATE shop.account SET suspended_at = clock_timestamp() WHERE id = person('anna');
SELECT is((SELECT status FROM rest.token_refresh(NULL, person('anna'), hash('a3'), hash('a4'))), 400, 'a suspended account cannot refresh a token that nobody revoked');
UPDATE shop.account SET suspended_at = NULL WHERE id = person('anna');
SELECT is((SELECT status FROM rest.token_refresh(NULL, person('anna'), hash('a3'), hash('a4'))), 200, 'which is not reuse');

-- Roles.
SELECT is(r.body ->> 'roles', '["user","admin"]', 'an admin makes an admin') FROM rest.admin_account_roles_set(person('root'), person('anna'), '{"roles": ["admin", "user", "admin"]}') AS r;
SELECT is((SELECT status FROM rest.admin_account_get(person('anna'), person('root'))), 200, 'who is one at once');
SELECT is(r.body ->> 'roles', '["user"]', 'and puts one out') FROM rest.admin_account_roles_set(person('root'), person('anna'), '{"roles": ["user"]}') AS r;
SELECT refuses($$SELECT rest.admin_account_get(person('anna'), person('root'))$$, 'HS003', 'who is none at once');
SELECT is((SELECT etag FROM rest.admin_account_roles_set(person('root'), person('anna'), '{"roles": ["user"]}')), (SELECT shop.etag(version) FROM shop.account WHERE id = person('anna')), 'the same roles again change nothing');
SELECT refuses(format('SELECT rest.admin_account_roles_set(person(''root''), person(''anna''), %L)', b), s, format('%s are no roles', b), p)
FROM (VALUES ('{"roles": ["admin"]}', 'HS015', '/roles'), ('{"roles": []}', 'HS015', '/roles'), ('{"roles": ["user", "king"]}', 'HS015', '/roles/1'), ('{"roles": [null]}', 'HS015', '/roles/0'),
    ('{"roles": ["user", ["admin"]]}', 'HS015', '/roles/1'), ('{"roles": "user"}', 'HS011', '/roles'), ('{"roles": null}', 'HS010', '/roles'), ('{}', 'HS010', '/roles'), ('{"role": "user"}', 'HS009', '/role'),
    ('{"roles": ["user", "merchant"]}', 'HS015', '/roles')) AS v (b, s, p);
SELECT is(r.body ->> 'roles', '["user","merchant","admin"]', 'who is a merchant may have its role') FROM rest.admin_account_roles_set(person('root'), person('mary'), '{"roles": ["user", "merchant", "admin"]}') AS r;

-- Who may.
SELECT refuses(format('SELECT %s', call), 'HS106', format('an admin cannot turn %s on himself', left(call, 28)))
FROM unnest(ARRAY['rest.admin_account_suspend(person(''root''), person(''root''))', 'rest.admin_account_reinstate(person(''root''), person(''root''))',
    'rest.admin_account_roles_set(person(''root''), person(''root''), ''{"roles": ["user"]}'')']) AS call;
SELECT refuses(format('SELECT rest.admin_account_suspend(%s, person(''mary''))', a), s, format('%s suspends nobody', a))
FROM (VALUES ('NULL', 'HS001'), ('7', 'HS001'), ('person(''anna'')', 'HS003')) AS v (a, s);
SELECT refuses(format('SELECT rest.admin_account_suspend(person(''root''), %s)', a), 'HS004', format('nobody is %s', a)) FROM unnest(ARRAY['7', 'NULL', '-1']) AS a;
SELECT rest.admin_account_suspend(person('mary'), person('root')) \g /dev/null
SELECT refuses($$SELECT rest.admin_account_suspend(person('root'), person('anna'))$$, 'HS002', 'an admin who is suspended is none');
SELECT finish();
ROLLBACK;

-- The profile, the picture, and the merchant of an account.
\ir include/begin.sql
SELECT plan(46);
SELECT person('anna'), person('bert'), person('root', '{user,admin}') \g /dev/null

SELECT is(r.etag || ' ' || (r.body::jsonb - '{id,created_at}'::text[]),
    '"1" {"name": "anna", "email": "anna@example.org", "roles": ["user"], "avatar": null, "locale": "en", "merchant_id": null}', 'somebody sees himself') FROM rest.me_get(person('anna')) AS r;
SELECT refuses('SELECT rest.me_get(NULL)', 'HS001', 'nobody does not');
SELECT refuses('SELECT rest.me_get(7)', 'HS001', 'nor does an account that is not there');
SELECT is(r.status || r.etag || (r.body ->> 'name') || (r.body ->> 'locale'), '200"2"Anna Lisade-CH', 'name and language can be changed')
FROM rest.me_update(person('anna'), '{"name": "Anna Lisa", "locale": "de-CH"}', '"1"') AS r;
SELECT is(r.etag || (r.body ->> 'name') || (r.body ->> 'locale'), '"3"Annade-CH', 'or one of them') FROM rest.me_update(person('anna'), '{"name": "Anna"}', 'W/"9", "2"') AS r;
SELECT is(r.etag, '"3"', 'or none') FROM rest.me_update(person('anna'), '{}', '*') AS r;
SELECT is(r.etag, '"3"', 'what is the same already is no change') FROM rest.me_update(person('anna'), '{"name": "Anna"}', '"3"') AS r;
SELECT is(name, 'bert', 'of nobody else') FROM shop.account WHERE id = person('bert');
SELECT refuses($$SELECT rest.me_update(person('anna'), '{"name": "A"}', '"2"')$$, 'HS006', 'who has not seen the last change is refused');
SELECT refuses($$SELECT rest.me_update(person('anna'), '{"name": "A"}', NULL)$$, 'HS007', 'as is who does not say what he has seen');
SELECT refuses(format('SELECT rest.me_update(person(''anna''), %L, ''*'')', b), s, format('%s is refused', left(b, 40)), p)
FROM (VALUES ('{"name": null}', 'HS010', '/name'), ('{"name": " "}', 'HS012', '/name'), ('{"name": 7}', 'HS011', '/name'), ('{"name": "a\nb"}', 'HS013', '/name'), ('{"locale": null}', 'HS010', '/locale'),
    ('{"locale": "e"}', 'HS015', '/locale'), ('{"locale": "en-"}', 'HS015', '/locale'), ('{"email": "x@example.org"}', 'HS009', '/email'), ('{"roles": ["admin"]}', 'HS009', '/roles'),
    ('{"password_hash": "x"}', 'HS009', '/password_hash'), ('[]', 'HS008', ''), (json_build_object('name', repeat('x', 201))::text, 'HS012', '/name')) AS v (b, s, p);

-- The picture.
SELECT is(r.status || r.location || (r.body ->> 'avatar'), '202/v1/me{"sizes": [], "state": "uploaded", "original": "0a1b.jpg"}', 'a picture is noted') FROM rest.me_avatar_set(person('anna'), '0a1b.jpg') AS r;
SELECT is((SELECT array_agg(payload::jsonb) FROM shop.job WHERE kind = 'image_uploaded'), ARRAY[jsonb_build_object('account_id', person('anna')::text)], 'and the making of its sizes is enqueued');
SELECT refuses(format('SELECT rest.me_avatar_set(person(''anna''), %L)', f), 'HS015', format('%s is no file', coalesce(to_json(f)::text, 'nothing')))
FROM unnest(ARRAY['', '../x', '.hidden', 'a/b', 'a\b', E'a\nb', NULL, repeat('x', 256)]) AS f;
SELECT is((SELECT status FROM rest.me_avatar_set(person('anna'), '2c3d.png')), 202, 'another takes its place');
-- The merchant.
CREATE TEMPORARY TABLE reply AS SELECT * FROM rest.merchant_create(person('anna'), '{"name": "Anna & Co"}');
SELECT is(status || etag || (location = '/v1/merchants/' || (body ->> 'id')) || (body ->> 'name'), '201"1"trueAnna & Co', 'an account becomes a merchant') FROM reply;
SELECT is(r.body ->> 'roles' || (r.body ->> 'merchant_id'), '["user","merchant"]' || (reply.body ->> 'id'), 'and has the role then') FROM rest.me_get(person('anna')) AS r, reply;
SELECT refuses($$SELECT rest.merchant_create(person('anna'), '{"name": "Again"}')$$, 'HS105', 'once');
SELECT refuses($$SELECT rest.merchant_create(NULL, '{"name": "Nobody"}')$$, 'HS001', 'nobody is a merchant');
SELECT is(r.status || (r.body::jsonb - 'created_at')::text, format('200{"id": "%s", "name": "Anna & Co"}', reply.body ->> 'id'), 'anyone sees a merchant') FROM reply, rest.merchant_get(NULL, (reply.body ->> 'id')::bigint) AS r;
SELECT refuses('SELECT rest.merchant_get(NULL, 7)', 'HS004', 'if there is one');
SELECT is(r.etag || (r.body ->> 'name'), '"2"Anna Inc', 'a merchant changes his name') FROM reply, rest.merchant_update(person('anna'), (reply.body ->> 'id')::bigint, '{"name": "Anna Inc"}', '"1"') AS r;
SELECT is(r.etag || (r.body ->> 'name'), '"3"Anna GmbH', 'or an admin does') FROM reply, rest.merchant_update(person('root'), (reply.body ->> 'id')::bigint, '{"name": "Anna GmbH"}', '"2"') AS r;
SELECT refuses(format('SELECT rest.merchant_update(%s, %s, ''{"name": "Mine"}'', %L)', a, coalesce(i, reply.body ->> 'id'), m), s, format('%s with %s for %s is refused', a, m, coalesce(i, 'the merchant')))
FROM reply, (VALUES ('person(''bert'')', '*', NULL, 'HS003'), ('NULL', '*', NULL, 'HS001'), ('person(''anna'')', '*', '7', 'HS004'), ('person(''anna'')', '"1"', NULL, 'HS006'), ('person(''anna'')', NULL, NULL, 'HS007')) AS v (a, m, i, s);
SELECT finish();
ROLLBACK;

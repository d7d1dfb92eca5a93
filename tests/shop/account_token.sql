-- Refresh tokens: each is good once, and one that comes again ends its family.
\ir include/begin.sql
SELECT plan(58);

CREATE FUNCTION hash(p_name text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$SELECT sha256(convert_to(p_name, 'UTF8'))$$;
CREATE FUNCTION login(p_who text, p_token text, p_ttl interval DEFAULT '30 days') RETURNS integer LANGUAGE sql AS $$
    SELECT status FROM rest.token_issue(NULL, person(p_who), '$argon2id$test', hash(p_token), p_ttl)
$$;
CREATE FUNCTION refresh(p_who text, p_token text, p_next text) RETURNS integer LANGUAGE sql AS $$
    SELECT status FROM rest.token_refresh(NULL, person(p_who), hash(p_token), hash(p_next))
$$;
-- Lets time pass for all families.
CREATE FUNCTION wait(p_time interval) RETURNS void LANGUAGE sql AS $$
    UPDATE shop.refresh_family SET started_at = started_at - p_time, rotated_at = rotated_at - p_time, expires_at = expires_at - p_time, ends_at = ends_at - p_time
$$;
-- How the family of a token has ended.
CREATE FUNCTION ended(p_token text) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(f.reason, CASE WHEN f.expires_at <= clock_timestamp() THEN 'expired' ELSE 'going on' END)
    FROM shop.refresh_token t JOIN shop.refresh_family f ON f.account_id = t.account_id AND f.id = t.family_id WHERE t.token_hash = hash(p_token)
$$;
SELECT person('anna'), person('bert') \g /dev/null

SELECT is(status || ' ' || (body::jsonb - 'expires_at'), format('200 {"roles": ["user"], "account_id": "%s"}', person('anna')), 'a login tells what an access token is made of')
FROM rest.token_issue(NULL, person('anna'), '$argon2id$test', hash('a1'));
SELECT ok(expires_at BETWEEN clock_timestamp() + interval '29 days' AND clock_timestamp() + interval '30 days', 'its refresh token is good for 30 days') FROM shop.refresh_family;
SELECT is((SELECT count(*) FROM shop.refresh_token WHERE token_hash = convert_to('a1', 'UTF8')), 0::bigint, 'tokens are not stored');
SELECT is(status || ' ' || (body::jsonb - 'expires_at'), format('200 {"roles": ["user"], "account_id": "%s"}', person('anna')), 'a token is refreshed')
FROM rest.token_refresh(NULL, person('anna'), hash('a1'), hash('a2'));
SELECT is(refresh('anna', 'a2', 'a3'), 200, 'and so is its successor');

-- Reuse.
SELECT is(refresh('anna', 'a1', 'a4'), 400, 'a token that was spent before the last one is refused');
SELECT is(ended('a1'), 'reuse', 'and ends its family');
SELECT is(refresh('anna', 'a3', 'a4'), 400, 'so that its live token is good no more');
SELECT is(body ->> 'code', 'invalid_grant', 'as RFC 6749 calls it') FROM rest.token_refresh(NULL, person('anna'), hash('a3'), hash('a4'));
SELECT is((SELECT count(*) FROM shop.refresh_token WHERE token_hash = hash('a4')), 0::bigint, 'a refused token has no successor');
SELECT is(login('anna', 'b1') + login('anna', 'c1') + refresh('anna', 'b1', 'b2') + refresh('anna', 'b2', 'b3'), 800, 'each login is a family');
SELECT is(refresh('anna', 'b1', 'b4'), 400, 'and reuse in one');
SELECT is(ended('b1') || ', ' || ended('c1'), 'reuse, going on', 'leaves another alone');
SELECT is(refresh('bert', 'c1', 'c2'), 400, 'a token is nobody else''s');
SELECT is(refresh('anna', 'nothing', 'c2'), 400, 'a token that was never given out is refused');
SELECT is(ended('c1'), 'going on', 'and ends nothing');

-- A lost answer.
SELECT is(refresh('anna', 'c1', 'c2') + refresh('anna', 'c1', 'c2b'), 400, 'a token may come again at once: the answer may be lost');
SELECT is(refresh('anna', 'c2b', 'c3'), 200, 'and the second successor is good');
SELECT is(refresh('anna', 'c2', 'c3b'), 400, 'the first one is not, once the second is used');
SELECT is(ended('c2'), 'reuse', 'and ends the family: somebody else has it');
SELECT is(refresh('anna', 'c3', 'c4'), 400, 'for both');

SELECT is(login('anna', 'd1') + refresh('anna', 'd1', 'd2'), 400, 'another login');
SELECT wait('7 seconds') \g /dev/null
SELECT is(refresh('anna', 'd1', 'd2b'), 200, 'a lost answer may be asked for after 7 s');
SELECT is(refresh('anna', 'd1', 'd2c'), 200, 'more than once');
SELECT wait('4 seconds') \g /dev/null
SELECT is(refresh('anna', 'd1', 'd2d'), 400, 'but not after 11 s: asking again does not make the time longer');
SELECT is(ended('d1'), 'reuse', 'that is reuse');

SELECT is(login('anna', 'e1') + refresh('anna', 'e1', 'e2') + refresh('anna', 'e2', 'e3'), 600, 'another login');
SELECT is(refresh('anna', 'e1', 'e2b'), 400, 'nor once its successor is used, however soon');
SELECT is(ended('e1'), 'reuse', 'that is reuse too');

SELECT is(login('anna', 'f1') + refresh('anna', 'f1', 'f2') + refresh('anna', 'f1', 'f2b'), 600, 'a thief and the owner present one token in the same 10 s');
SELECT is(refresh('anna', 'f2', 'f3'), 200, 'the first to come again is served');
SELECT is(refresh('anna', 'f2b', 'f3b'), 400, 'the second ends the family, even within 10 s: it is not the token that was spent last');
SELECT is(ended('f3'), 'reuse', 'so they do not live on in step');

SELECT is(login('anna', 'g1') + refresh('anna', 'g1', 'g2') + refresh('anna', 'g2', 'g3') + refresh('anna', 'g2', 'g3b'), 800, 'every generation may lose its answer');
SELECT is(refresh('anna', 'g3b', 'g4'), 200, 'and go on');

-- Time.
SELECT is(login('anna', 'h1', '1 hour'), 200, 'a login for an hour');
SELECT wait('59 minutes') \g /dev/null
SELECT is(refresh('anna', 'h1', 'h2'), 200, 'goes on if it is refreshed within the hour');
SELECT wait('59 minutes') \g /dev/null
SELECT is(refresh('anna', 'h2', 'h3'), 200, 'and within the next');
SELECT wait('61 minutes') \g /dev/null
SELECT is(refresh('anna', 'h3', 'h4') || ended('h3'), '400expired', 'but not later');
SELECT is(login('anna', 'i1', '180 days'), 200, 'a login for as long as may be');
SELECT wait('179 days') \g /dev/null
SELECT is(refresh('anna', 'i1', 'i2'), 200, 'goes on to its last day');
SELECT wait('2 days') \g /dev/null
SELECT is(refresh('anna', 'i2', 'i3'), 400, 'and ends after 180 days, however often it was refreshed');

-- Revocation.
SELECT is(login('anna', 'j1') + login('anna', 'k1') + refresh('anna', 'j1', 'j2'), 600, 'two logins');
SELECT is((SELECT status FROM rest.token_revoke(NULL, person('anna'), hash('j2'))) || ended('j1') || ended('k1'), '200logoutgoing on', 'revoking a token ends its family, and no other');
SELECT is((SELECT status FROM rest.token_revoke(NULL, person('bert'), hash('k1'))) || ended('k1'), '200going on', 'nobody else''s token is revoked, and nobody is told');
SELECT is((SELECT string_agg(status::text, ' ') FROM unnest(ARRAY[hash('nothing'), '', NULL]) AS h, rest.token_revoke(NULL, person('anna'), h)), '200 200 200', 'a token that is unknown is as good as revoked');
SELECT is(status, 204, 'one may log out everywhere') FROM rest.me_logout(person('anna'));
SELECT is((SELECT count(*) FROM shop.refresh_family WHERE revoked_at IS NULL AND expires_at > clock_timestamp()), 0::bigint, 'which leaves no family alive');

-- What the caller may get wrong.
SELECT refuses(format('SELECT login(''anna'', ''l1'', %L)', t), 'HS014', format('a token cannot be good for %s', t)) FROM unnest(ARRAY['1 second', '-1 day', '181 days', '178000000 years']) AS t;
SELECT refuses($$SELECT rest.token_issue(NULL, person('anna'), '$argon2id$other', hash('l1'))$$, 'HS101', 'a password that was changed since it was looked at lets nobody in');

-- The purge.
SELECT login('bert', 'm1'), login('bert', 'n1') \g /dev/null
SELECT rest.token_revoke(NULL, person('bert'), hash('n1')) \g /dev/null
UPDATE shop.refresh_family SET expires_at = clock_timestamp() - interval '2 days' WHERE account_id = person('anna');
SELECT is(shop.purge_tokens(2), 2::bigint, 'the purge takes as many as it is told');
SELECT is(shop.purge_tokens(1000), (SELECT count(*) FROM shop.refresh_family WHERE account_id = person('anna')), 'and again what is left');
SELECT is((SELECT string_agg(ended(n), ', ') FROM unnest(ARRAY['m1', 'n1']) AS n), 'going on, logout', 'but nothing that goes on, or ended today');
SELECT is((SELECT count(*) FROM shop.refresh_token), 2::bigint, 'tokens go with their family');
SELECT is(shop.purge_tokens(1000), 0::bigint, 'then nothing is left to take');
SELECT finish();
ROLLBACK;

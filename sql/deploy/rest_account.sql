-- Deploy shop:rest_account to pg
-- requires: account_login
-- requires: field
-- requires: request
--
-- The routes of accounts and merchants. Passwords and tokens never come here, only their hashes, which the application
-- computes: what comes here may be logged. login_find() is the one function that gives a password hash away, for the
-- application to compare with, and it must never be sent to a client.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE FUNCTION shop.account_json(p_account shop.account) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT json_build_object('id', p_account.id::text, 'email', p_account.email, 'name', p_account.name, 'roles', p_account.roles,
            'locale', p_account.locale, 'avatar', p_account.avatar,
            'merchant_id', (SELECT m.id::text FROM shop.merchant AS m WHERE m.account_id = p_account.id),
            'created_at', shop.json_time(p_account.created_at));
    END;
COMMENT ON FUNCTION shop.account_json(shop.account) IS 'An account as its owner sees it.';

CREATE FUNCTION shop.account_admin_json(p_account shop.account) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT json_build_object('id', p_account.id::text, 'email', p_account.email, 'name', p_account.name, 'roles', p_account.roles,
            'merchant_id', (SELECT m.id::text FROM shop.merchant AS m WHERE m.account_id = p_account.id),
            'created_at', shop.json_time(p_account.created_at), 'suspended_at', shop.json_time(p_account.suspended_at));
    END;
COMMENT ON FUNCTION shop.account_admin_json(shop.account) IS 'An account as an admin sees it.';

CREATE FUNCTION shop.merchant_json(p_merchant shop.merchant) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT json_build_object('id', p_merchant.id::text, 'name', p_merchant.name, 'created_at', shop.json_time(p_merchant.created_at));
    END;
COMMENT ON FUNCTION shop.merchant_json(shop.merchant) IS 'A merchant as everybody sees it.';

CREATE FUNCTION shop.locale_field(p_body jsonb, p_required boolean DEFAULT false) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_locale CONSTANT text := shop.text_field(p_body, 'locale', 35, p_required);
BEGIN
    IF v_locale !~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$' THEN
        PERFORM shop.refuse('HS015', '/locale', 'wanted: a language tag such as en or zh-TW');
    END IF;
    RETURN v_locale;
END $$;
COMMENT ON FUNCTION shop.locale_field(jsonb, boolean) IS 'The language tag (BCP 47) in the field locale; NULL if it is not there. Errors: HS010 to HS013, HS015.';

CREATE FUNCTION rest.account_create(p_actor bigint, p_body jsonb, p_password_hash text) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account shop.account;
BEGIN
    PERFORM shop.check_fields(p_body, '{email,name,locale}');
    v_account := shop.create_account(shop.text_field(p_body, 'email', 254), shop.text_field(p_body, 'name', 200), p_password_hash,
        coalesce(shop.locale_field(p_body), 'en'));
    RETURN ROW(201, shop.etag(v_account.version), '/v1/me', false,
        json_build_object('id', v_account.id::text, 'email', v_account.email, 'name', v_account.name, 'roles', v_account.roles))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.account_create(bigint, jsonb, text) IS
'POST /v1/accounts, for anyone. p_body: {email, name, locale?}, without the password, of which p_password_hash is the hash by argon2id. 201. Errors: HS008 to HS013, HS015, HS102.';

CREATE FUNCTION rest.login_find(p_actor bigint, p_email text) RETURNS rest.reply
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account record;
BEGIN
    SELECT a.id, a.password_hash, a.suspended_at IS NOT NULL AS suspended INTO v_account
    FROM shop.login AS l JOIN shop.account AS a ON a.id = l.account_id
    WHERE l.email = shop.fold_email(left(p_email, 255));
    RETURN ROW(200, NULL, NULL, false,
        json_build_object('account_id', v_account.id::text, 'password_hash', v_account.password_hash, 'suspended', v_account.suspended))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.login_find(bigint, text) IS
'For the application only, which compares the password: {account_id, password_hash, suspended}, all null if nobody has the address; it then compares with some other hash, so that both take the same time. 200.';

CREATE FUNCTION shop.grant_reply(p_family shop.refresh_family) RETURNS rest.reply
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT ROW(200, NULL, NULL, false, json_build_object('account_id', a.id::text, 'roles', a.roles,
            'expires_at', shop.json_time(p_family.expires_at)))::rest.reply
        FROM shop.account AS a WHERE a.id = p_family.account_id;
    END;
COMMENT ON FUNCTION shop.grant_reply(shop.refresh_family) IS 'What an access token is made of, and until when its refresh token is good.';

CREATE FUNCTION rest.token_issue(p_actor bigint, p_account bigint, p_password_hash text, p_token_hash bytea, p_ttl interval DEFAULT '30 days')
    RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN shop.grant_reply(shop.start_family(p_account, p_password_hash, p_token_hash, p_ttl));
END $$;
COMMENT ON FUNCTION rest.token_issue(bigint, bigint, text, bytea, interval) IS
'POST /v1/oauth/token, grant_type password, after login_find(). p_password_hash: the one that the password was found good against; p_token_hash: SHA-256 of the new refresh token''s secret; p_ttl: how long it is good unused. 200 {account_id, roles, expires_at}. Errors: HS002, HS014, HS015, HS101.';

CREATE FUNCTION rest.token_refresh(p_actor bigint, p_account bigint, p_token_hash bytea, p_next_hash bytea) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_family CONSTANT shop.refresh_family := shop.rotate_token(p_account, p_token_hash, p_next_hash);
BEGIN
    IF v_family.id IS NULL THEN
        RETURN ROW(400, NULL, NULL, false, shop.problem_json('HS101'))::rest.reply;
    END IF;
    RETURN shop.grant_reply(v_family);
END $$;
COMMENT ON FUNCTION rest.token_refresh(bigint, bigint, bytea, bytea) IS
'POST /v1/oauth/token, grant_type refresh_token: spends the token p_token_hash for p_next_hash. 200 {account_id, roles, expires_at}. 400 with the problem HS101 as an answer, not as an error, if the token is not good: its family may have been revoked just now, and that is to be committed. Errors: HS015.';

CREATE FUNCTION rest.token_revoke(p_actor bigint, p_account bigint, p_token_hash bytea) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.revoke_token(p_account, p_token_hash);
    RETURN ROW(200, NULL, NULL, false, NULL)::rest.reply;
END $$;
COMMENT ON FUNCTION rest.token_revoke(bigint, bigint, bytea) IS 'POST /v1/oauth/revoke, for whoever has the token (RFC 7009). 200, whether the token was known or not.';

CREATE FUNCTION rest.password_reset_request(p_actor bigint, p_body jsonb, p_token text, p_token_hash bytea) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.check_fields(p_body, '{email}');
    PERFORM shop.request_password_reset(shop.text_field(p_body, 'email', 254), p_token, p_token_hash);
    RETURN ROW(202, NULL, NULL, false, NULL)::rest.reply;
END $$;
COMMENT ON FUNCTION rest.password_reset_request(bigint, jsonb, text, bytea) IS
'POST /v1/password-resets, for anyone. p_body: {email}; p_token: a new secret, p_token_hash: its SHA-256. 202, whether somebody has the address or not; the mail has the token "<account id>.<secret>". Errors: HS008 to HS013, HS015.';

CREATE FUNCTION rest.password_reset_finish(p_actor bigint, p_account bigint, p_token_hash bytea, p_password_hash text) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.finish_password_reset(p_account, p_token_hash, p_password_hash);
    RETURN ROW(204, NULL, NULL, false, NULL)::rest.reply;
END $$;
COMMENT ON FUNCTION rest.password_reset_finish(bigint, bigint, bytea, text) IS
'PUT /v1/password-resets/{token}, for whoever has the token. p_token_hash: SHA-256 of its secret; p_password_hash: of the new password. 204. Errors: HS010, HS015, HS104.';

CREATE FUNCTION rest.me_get(p_actor bigint) RETURNS rest.reply
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account shop.account;
BEGIN
    PERFORM shop.require_actor(p_actor);
    SELECT a.* INTO STRICT v_account FROM shop.account AS a WHERE a.id = p_actor;
    RETURN ROW(200, shop.etag(v_account.version), NULL, false, shop.account_json(v_account))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.me_get(bigint) IS 'GET /v1/me. 200 {id, email, name, roles, locale, avatar, merchant_id, created_at}. Errors: HS001, HS002.';

CREATE FUNCTION rest.me_update(p_actor bigint, p_body jsonb, p_if_match text) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account shop.account;
BEGIN
    PERFORM shop.require_actor(p_actor);
    PERFORM shop.check_fields(p_body, '{name,locale}');
    v_account := shop.update_account(p_actor, shop.text_field(p_body, 'name', 200, p_body ? 'name'), shop.locale_field(p_body, p_body ? 'locale'), p_if_match);
    RETURN ROW(200, shop.etag(v_account.version), NULL, false, shop.account_json(v_account))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.me_update(bigint, jsonb, text) IS 'PATCH /v1/me: {name?, locale?}. 200. Errors: HS001, HS002, HS006 to HS013, HS015.';

CREATE FUNCTION rest.me_password_set(p_actor bigint, p_current_hash text, p_password_hash text) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.require_actor(p_actor);
    PERFORM shop.set_password(p_actor, p_current_hash, p_password_hash);
    RETURN ROW(204, NULL, NULL, false, NULL)::rest.reply;
END $$;
COMMENT ON FUNCTION rest.me_password_set(bigint, text, text) IS
'PUT /v1/me/password. p_current_hash: the one that the current password was found good against; p_password_hash: of the new password. 204, and logged out everywhere. Errors: HS001, HS002, HS010, HS015, HS103.';

CREATE FUNCTION rest.me_logout(p_actor bigint) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.require_actor(p_actor);
    PERFORM shop.revoke_families(p_actor, 'logout');
    RETURN ROW(204, NULL, NULL, false, NULL)::rest.reply;
END $$;
COMMENT ON FUNCTION rest.me_logout(bigint) IS 'DELETE /v1/me/tokens: logs out everywhere. 204. Errors: HS001, HS002.';

CREATE FUNCTION rest.me_avatar_set(p_actor bigint, p_original text) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account shop.account;
BEGIN
    PERFORM shop.require_actor(p_actor);
    v_account := shop.set_avatar(p_actor, p_original);
    RETURN ROW(202, shop.etag(v_account.version), '/v1/me', false, shop.account_json(v_account))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.me_avatar_set(bigint, text) IS 'PUT /v1/me/avatar. p_original: name of the file that the application stored the picture as. 202. Errors: HS001, HS002, HS015.';

CREATE FUNCTION rest.merchant_create(p_actor bigint, p_body jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_merchant shop.merchant;
BEGIN
    PERFORM shop.require_actor(p_actor);
    PERFORM shop.check_fields(p_body, '{name}');
    v_merchant := shop.create_merchant(p_actor, shop.text_field(p_body, 'name', 200));
    RETURN ROW(201, shop.etag(v_merchant.version), '/v1/merchants/' || v_merchant.id, false, shop.merchant_json(v_merchant))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.merchant_create(bigint, jsonb) IS 'POST /v1/merchants: {name}. 201; the account has the role merchant then. Errors: HS001, HS002, HS008 to HS013, HS105.';

CREATE FUNCTION rest.merchant_get(p_actor bigint, p_id bigint) RETURNS rest.reply
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_merchant shop.merchant;
BEGIN
    SELECT m.* INTO v_merchant FROM shop.merchant AS m WHERE m.id = p_id;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS004');
    END IF;
    RETURN ROW(200, shop.etag(v_merchant.version), NULL, false, shop.merchant_json(v_merchant))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.merchant_get(bigint, bigint) IS 'GET /v1/merchants/{id}, for anyone. 200 {id, name, created_at}. Errors: HS004.';

CREATE FUNCTION rest.merchant_update(p_actor bigint, p_id bigint, p_body jsonb, p_if_match text) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_merchant shop.merchant;
BEGIN
    PERFORM shop.require_actor(p_actor);
    PERFORM shop.check_fields(p_body, '{name}');
    v_merchant := shop.update_merchant(p_actor, p_id, shop.text_field(p_body, 'name', 200, p_body ? 'name'), p_if_match);
    RETURN ROW(200, shop.etag(v_merchant.version), NULL, false, shop.merchant_json(v_merchant))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.merchant_update(bigint, bigint, jsonb, text) IS
'PATCH /v1/merchants/{id}, for the merchant and admins: {name?}. 200. Errors: HS001 to HS004, HS006 to HS013.';

CREATE FUNCTION rest.admin_account_get(p_actor bigint, p_id bigint) RETURNS rest.reply
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account shop.account;
BEGIN
    PERFORM shop.require_actor(p_actor, 'admin');
    SELECT a.* INTO v_account FROM shop.account AS a WHERE a.id = p_id;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS004');
    END IF;
    RETURN ROW(200, shop.etag(v_account.version), NULL, false, shop.account_admin_json(v_account))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.admin_account_get(bigint, bigint) IS
'GET /v1/admin/accounts/{id}, for admins. 200 {id, email, name, roles, merchant_id, created_at, suspended_at}. Errors: HS001 to HS004.';

CREATE FUNCTION rest.admin_account_suspend(p_actor bigint, p_id bigint) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account CONSTANT shop.account := shop.suspend_account(p_actor, p_id);
BEGIN
    RETURN ROW(200, shop.etag(v_account.version), NULL, false, shop.account_admin_json(v_account))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.admin_account_suspend(bigint, bigint) IS 'POST /v1/admin/accounts/{id}/suspend, for admins. 200, also if it is suspended. Errors: HS001 to HS004, HS106.';

CREATE FUNCTION rest.admin_account_reinstate(p_actor bigint, p_id bigint) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account CONSTANT shop.account := shop.reinstate_account(p_actor, p_id);
BEGIN
    RETURN ROW(200, shop.etag(v_account.version), NULL, false, shop.account_admin_json(v_account))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.admin_account_reinstate(bigint, bigint) IS 'POST /v1/admin/accounts/{id}/reinstate, for admins. 200, also if it is not suspended. Errors: HS001 to HS004, HS106.';

CREATE FUNCTION rest.admin_account_roles_set(p_actor bigint, p_id bigint, p_body jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_bad bigint;
    v_roles jsonb;
    v_account shop.account;
BEGIN
    PERFORM shop.require_actor(p_actor, 'admin');
    PERFORM shop.check_fields(p_body, '{roles}');
    v_roles := shop.field(p_body, 'roles', 'array', true, '');
    SELECT min(r.n) - 1 INTO v_bad FROM jsonb_array_elements(v_roles) WITH ORDINALITY AS r (role, n) WHERE r.role NOT IN ('"user"', '"merchant"', '"admin"');
    IF v_bad IS NOT NULL THEN
        PERFORM shop.refuse('HS015', '/roles/' || v_bad, 'wanted: one of user, merchant, admin');
    END IF;
    v_account := shop.set_roles(p_actor, p_id, ARRAY(SELECT jsonb_array_elements_text(v_roles)));
    RETURN ROW(200, shop.etag(v_account.version), NULL, false, shop.account_admin_json(v_account))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.admin_account_roles_set(bigint, bigint, jsonb) IS
'PUT /v1/admin/accounts/{id}/roles, for admins: {roles: [...]}, user always among them, merchant only if the account is one. 200. Errors: HS001 to HS004, HS008 to HS011, HS015, HS106.';

CREATE FUNCTION rest.problems(p_actor bigint) RETURNS rest.reply
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ROW(200, NULL, NULL, false, (
        SELECT json_agg(json_build_object('code', p.code, 'status', p.status, 'name', p.name, 'title', p.title) ORDER BY p.code) FROM shop.problem AS p
    ))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.problems(bigint) IS 'What each SQLSTATE means over HTTP, which the application reads when it starts. 200 [{code, status, name, title}].';

COMMIT;

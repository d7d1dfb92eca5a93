-- Deploy shop:account_login to pg
-- requires: account
-- requires: job_queue
--
-- How people come in, stay in and are put out: registration, refresh tokens, password resets, suspension, roles.
--
-- Secrets are never stored: of a token there is its SHA-256 (32 bytes, computed by the caller), of a password the hash
-- that the caller computed. A client's token is "<account id>.<secret>", so that everything here is found by account.
--
-- A login starts a family of refresh tokens. The family counts generations, and a token belongs to one: it is live while
-- the family is at its generation, and spent after. Refreshing raises the family's generation and writes the successor,
-- in one statement; the conditional UPDATE of the family's row is both the guard and the queue. Presenting a spent token
-- revokes the family, with one exception: the very token that was spent last may be presented again for 10 s, because the
-- answer may have been lost. It then gets another successor, a sibling of the one that is lost. Siblings live until the
-- first of them is used, which raises the generation past them all; whoever then presents another one ends the family.
-- So two refreshes at once both succeed, but only one of their tokens can ever be used; and a thief and the owner, who
-- present one token in the same 10 s, part at the next refresh: the second of them to come ends the family for both. The
-- exception is for that one token and not for its siblings, or the two could live on in step.
--
-- What the worker may call has its definer's rights, because the worker has none on tables.
--
-- Locks: the row of the account before that of its password reset before those of its families. Who starts a family
-- holds the account's row FOR SHARE, so that a suspension or a new password revokes it too or comes first.

BEGIN;
SET LOCAL ROLE shop_owner;

INSERT INTO shop.problem (code, status, name, title) VALUES
    ('HS101', 400, 'invalid_grant', 'the credentials or the token are not valid, or not any more'),
    ('HS102', 409, 'email_taken', 'there is an account with this e-mail address'),
    ('HS103', 422, 'wrong_password', 'that is not the password'),
    ('HS104', 404, 'invalid_reset_token', 'the link to reset the password is not valid, or not any more'),
    ('HS105', 409, 'merchant_exists', 'the account is a merchant already'),
    ('HS106', 409, 'own_account', 'admins cannot do that to themselves');

CREATE TABLE shop.refresh_family (
    account_id bigint      NOT NULL,
    id         uuid        NOT NULL DEFAULT holdfast.uuid7(),
    started_at timestamptz NOT NULL,
    rotated_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL,
    revoked_at timestamptz,
    ttl        interval    NOT NULL,
    generation integer     NOT NULL DEFAULT 1,
    spent_hash bytea,
    reason     text        COLLATE "C",
    CONSTRAINT refresh_family_pkey PRIMARY KEY (account_id, id),
    CONSTRAINT refresh_family_account_fkey FOREIGN KEY (account_id) REFERENCES shop.account (id),
    CONSTRAINT refresh_family_reason_check CHECK (reason IN ('reuse', 'logout', 'password', 'suspension')),
    CONSTRAINT refresh_family_revoked_check CHECK ((revoked_at IS NULL) = (reason IS NULL)),
    CONSTRAINT refresh_family_expiry_check CHECK (expires_at <= ends_at)
) WITH (fillfactor = 85);
CREATE INDEX refresh_family_expiry_idx ON shop.refresh_family (expires_at);
COMMENT ON TABLE shop.refresh_family IS 'The logins that are still going on: a family of refresh tokens each.';
COMMENT ON COLUMN shop.refresh_family.expires_at IS 'Until when the next refresh must come: ttl after the last one, when it was revoked if it was, and never after ends_at.';
COMMENT ON COLUMN shop.refresh_family.generation IS 'That of the tokens that are live.';
COMMENT ON COLUMN shop.refresh_family.spent_hash IS 'The token that was spent last, which may be presented again for 10 s.';

CREATE TABLE shop.refresh_token (
    account_id bigint  NOT NULL,
    token_hash bytea   NOT NULL,
    family_id  uuid    NOT NULL,
    generation integer NOT NULL,
    CONSTRAINT refresh_token_pkey PRIMARY KEY (account_id, token_hash),
    CONSTRAINT refresh_token_family_fkey FOREIGN KEY (account_id, family_id)
        REFERENCES shop.refresh_family (account_id, id) ON DELETE CASCADE,
    CONSTRAINT refresh_token_hash_check CHECK (octet_length(token_hash) = 32)
);
CREATE INDEX refresh_token_family_idx ON shop.refresh_token (account_id, family_id);
COMMENT ON TABLE shop.refresh_token IS 'All tokens of each family, the spent ones too, by which reuse is told.';
COMMENT ON COLUMN shop.refresh_token.token_hash IS 'SHA-256 of the secret.';

CREATE TABLE shop.password_reset (
    account_id bigint      NOT NULL,
    token_hash bytea       NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT password_reset_pkey PRIMARY KEY (account_id),
    CONSTRAINT password_reset_hash_check CHECK (octet_length(token_hash) = 32)
);
CREATE INDEX password_reset_expiry_idx ON shop.password_reset (expires_at);
COMMENT ON TABLE shop.password_reset IS 'The link that an account may set a new password with: the last one it asked for, until it is used.';

CREATE FUNCTION shop.fold_email(p_email text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT lower(normalize(p_email, NFC) COLLATE "und-x-icu") COLLATE "C";
    END;
COMMENT ON FUNCTION shop.fold_email(text) IS 'An e-mail address as shop.login has it: in lower case, composed (NFC).';

CREATE FUNCTION shop.check_email(p_email text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF length(p_email) > 254 THEN
        PERFORM shop.refuse('HS012', '/email', 'wanted: at most 254 characters');
    ELSIF p_email COLLATE "und-x-icu" ~ '[][[:space:][:cntrl:]()<>,;:\\"\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]'
       OR p_email !~ '^[^@]{1,64}@([^@./?#]{1,63}\.)+[^@./?#]{2,63}$' OR p_email ~ '^\.|\.\.|\.@|@-|-\.|\.-|-$' THEN
        PERFORM shop.refuse('HS015', '/email', 'wanted: an e-mail address');
    END IF;
END $$;
COMMENT ON FUNCTION shop.check_email(text) IS 'Refuses what cannot be an e-mail address of a person: name@domain.tld without quotes, blanks and invisible characters. Errors: HS012, HS015.';

CREATE FUNCTION shop.check_name(p_name text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_name ~ '[\t\n\r\u0085\u2028\u2029]' THEN
        PERFORM shop.refuse('HS013', '/name', 'more than one line');
    END IF;
END $$;
COMMENT ON FUNCTION shop.check_name(text) IS 'Refuses a name that is not one line: it goes into the heads of mails. Errors: HS013.';

CREATE FUNCTION shop.check_password_hash(p_password_hash text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_password_hash IS NULL THEN
        PERFORM shop.refuse('HS010', '/password');
    ELSIF length(p_password_hash) > 500 OR p_password_hash !~ '^\$argon2id\$[!-~]+$' THEN
        PERFORM shop.refuse('HS015', '/password', 'wanted: a hash by argon2id');
    END IF;
END $$;
COMMENT ON FUNCTION shop.check_password_hash(text) IS 'Refuses what is not a hash by argon2id in PHC format, and so a password in plain text. Errors: HS010, HS015.';

CREATE FUNCTION shop.check_token_hash(p_token_hash bytea, p_pointer text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF octet_length(p_token_hash) IS DISTINCT FROM 32 THEN
        PERFORM shop.refuse('HS015', p_pointer, 'wanted: a hash of 32 bytes');
    END IF;
END $$;
COMMENT ON FUNCTION shop.check_token_hash(bytea, text) IS 'Refuses what is not a SHA-256. Errors: HS015.';

CREATE FUNCTION shop.create_account(p_email text, p_name text, p_password_hash text, p_locale text DEFAULT 'en') RETURNS shop.account
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account shop.account;
BEGIN
    PERFORM shop.check_email(p_email), shop.check_name(p_name), shop.check_password_hash(p_password_hash);
    INSERT INTO shop.login AS l (email, account_id) VALUES (shop.fold_email(p_email), holdfast.new_id())
    ON CONFLICT (email) DO NOTHING
    RETURNING l.account_id INTO v_account.id;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS102', '/email');
    END IF;
    INSERT INTO shop.account AS a (id, email, name, password_hash, locale)
    VALUES (v_account.id, p_email, p_name, p_password_hash, p_locale)
    RETURNING a.* INTO v_account;
    RETURN v_account;
END $$;
COMMENT ON FUNCTION shop.create_account(text, text, text, text) IS
'Opens an account. Of two at once with the same e-mail address, the second waits for the first and is refused. Errors: HS010, HS012, HS013, HS015, HS102.';

CREATE FUNCTION shop.revoke_families(p_account bigint, p_reason text) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        UPDATE shop.refresh_family AS f SET revoked_at = clock_timestamp(), expires_at = least(f.expires_at, clock_timestamp()), reason = p_reason
        WHERE f.account_id = p_account AND f.revoked_at IS NULL;
    END;
COMMENT ON FUNCTION shop.revoke_families(bigint, text) IS 'Logs an account out everywhere: none of its refresh tokens is good any more.';

CREATE FUNCTION shop.start_family(p_account bigint, p_password_hash text, p_token_hash bytea, p_ttl interval) RETURNS shop.refresh_family
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_now CONSTANT timestamptz := clock_timestamp();
    v_suspended timestamptz;
    v_family shop.refresh_family;
BEGIN
    PERFORM shop.check_token_hash(p_token_hash, '/refresh_token');
    IF p_ttl IS NULL OR p_ttl NOT BETWEEN interval '1 minute' AND interval '180 days' THEN
        PERFORM shop.refuse('HS014', '/ttl', 'wanted: 1 minute to 180 days');
    END IF;
    SELECT a.suspended_at INTO v_suspended FROM shop.account AS a WHERE a.id = p_account AND a.password_hash = p_password_hash FOR SHARE;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS101');
    ELSIF v_suspended IS NOT NULL THEN
        PERFORM shop.refuse('HS002');
    ELSIF EXISTS (SELECT FROM shop.refresh_token AS t WHERE t.account_id = p_account AND t.token_hash = p_token_hash) THEN
        PERFORM shop.refuse('HS015', '/refresh_token', 'the token is not new');
    END IF;
    INSERT INTO shop.refresh_family AS f (account_id, started_at, rotated_at, expires_at, ends_at, ttl)
    VALUES (p_account, v_now, v_now, v_now + p_ttl, v_now + interval '180 days', p_ttl)
    RETURNING f.* INTO v_family;
    INSERT INTO shop.refresh_token (account_id, token_hash, family_id, generation) VALUES (p_account, p_token_hash, v_family.id, v_family.generation);
    RETURN v_family;
END $$;
COMMENT ON FUNCTION shop.start_family(bigint, text, bytea, interval) IS
'Begins a login with its first refresh token. p_password_hash: the one that the password was found good against, so that a password which was changed meanwhile lets nobody in. p_ttl: how long a token is good if it is not refreshed; the family ends after 180 days. Errors: HS002, HS014, HS015, HS101.';

CREATE FUNCTION shop.rotate_token(p_account bigint, p_token_hash bytea, p_next_hash bytea) RETURNS shop.refresh_family
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_now CONSTANT timestamptz := clock_timestamp();
    v_family shop.refresh_family;
BEGIN
    PERFORM shop.check_token_hash(p_next_hash, '/refresh_token');
    IF EXISTS (SELECT FROM shop.refresh_token AS t WHERE t.account_id = p_account AND t.token_hash = p_next_hash) THEN
        PERFORM shop.refuse('HS015', '/refresh_token', 'the token is not new');
    END IF;
    WITH rotated AS (
        UPDATE shop.refresh_family AS f
        SET generation = t.generation + 1, spent_hash = t.token_hash,
            rotated_at = CASE WHEN t.generation = f.generation THEN v_now ELSE f.rotated_at END,
            expires_at = CASE WHEN t.generation = f.generation THEN least(v_now + f.ttl, f.ends_at) ELSE f.expires_at END
        FROM shop.refresh_token AS t, shop.account AS a
        WHERE t.account_id = p_account AND t.token_hash = p_token_hash
          AND a.id = t.account_id AND a.suspended_at IS NULL
          AND f.account_id = t.account_id AND f.id = t.family_id AND f.revoked_at IS NULL AND f.expires_at > v_now
          AND (t.generation = f.generation
               OR t.generation = f.generation - 1 AND t.token_hash = f.spent_hash AND f.rotated_at > v_now - interval '10 seconds')
        RETURNING f.*
    ), successor AS (
        INSERT INTO shop.refresh_token (account_id, token_hash, family_id, generation)
        SELECT r.account_id, p_next_hash, r.id, r.generation FROM rotated AS r
    )
    SELECT r.* INTO v_family FROM rotated AS r;
    IF NOT FOUND THEN
        UPDATE shop.refresh_family AS f SET revoked_at = v_now, expires_at = v_now, reason = 'reuse'
        FROM shop.refresh_token AS t
        WHERE t.account_id = p_account AND t.token_hash = p_token_hash AND f.account_id = t.account_id AND f.id = t.family_id
          AND t.generation < f.generation AND f.revoked_at IS NULL AND f.expires_at > v_now;
        RETURN NULL;
    END IF;
    RETURN v_family;
END $$;
COMMENT ON FUNCTION shop.rotate_token(bigint, bytea, bytea) IS
'Spends a refresh token for its successor. NULL if it is not good: unknown, expired, revoked, or spent, and then its family is revoked, which is why that is no error: the caller is to commit. Errors: HS015.';

CREATE FUNCTION shop.revoke_token(p_account bigint, p_token_hash bytea) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        UPDATE shop.refresh_family AS f SET revoked_at = clock_timestamp(), expires_at = least(f.expires_at, clock_timestamp()), reason = 'logout'
        FROM shop.refresh_token AS t
        WHERE t.account_id = p_account AND t.token_hash = p_token_hash AND f.account_id = t.account_id AND f.id = t.family_id AND f.revoked_at IS NULL;
    END;
COMMENT ON FUNCTION shop.revoke_token(bigint, bytea) IS 'Revokes the family of a refresh token, spent or not (RFC 7009). A token that is unknown is as good as revoked.';

CREATE FUNCTION shop.request_password_reset(p_email text, p_token text, p_token_hash bytea) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account bigint;
    v_target bigint;
BEGIN
    PERFORM shop.check_email(p_email), shop.check_token_hash(p_token_hash, '/token');
    IF p_token IS NULL OR p_token !~ '^[-_A-Za-z0-9]{16,200}$' THEN
        PERFORM shop.refuse('HS015', '/token', 'wanted: a secret of 16 to 200 characters of base64url');
    END IF;
    SELECT a.id INTO v_account FROM shop.login AS l JOIN shop.account AS a ON a.id = l.account_id
    WHERE l.email = shop.fold_email(p_email) AND a.suspended_at IS NULL;
    -- For nobody the same is done and undone, so that the time it takes does not tell who has an account.
    v_target := coalesce(v_account, -holdfast.new_id());
    BEGIN
        INSERT INTO shop.password_reset AS r (account_id, token_hash, expires_at)
        VALUES (v_target, p_token_hash, clock_timestamp() + interval '1 hour')
        ON CONFLICT (account_id) DO UPDATE SET token_hash = excluded.token_hash, expires_at = excluded.expires_at;
        PERFORM shop.enqueue('password_reset', jsonb_build_object('account_id', v_target::text, 'token', v_target || '.' || p_token));
        IF v_account IS NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'HS104';
        END IF;
    EXCEPTION WHEN SQLSTATE 'HS104' THEN
        NULL;
    END;
END $$;
COMMENT ON FUNCTION shop.request_password_reset(text, text, bytea) IS
'Enqueues the mail with a link to set a new password, good for an hour and once; links sent before are void. p_token: the secret, of which p_token_hash is the SHA-256; the mail''s token is "<account id>.<secret>". Does nothing, as slowly, if nobody has the address. Errors: HS012, HS015.';

CREATE FUNCTION shop.finish_password_reset(p_account bigint, p_token_hash bytea, p_password_hash text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.check_password_hash(p_password_hash);
    PERFORM FROM shop.account AS a WHERE a.id = p_account FOR NO KEY UPDATE;
    DELETE FROM shop.password_reset AS r
    WHERE r.account_id = p_account AND r.token_hash = p_token_hash AND r.expires_at > clock_timestamp();
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS104');
    END IF;
    UPDATE shop.account AS a SET password_hash = p_password_hash WHERE a.id = p_account;
    PERFORM shop.revoke_families(p_account, 'password');
END $$;
COMMENT ON FUNCTION shop.finish_password_reset(bigint, bytea, text) IS 'Sets the password with the token of a link, which is used up, and logs the account out everywhere. Errors: HS010, HS015, HS104.';

CREATE FUNCTION shop.set_password(p_account bigint, p_current_hash text, p_password_hash text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.check_password_hash(p_password_hash);
    UPDATE shop.account AS a SET password_hash = p_password_hash WHERE a.id = p_account AND a.password_hash = p_current_hash;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS103', '/current_password');
    END IF;
    DELETE FROM shop.password_reset AS r WHERE r.account_id = p_account;
    PERFORM shop.revoke_families(p_account, 'password');
END $$;
COMMENT ON FUNCTION shop.set_password(bigint, text, text) IS
'Changes the password and logs the account out everywhere. p_current_hash: the one that the current password was found good against. Errors: HS010, HS015, HS103.';

CREATE FUNCTION shop.lock_for_admin(p_actor bigint, p_account bigint) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Both rows: of two admins who put each other out, the second finds that he is none any more.
    PERFORM FROM shop.account AS a WHERE a.id IN (p_actor, p_account) ORDER BY a.id FOR NO KEY UPDATE;
    PERFORM shop.require_actor(p_actor, 'admin');
    IF NOT EXISTS (SELECT FROM shop.account AS a WHERE a.id = p_account) THEN
        PERFORM shop.refuse('HS004');
    ELSIF p_account = p_actor THEN
        PERFORM shop.refuse('HS106');
    END IF;
END $$;
COMMENT ON FUNCTION shop.lock_for_admin(bigint, bigint) IS 'Locks the accounts of an admin and of whom he is about to change, and refuses who may not. Errors: HS001 to HS004, HS106.';

CREATE FUNCTION shop.suspend_account(p_actor bigint, p_account bigint) RETURNS shop.account
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account shop.account;
BEGIN
    PERFORM shop.lock_for_admin(p_actor, p_account);
    UPDATE shop.account AS a SET suspended_at = coalesce(a.suspended_at, clock_timestamp()), version = a.version + (a.suspended_at IS NULL)::integer
    WHERE a.id = p_account RETURNING a.* INTO v_account;
    DELETE FROM shop.password_reset AS r WHERE r.account_id = p_account;
    PERFORM shop.revoke_families(p_account, 'suspension');
    RETURN v_account;
END $$;
COMMENT ON FUNCTION shop.suspend_account(bigint, bigint) IS 'Suspends an account: from now on it is refused everywhere, and logged out. Errors: HS001 to HS004, HS106.';

CREATE FUNCTION shop.reinstate_account(p_actor bigint, p_account bigint) RETURNS shop.account
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account shop.account;
BEGIN
    PERFORM shop.lock_for_admin(p_actor, p_account);
    UPDATE shop.account AS a SET suspended_at = NULL, version = a.version + (a.suspended_at IS NOT NULL)::integer
    WHERE a.id = p_account RETURNING a.* INTO v_account;
    RETURN v_account;
END $$;
COMMENT ON FUNCTION shop.reinstate_account(bigint, bigint) IS 'Ends a suspension; the account has to log in anew. Errors: HS001 to HS004, HS106.';

CREATE FUNCTION shop.set_roles(p_actor bigint, p_account bigint, p_roles text[]) RETURNS shop.account
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_roles CONSTANT text[] := ARRAY(SELECT r FROM unnest('{user,merchant,admin}'::text[]) AS r WHERE r = ANY (p_roles));
    v_account shop.account;
BEGIN
    PERFORM shop.lock_for_admin(p_actor, p_account);
    IF NOT 'user' = ANY (v_roles) THEN
        PERFORM shop.refuse('HS015', '/roles', 'wanted: user among them');
    ELSIF 'merchant' = ANY (v_roles) AND NOT EXISTS (SELECT FROM shop.merchant AS m WHERE m.account_id = p_account) THEN
        PERFORM shop.refuse('HS015', '/roles', 'the account is no merchant');
    END IF;
    UPDATE shop.account AS a SET roles = v_roles, version = a.version + 1 WHERE a.id = p_account AND a.roles <> v_roles;
    SELECT a.* INTO v_account FROM shop.account AS a WHERE a.id = p_account;
    RETURN v_account;
END $$;
COMMENT ON FUNCTION shop.set_roles(bigint, bigint, text[]) IS 'Gives an account these roles and no others. Errors: HS001 to HS004, HS015, HS106.';

CREATE FUNCTION shop.update_account(p_account bigint, p_name text, p_locale text, p_if_match text) RETURNS shop.account
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account shop.account;
BEGIN
    PERFORM shop.check_name(p_name);
    SELECT a.* INTO v_account FROM shop.account AS a WHERE a.id = p_account FOR NO KEY UPDATE;
    PERFORM shop.require_match(p_if_match, v_account.version);
    IF (coalesce(p_name, v_account.name), coalesce(p_locale, v_account.locale)) <> (v_account.name, v_account.locale) THEN
        UPDATE shop.account AS a SET name = coalesce(p_name, a.name), locale = coalesce(p_locale, a.locale), version = a.version + 1
        WHERE a.id = p_account RETURNING a.* INTO v_account;
    END IF;
    RETURN v_account;
END $$;
COMMENT ON FUNCTION shop.update_account(bigint, text, text, text) IS 'Changes the profile; NULL leaves as it is. Errors: HS006, HS007, HS013.';

CREATE FUNCTION shop.set_avatar(p_account bigint, p_original text) RETURNS shop.account
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account shop.account;
BEGIN
    IF p_original IS NULL OR length(p_original) > 255 OR p_original !~ '^[^./\\[:cntrl:]][^/\\[:cntrl:]]*$' THEN
        PERFORM shop.refuse('HS015', '/original', 'wanted: the name of a file');
    END IF;
    UPDATE shop.account AS a SET avatar = jsonb_build_object('state', 'uploaded', 'original', p_original, 'sizes', '[]'::jsonb), version = a.version + 1
    WHERE a.id = p_account RETURNING a.* INTO v_account;
    PERFORM shop.enqueue('image_uploaded', jsonb_build_object('account_id', p_account::text));
    RETURN v_account;
END $$;
COMMENT ON FUNCTION shop.set_avatar(bigint, text) IS 'Notes that a picture was uploaded, and enqueues the making of its sizes. Errors: HS015.';

CREATE FUNCTION shop.create_merchant(p_account bigint, p_name text) RETURNS shop.merchant
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_merchant shop.merchant;
BEGIN
    PERFORM shop.check_name(p_name);
    INSERT INTO shop.merchant AS m (account_id, name) VALUES (p_account, p_name)
    ON CONFLICT (account_id) DO NOTHING RETURNING m.* INTO v_merchant;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS105');
    END IF;
    UPDATE shop.account AS a SET roles = a.roles || '{merchant}', version = a.version + 1 WHERE a.id = p_account AND NOT 'merchant' = ANY (a.roles);
    RETURN v_merchant;
END $$;
COMMENT ON FUNCTION shop.create_merchant(bigint, text) IS 'Makes an account a merchant. Errors: HS013, HS105 it is one.';

CREATE FUNCTION shop.update_merchant(p_actor bigint, p_merchant bigint, p_name text, p_if_match text) RETURNS shop.merchant
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_merchant shop.merchant;
BEGIN
    PERFORM shop.require_actor(p_actor);
    PERFORM shop.check_name(p_name);
    SELECT m.* INTO v_merchant FROM shop.merchant AS m WHERE m.id = p_merchant FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS004');
    END IF;
    PERFORM shop.require_merchant_of(p_actor, p_merchant);
    PERFORM shop.require_match(p_if_match, v_merchant.version);
    IF p_name <> v_merchant.name THEN
        UPDATE shop.merchant AS m SET name = p_name, version = m.version + 1 WHERE m.id = p_merchant RETURNING m.* INTO v_merchant;
    END IF;
    RETURN v_merchant;
END $$;
COMMENT ON FUNCTION shop.update_merchant(bigint, bigint, text, text) IS 'Renames a merchant. Errors: HS001 to HS004, HS006, HS007, HS013.';

CREATE FUNCTION shop.purge_tokens(p_limit integer DEFAULT 1000, p_age interval DEFAULT '1 day') RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        WITH families AS (
            DELETE FROM shop.refresh_family AS d WHERE d.ctid = ANY (ARRAY(
                SELECT f.ctid FROM shop.refresh_family AS f WHERE f.expires_at < clock_timestamp() - p_age
                ORDER BY f.expires_at LIMIT p_limit FOR UPDATE SKIP LOCKED)) RETURNING d.id
        ), resets AS (
            DELETE FROM shop.password_reset AS d WHERE d.ctid = ANY (ARRAY(
                SELECT r.ctid FROM shop.password_reset AS r WHERE r.expires_at < clock_timestamp() - p_age
                ORDER BY r.expires_at LIMIT p_limit FOR UPDATE SKIP LOCKED)) RETURNING d.account_id
        )
        SELECT (SELECT count(*) FROM families) + (SELECT count(*) FROM resets);
    END;
COMMENT ON FUNCTION shop.purge_tokens(integer, interval) IS
'Deletes at most p_limit families of refresh tokens with their tokens, and as many password resets, that ended longer ago than p_age. Returns how many; waits for nobody and may run everywhere at once.';

GRANT EXECUTE ON FUNCTION shop.purge_tokens(integer, interval) TO shop_worker;

COMMIT;

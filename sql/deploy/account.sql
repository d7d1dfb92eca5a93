-- Deploy shop:account to pg
-- requires: problem
--
-- Accounts: who buys, sells and administers. Keyed by account_id; the e-mail address, by which a person logs in, is a
-- directory of its own, so that accounts can live on several servers. A password is stored as the hash that the
-- application has computed. Refresh tokens come in families: one login is a family, each refresh its next token.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE TABLE shop.account (
    id            bigint      NOT NULL DEFAULT holdfast.new_id(),
    email         text,
    name          text        NOT NULL,
    password_hash text,
    roles         text[]      NOT NULL DEFAULT '{user}',
    locale        text        NOT NULL DEFAULT 'en',
    avatar        jsonb,
    version       integer     NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    suspended_at  timestamptz,
    CONSTRAINT account_pkey PRIMARY KEY (id),
    CONSTRAINT account_roles_check CHECK (roles <@ '{user,merchant,admin}' AND 'user' = ANY (roles)),
    CONSTRAINT account_login_check CHECK (email IS NOT NULL OR password_hash IS NULL)
);
COMMENT ON TABLE shop.account IS 'Who buys, sells and administers. An account without e-mail address is that of another channel''s customer, and cannot log in.';
COMMENT ON COLUMN shop.account.email IS 'As it was typed; shop.login has it without regard to case.';
COMMENT ON COLUMN shop.account.password_hash IS 'argon2id, in PHC format; never computed here.';

CREATE TABLE shop.login (
    email      text   COLLATE "C" NOT NULL,
    account_id bigint NOT NULL,
    CONSTRAINT login_pkey PRIMARY KEY (email),
    CONSTRAINT login_email_check CHECK (email = lower(email COLLATE "und-x-icu"))
);
CREATE INDEX login_account_idx ON shop.login (account_id);
COMMENT ON TABLE shop.login IS 'The directory of e-mail addresses, in lower case: which account each belongs to.';

CREATE TABLE shop.merchant (
    id         bigint      NOT NULL DEFAULT holdfast.new_id(),
    account_id bigint      NOT NULL,
    name       text        NOT NULL,
    version    integer     NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT merchant_pkey PRIMARY KEY (id),
    CONSTRAINT merchant_account_key UNIQUE (account_id)
);
COMMENT ON TABLE shop.merchant IS 'Who sells. An account is at most one merchant.';

CREATE FUNCTION shop.require_actor(p_actor bigint, p_role text DEFAULT 'user') RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account record;
BEGIN
    SELECT a.suspended_at, a.roles INTO v_account FROM shop.account AS a WHERE a.id = p_actor;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS001');
    ELSIF v_account.suspended_at IS NOT NULL THEN
        PERFORM shop.refuse('HS002');
    ELSIF NOT p_role = ANY (v_account.roles) THEN
        PERFORM shop.refuse('HS003', NULL, 'wanted: role ' || p_role);
    END IF;
END $$;
COMMENT ON FUNCTION shop.require_actor(bigint, text) IS 'Refuses an actor who is nobody, is suspended, or has not the role. Errors: HS001, HS002, HS003.';

CREATE FUNCTION shop.require_merchant(p_actor bigint) RETURNS bigint
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_merchant bigint;
BEGIN
    PERFORM shop.require_actor(p_actor, 'merchant');
    SELECT m.id INTO v_merchant FROM shop.merchant AS m WHERE m.account_id = p_actor;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS003', NULL, 'wanted: a merchant');
    END IF;
    RETURN v_merchant;
END $$;
COMMENT ON FUNCTION shop.require_merchant(bigint) IS 'The merchant that the actor is. Errors: HS001, HS002, HS003.';

CREATE FUNCTION shop.require_merchant_of(p_actor bigint, p_merchant bigint) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.require_actor(p_actor);
    IF NOT EXISTS (SELECT FROM shop.account AS a WHERE a.id = p_actor
                   AND ('admin' = ANY (a.roles) OR 'merchant' = ANY (a.roles) AND EXISTS (SELECT FROM shop.merchant AS m WHERE m.id = p_merchant AND m.account_id = a.id))) THEN
        PERFORM shop.refuse('HS003', NULL, 'it is another merchant''s');
    END IF;
END $$;
COMMENT ON FUNCTION shop.require_merchant_of(bigint, bigint) IS 'Refuses an actor who is neither this merchant nor an admin. Errors: HS001, HS002, HS003.';

COMMIT;

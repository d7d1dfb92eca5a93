-- What every file of tests of the shop begins with: a transaction, pgTAP, and the words below. The database has the
-- shop deployed. The file ends with ROLLBACK, so it leaves nothing behind.
\set QUIET on
\pset format unaligned
\pset tuples_only on
\set ON_ERROR_STOP on
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION pgtap;

-- An account by name, made when it is first spoken of; its e-mail address is name@example.org.
CREATE FUNCTION person(p_name text, p_roles text[] DEFAULT '{user}') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_id bigint;
BEGIN
    SELECT account_id INTO v_id FROM shop.login WHERE email = p_name || '@example.org';
    IF NOT FOUND THEN
        INSERT INTO shop.account (email, name, password_hash, roles) VALUES (p_name || '@example.org', p_name, '$argon2id$test', p_roles) RETURNING id INTO v_id;
        INSERT INTO shop.login VALUES (p_name || '@example.org', v_id);
    END IF;
    RETURN v_id;
END $$;

-- A merchant by the name of its person, likewise.
CREATE FUNCTION merchant(p_name text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_account CONSTANT bigint := person(p_name, '{user,merchant}');
    v_id bigint;
BEGIN
    SELECT id INTO v_id FROM shop.merchant WHERE account_id = v_account;
    IF NOT FOUND THEN
        INSERT INTO shop.merchant (account_id, name) VALUES (v_account, p_name || ' & sons') RETURNING id INTO v_id;
    END IF;
    RETURN v_id;
END $$;

-- A SKU by the name of its merchant and its code, likewise: of a published product of its own, in stock.
CREATE FUNCTION sku(p_merchant text, p_code text, p_price bigint DEFAULT 1000, p_units bigint DEFAULT 100, p_currency text DEFAULT 'EUR') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_merchant CONSTANT bigint := merchant(p_merchant);
    v_product bigint;
    v_id bigint;
BEGIN
    SELECT id INTO v_id FROM shop.sku WHERE merchant_id = v_merchant AND code = p_code;
    IF NOT FOUND THEN
        INSERT INTO shop.product (merchant_id, title, currency, price, published_at)
        VALUES (v_merchant, 'The ' || p_code, p_currency, p_price, clock_timestamp()) RETURNING id INTO v_product;
        INSERT INTO shop.sku (product_id, merchant_id, code, price, currency) VALUES (v_product, v_merchant, p_code, p_price, p_currency) RETURNING id INTO v_id;
        IF p_units > 0 THEN
            PERFORM holdfast.receive(v_id, p_units, 'test');
        END IF;
    END IF;
    RETURN v_id;
END $$;

-- The account of the units of a SKU or a sale in words.
CREATE FUNCTION units(p_stock bigint) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s available, %s held, %s sold', available, held, sold)
        || CASE WHEN EXISTS (SELECT FROM holdfast.verify()) THEN ', verify() finds something' ELSE '' END
    FROM holdfast.stock WHERE sku = p_stock
$$;

-- Everything that the shop and the extension store, as one digest.
CREATE FUNCTION contents() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_table regclass;
    v_digest text;
    v_all text := '';
BEGIN
    FOR v_table IN SELECT c.oid FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace IN ('shop'::regnamespace, '_holdfast'::regnamespace) ORDER BY c.oid::regclass::text LOOP
        EXECUTE format('SELECT md5(string_agg(t::text, E''\n'' ORDER BY t::text)) FROM %s AS t', v_table) INTO v_digest;
        v_all := v_all || v_table || ' ' || coalesce(v_digest, '') || E'\n';
    END LOOP;
    RETURN v_all;
END $$;

-- A test: the statement is refused with the SQLSTATE, which shop.problem knows as one of 4xx, with the pointer of the
-- field where one is given, and nothing has changed.
CREATE FUNCTION refuses(p_sql text, p_state text, p_sentence text, p_pointer text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    was CONSTANT text := contents();
    state text := '00000';
    message text := '';
    pointer text := '';
    complaint text := '';
BEGIN
    BEGIN
        EXECUTE p_sql;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, pointer = COLUMN_NAME;
    END;
    IF state <> p_state THEN
        complaint := format('wanted %s, had %s: %s', p_state, state, message);
    ELSIF NOT EXISTS (SELECT FROM shop.problem WHERE code = state) THEN
        complaint := format('shop.problem does not know %s', state);
    ELSIF p_pointer IS NOT NULL AND pointer IS DISTINCT FROM p_pointer THEN
        complaint := format('the pointer is %s', pointer);
    ELSIF contents() <> was THEN
        complaint := 'something has changed';
    END IF;
    RETURN ok(complaint = '', p_sentence) || CASE WHEN complaint <> '' THEN E'\n' || diag(complaint) ELSE '' END;
END $$;

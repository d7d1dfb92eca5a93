-- What every file of tests begins with: a transaction, pgTAP, and the words below. The file ends
-- with ROLLBACK, so it leaves nothing behind.
\set QUIET on
\pset format unaligned
\pset tuples_only on
\set ON_ERROR_STOP on
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION pgtap;

-- An owner by name.
CREATE FUNCTION owner(p_name text) RETURNS uuid IMMUTABLE LANGUAGE sql
    AS $$ SELECT md5(p_name)::uuid $$;

-- Everything that is stored, as text.
CREATE FUNCTION contents() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(line, E'\n' ORDER BY line)
    FROM (SELECT 'lane ' || t::text FROM _holdfast.stock_lane t
          UNION ALL SELECT 'floor ' || t::text FROM _holdfast.lane_floor t
          UNION ALL SELECT 'hold ' || t::text FROM _holdfast.hold t
          UNION ALL SELECT 'movement ' || t::text FROM _holdfast.stock_movement t
          UNION ALL SELECT 'key ' || t::text FROM _holdfast.idempotency_0 t
          UNION ALL SELECT 'key ' || t::text FROM _holdfast.idempotency_1 t
          UNION ALL SELECT 'payment ' || t::text FROM _holdfast.payment t
          UNION ALL SELECT 'payment event ' || t::text FROM _holdfast.payment_event t
          UNION ALL SELECT 'entry ' || t::text FROM _holdfast.ledger_entry t
          UNION ALL SELECT 'call ' || t::text FROM _holdfast.provider_call t
          UNION ALL SELECT 'provider ' || t::text FROM _holdfast.provider t
          UNION ALL SELECT 'secret ' || t::text FROM _holdfast.webhook_secret t
          UNION ALL SELECT 'provider event ' || t::text FROM _holdfast.provider_event t
          UNION ALL SELECT 'simulated call ' || t::text FROM _holdfast.simulated_call t) AS stored (line)
$$;

-- The account of a SKU in words. Says so if view, function and verify() do not agree.
CREATE FUNCTION account(p_sku bigint) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s available, %s held, %s sold', available, held, sold)
        || CASE WHEN available = holdfast.available(p_sku) THEN '' ELSE ', available() differs' END
        || CASE WHEN available + held + sold = received THEN '' ELSE ', the sum is wrong' END
        || CASE WHEN EXISTS (SELECT FROM holdfast.verify()) THEN ', verify() finds something' ELSE '' END
    FROM holdfast.stock WHERE sku = p_sku
$$;

-- A test: the statement is refused with the SQLSTATE, with numbers in the detail and a way out in
-- the hint where patterns are given, and nothing has changed.
CREATE FUNCTION refuses(p_sql text, p_state text, p_sentence text, p_detail text DEFAULT NULL, p_hint text DEFAULT NULL)
    RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    was text := contents();
    state text := '00000';
    message text := '';
    detail text := '';
    hint text := '';
    complaint text := '';
BEGIN
    BEGIN
        EXECUTE p_sql;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
            detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    END;
    IF state <> p_state THEN
        complaint := format('wanted %s, had %s: %s', p_state, state, message);
    ELSIF state LIKE 'HF%' AND (message !~ '^[a-z_]' OR length(message) > 60) THEN
        complaint := format('the message is not short and lower-case: %s', message);
    ELSIF detail !~ COALESCE(p_detail, '') THEN
        complaint := format('the detail is: %s', detail);
    ELSIF hint !~ COALESCE(p_hint, '') THEN
        complaint := format('the hint is: %s', hint);
    ELSIF contents() IS DISTINCT FROM was THEN
        complaint := 'something has changed';
    ELSIF EXISTS (SELECT FROM holdfast.verify()) THEN
        complaint := 'verify() finds something';
    END IF;
    RETURN ok(complaint = '', p_sentence) || CASE WHEN complaint <> '' THEN E'\n' || diag(complaint) ELSE '' END;
END
$$;

-- The answer of a query whose effects, and those of the command before it, are undone again.
CREATE FUNCTION undone(p_sql text, p_before text DEFAULT 'SELECT') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    BEGIN
        EXECUTE p_before;
        EXECUTE p_sql INTO answer;
        RAISE EXCEPTION USING ERRCODE = 'ZZ000';
    EXCEPTION
        WHEN SQLSTATE 'ZZ000' THEN NULL;
        WHEN OTHERS THEN answer := SQLSTATE;
    END;
    RETURN answer;
END
$$;

-- A SKU, a number of units of it, and holds of it in one go.
CREATE FUNCTION given(p_sku bigint, p_units bigint) RETURNS void LANGUAGE sql
    AS $$ SELECT holdfast.receive(p_sku, p_units) $$;
CREATE FUNCTION held(p_owner text, p_sku bigint, p_units bigint, p_ttl interval DEFAULT NULL) RETURNS void LANGUAGE sql
    AS $$ SELECT holdfast.reserve(owner(p_owner), p_sku, p_units, p_ttl) $$;

-- A SKU with as many units as a bigint holds; one call cannot bring them in.
CREATE FUNCTION full_house(p_sku bigint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO _holdfast.stock_lane VALUES (p_sku, 0, 9223372036854775807);
    INSERT INTO _holdfast.stock_movement VALUES (p_sku, holdfast.uuid7(), 9223372036854775807, clock_timestamp(), 'r')
$$;

-- The columns of a view in words.
CREATE FUNCTION shape(p_view regclass) RETURNS text STABLE LANGUAGE sql AS $$
    SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
    FROM pg_attribute WHERE attrelid = p_view AND attnum > 0 AND NOT attisdropped
$$;

-- A hold in words: its state and units.
CREATE FUNCTION hold(p_owner text, p_sku bigint) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s %s', state, quantity) FROM holdfast.holds WHERE owner = owner(p_owner) AND sku = p_sku
$$;

-- Deploy shop:field to pg
-- requires: problem
--
-- Reading JSON that a stranger has sent: each function gives a checked value, or refuses with a code and the pointer of
-- the field. p_body is an object of the request, p_at where it stands in it ('' for the body itself, '/items/3' for an
-- element, '?' for the parameters of a query, whose values are all text). A field that is absent and one that is null are
-- the same; PATCH asks p_body ? 'name' first.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE FUNCTION shop.field_pointer(p_at text, p_name text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT CASE WHEN p_at = '?' THEN '?' || p_name ELSE p_at || '/' || replace(replace(left(p_name, 100), '~', '~0'), '/', '~1') END;
    END;
COMMENT ON FUNCTION shop.field_pointer(text, text) IS 'The pointer of a field: a JSON pointer (RFC 6901), or ? and the name of a parameter.';

CREATE FUNCTION shop.check_fields(p_body jsonb, p_fields text[], p_at text DEFAULT '') RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_unknown text;
BEGIN
    IF p_body IS NULL OR jsonb_typeof(p_body) <> 'object' THEN
        PERFORM shop.refuse(CASE WHEN p_at = '' THEN 'HS008' ELSE 'HS011' END, p_at, 'wanted: an object');
    END IF;
    IF p_body - p_fields <> '{}' THEN
        SELECT min(k) INTO v_unknown FROM jsonb_object_keys(p_body - p_fields) AS k;
        PERFORM shop.refuse('HS009', shop.field_pointer(p_at, v_unknown));
    END IF;
END $$;
COMMENT ON FUNCTION shop.check_fields(jsonb, text[], text) IS 'Refuses what is not an object, or has fields other than p_fields. Errors: HS008, HS009, HS011.';

CREATE FUNCTION shop.field(p_body jsonb, p_name text, p_type text, p_required boolean, p_at text) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_value CONSTANT jsonb := p_body -> p_name;
BEGIN
    IF v_value IS NULL OR v_value = 'null' THEN
        IF p_required THEN
            PERFORM shop.refuse('HS010', shop.field_pointer(p_at, p_name));
        END IF;
        RETURN NULL;
    END IF;
    IF jsonb_typeof(v_value) <> p_type THEN
        PERFORM shop.refuse('HS011', shop.field_pointer(p_at, p_name), 'wanted: ' || p_type);
    END IF;
    RETURN v_value;
END $$;
COMMENT ON FUNCTION shop.field(jsonb, text, text, boolean, text) IS 'A field of a type as jsonb_typeof() names it; NULL if it is not there and not required. Errors: HS010, HS011.';

CREATE FUNCTION shop.text_field(p_body jsonb, p_name text, p_max integer, p_required boolean DEFAULT true, p_at text DEFAULT '', p_min integer DEFAULT 1) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_value CONSTANT text := shop.field(p_body, p_name, 'string', p_required, p_at) #>> '{}';
    -- What shows nothing: white space of Unicode, of no width too, marks of direction, fillers.
    v_blanks CONSTANT text := E' \t\n\x0b\f\r\u0085\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b\u180c\u180d\u180e\u180f'
        '\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u202f'
        '\u205f\u2060\u2061\u2062\u2063\u2064\u2065\u2066\u2067\u2068\u2069\u206a\u206b\u206c\u206d\u206e\u206f\u2800\u3000\u3164\ufe0e\ufe0f\ufeff\uffa0';
BEGIN
    IF length(v_value) > p_max OR length(btrim(v_value, v_blanks)) < p_min THEN
        PERFORM shop.refuse('HS012', shop.field_pointer(p_at, p_name), format('wanted: %s to %s characters', p_min, p_max));
    ELSIF v_value ~ '[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]' THEN
        PERFORM shop.refuse('HS013', shop.field_pointer(p_at, p_name), 'control characters');
    END IF;
    RETURN v_value;
END $$;
COMMENT ON FUNCTION shop.text_field(jsonb, text, integer, boolean, text, integer) IS 'Text of p_min (blanks, and what shows nothing, at its ends not counted) to p_max characters, without control characters other than tab and line ends. Errors: HS010 to HS013.';

CREATE FUNCTION shop.integer_field(p_body jsonb, p_name text, p_min bigint, p_max bigint, p_required boolean DEFAULT true, p_at text DEFAULT '') RETURNS bigint
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_text CONSTANT text := shop.field(p_body, p_name, CASE WHEN p_at = '?' THEN 'string' ELSE 'number' END, p_required, p_at) #>> '{}';
    v_value numeric;
BEGIN
    IF v_text IS NULL THEN
        RETURN NULL;
    ELSIF p_at = '?' AND v_text !~ '^[-+]?[0-9]{1,30}$' THEN
        PERFORM shop.refuse('HS011', shop.field_pointer(p_at, p_name), 'wanted: an integer');
    END IF;
    v_value := v_text::numeric;
    IF v_value <> trunc(v_value) THEN
        PERFORM shop.refuse('HS011', shop.field_pointer(p_at, p_name), 'wanted: an integer');
    ELSIF v_value NOT BETWEEN p_min AND p_max THEN
        PERFORM shop.refuse('HS014', shop.field_pointer(p_at, p_name), format('wanted: %s to %s', p_min, p_max));
    END IF;
    RETURN v_value::bigint;
END $$;
COMMENT ON FUNCTION shop.integer_field(jsonb, text, bigint, bigint, boolean, text) IS 'An integer from p_min to p_max. Errors: HS010, HS011, HS014.';

CREATE FUNCTION shop.id_field(p_body jsonb, p_name text, p_required boolean DEFAULT true, p_at text DEFAULT '') RETURNS bigint
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_value CONSTANT text := shop.field(p_body, p_name, 'string', p_required, p_at) #>> '{}';
BEGIN
    IF v_value !~ '^[1-9][0-9]{0,18}$' OR v_value::numeric > 9223372036854775807 THEN
        PERFORM shop.refuse('HS015', shop.field_pointer(p_at, p_name), 'wanted: an id, as a string of digits');
    END IF;
    RETURN v_value::bigint;
END $$;
COMMENT ON FUNCTION shop.id_field(jsonb, text, boolean, text) IS 'The id of a thing: a string of digits. Errors: HS010, HS011, HS015.';

CREATE FUNCTION shop.boolean_field(p_body jsonb, p_name text, p_required boolean DEFAULT true, p_at text DEFAULT '') RETURNS boolean
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_value CONSTANT text := shop.field(p_body, p_name, CASE WHEN p_at = '?' THEN 'string' ELSE 'boolean' END, p_required, p_at) #>> '{}';
BEGIN
    IF v_value NOT IN ('true', 'false') THEN
        PERFORM shop.refuse('HS011', shop.field_pointer(p_at, p_name), 'wanted: true or false');
    END IF;
    RETURN v_value::boolean;
END $$;
COMMENT ON FUNCTION shop.boolean_field(jsonb, text, boolean, text) IS 'true or false. Errors: HS010, HS011.';

CREATE FUNCTION shop.choice_field(p_body jsonb, p_name text, p_choices text[], p_required boolean DEFAULT true, p_at text DEFAULT '') RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_value CONSTANT text := shop.field(p_body, p_name, 'string', p_required, p_at) #>> '{}';
BEGIN
    IF v_value <> ALL (p_choices) THEN
        PERFORM shop.refuse('HS015', shop.field_pointer(p_at, p_name), 'wanted: one of ' || array_to_string(p_choices, ', '));
    END IF;
    RETURN v_value;
END $$;
COMMENT ON FUNCTION shop.choice_field(jsonb, text, text[], boolean, text) IS 'One of several words. Errors: HS010, HS011, HS015.';

CREATE FUNCTION shop.time_field(p_body jsonb, p_name text, p_required boolean DEFAULT true, p_at text DEFAULT '') RETURNS timestamptz
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_value CONSTANT text := shop.field(p_body, p_name, 'string', p_required, p_at) #>> '{}';
BEGIN
    IF v_value !~ '^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[-+][0-9]{2}:[0-9]{2})$' THEN
        PERFORM shop.refuse('HS015', shop.field_pointer(p_at, p_name), 'wanted: a time as in RFC 3339, such as 2026-11-27T20:00:00Z');
    END IF;
    BEGIN
        RETURN v_value::timestamptz;
    EXCEPTION WHEN datetime_field_overflow OR invalid_time_zone_displacement_value THEN
        PERFORM shop.refuse('HS015', shop.field_pointer(p_at, p_name), 'there is no such time');
    END;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION shop.time_field(jsonb, text, boolean, text) IS 'A time as in RFC 3339. Errors: HS010, HS011, HS015.';

CREATE FUNCTION shop.json_time(p_time timestamptz) RETURNS text
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT CASE WHEN isfinite(p_time) THEN to_char(p_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') END;
    END;
COMMENT ON FUNCTION shop.json_time(timestamptz) IS 'A time as JSON has it: RFC 3339, UTC, microseconds; NULL for infinity.';

-- What every list takes.
CREATE FUNCTION shop.page_limit(p_query jsonb) RETURNS integer
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce(shop.integer_field(p_query, 'limit', 1, 100, false, '?'), 20);
END $$;
COMMENT ON FUNCTION shop.page_limit(jsonb) IS 'The parameter limit of a list: 1 to 100, 20 if there is none. Errors: HS011, HS014.';

CREATE FUNCTION shop.page_cursor(p_query jsonb) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN shop.text_field(p_query, 'cursor', 2000, false, '?');
END $$;
COMMENT ON FUNCTION shop.page_cursor(jsonb) IS 'The parameter cursor of a list, for shop.read_cursor(); NULL for its first page. Errors: HS011 to HS013.';

-- A cursor is the place in a list after which the next page begins: the name of the order and the last values, as text.
-- Whoever makes one up may begin anywhere in a list that he may see anyway.
CREATE FUNCTION shop.cursor_of(p_sort text, VARIADIC p_values text[]) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT translate(encode(convert_to(to_json(p_sort || p_values)::text, 'UTF8'), 'base64'), E'+/=\n', '-_');
    END;
COMMENT ON FUNCTION shop.cursor_of(text, text[]) IS 'The cursor behind a row of a list with the order p_sort and these values.';

CREATE FUNCTION shop.read_cursor(p_cursor text, p_sort text, p_types regtype[]) RETURNS text[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_json jsonb;
    v_values text[];
BEGIN
    IF p_cursor IS NULL THEN
        RETURN NULL;
    END IF;
    BEGIN
        v_json := convert_from(decode(rpad(translate(left(p_cursor, 2000), '-_', '+/'), ((length(left(p_cursor, 2000)) + 3) / 4) * 4, '='), 'base64'), 'UTF8')::jsonb;
        v_values := ARRAY(SELECT jsonb_array_elements_text(v_json));
        IF v_values[1] <> p_sort OR cardinality(v_values) <> cardinality(p_types) + 1 OR array_position(v_values, NULL) IS NOT NULL THEN
            RAISE data_exception;
        END IF;
        FOR v_i IN 1 .. cardinality(p_types) LOOP
            EXECUTE format('SELECT $1::%s', p_types[v_i]) USING v_values[v_i + 1];
        END LOOP;
    EXCEPTION WHEN data_exception OR invalid_parameter_value OR program_limit_exceeded THEN
        PERFORM shop.refuse('HS016', '?cursor');
    END;
    RETURN v_values[2:];
END $$;
COMMENT ON FUNCTION shop.read_cursor(text, text, regtype[]) IS 'The values of a cursor, each readable as its type; NULL for NULL. Errors: HS016.';

COMMIT;

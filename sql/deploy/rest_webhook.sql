-- Deploy shop:rest_webhook to pg
-- requires: webhook_event
--
-- The routes of webhooks: a merchant's endpoints, what they were told, and how that went. Nobody else learns that they are
-- there. The secret is shown once, when it is made.

BEGIN;
SET LOCAL ROLE shop_owner;

-- What a merchant may name: a URL of https; or of http, if it is for an address of one's own network, which the worker
-- calls only if it may. What a name resolves to is looked at when it is called, not here.
CREATE FUNCTION shop.url_field(p_body jsonb, p_name text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_url CONSTANT text := shop.text_field(p_body, p_name, 2000);
    v_at CONSTANT text := shop.field_pointer('', p_name);
    v_parts CONSTANT text[] := regexp_match(v_url, '^(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?([/?].*)?$', 'i');
    v_host text;
    v_is_own boolean;
BEGIN
    IF v_url ~ '[^\x21-\x7e]' THEN
        PERFORM shop.refuse('HS013', v_at, 'wanted: printable ASCII without blanks; other characters are to be encoded');
    ELSIF v_parts IS NULL OR v_url ~ '[#\\]' OR v_parts[3]::integer NOT BETWEEN 1 AND 65535 THEN
        PERFORM shop.refuse('HS015', v_at, 'wanted: https://host/path, without credentials and fragment');
    ELSIF lower(v_parts[1]) = 'http' THEN
        v_host := lower(btrim(v_parts[2], '[]'));
        BEGIN
            v_is_own := v_host::inet <<= ANY ('{127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,::1/128,fc00::/7,fe80::/10}'::inet[]) AND masklen(v_host::inet) >= 32;
        EXCEPTION WHEN data_exception THEN
            v_is_own := v_host ~ '^(.*\.)?localhost$';
        END;
        IF NOT v_is_own THEN
            PERFORM shop.refuse('HS015', v_at, 'wanted: https; http is for addresses of one''s own network alone');
        END IF;
    END IF;
    RETURN v_url;
END $$;
COMMENT ON FUNCTION shop.url_field(jsonb, text) IS 'The URL of an endpoint, up to 2000 characters. Errors: HS010 to HS013, HS015.';

CREATE FUNCTION shop.events_field(p_body jsonb) RETURNS text[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_events CONSTANT jsonb := shop.field(p_body, 'events', 'array', true, '');
    v_wrong integer;
BEGIN
    IF jsonb_array_length(v_events) NOT BETWEEN 1 AND 20 THEN
        PERFORM shop.refuse('HS012', '/events', 'wanted: 1 to 20 types');
    END IF;
    SELECT min(e.n) - 1 INTO v_wrong FROM jsonb_array_elements(v_events) WITH ORDINALITY AS e (type, n)
    WHERE jsonb_typeof(e.type) <> 'string' OR e.type #>> '{}' <> ALL (shop.webhook_types());
    IF v_wrong IS NOT NULL THEN
        PERFORM shop.refuse('HS015', '/events/' || v_wrong, 'wanted: one of ' || array_to_string(shop.webhook_types(), ', '));
    END IF;
    RETURN ARRAY(SELECT t.type FROM unnest(shop.webhook_types()) WITH ORDINALITY AS t (type, n) WHERE v_events ? t.type ORDER BY t.n);
END $$;
COMMENT ON FUNCTION shop.events_field(jsonb) IS 'The types of events in the field events, each once. Errors: HS010 to HS012, HS015.';

CREATE FUNCTION shop.new_webhook_secret() RETURNS text
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT 'whsec_' || encode(sha256(string_agg(uuid_send(gen_random_uuid()), '')), 'base64') FROM generate_series(1, 4);
    END;
COMMENT ON FUNCTION shop.new_webhook_secret() IS 'A secret of Standard Webhooks: 256 bits at random.';

CREATE FUNCTION shop.endpoint_json(p_endpoint shop.webhook_endpoint, p_secret text DEFAULT NULL) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT (jsonb_build_object('id', p_endpoint.id::text, 'url', p_endpoint.url, 'events', to_jsonb(p_endpoint.events), 'description', p_endpoint.description,
            'enabled', p_endpoint.disabled_at IS NULL, 'low_stock_threshold', p_endpoint.low_stock_threshold,
            'disabled_at', shop.json_time(p_endpoint.disabled_at), 'disabled_reason', p_endpoint.disabled_reason,
            'failing_since', shop.json_time(p_endpoint.failing_since), 'created_at', shop.json_time(p_endpoint.created_at), 'version', p_endpoint.version)
            || CASE WHEN p_secret IS NULL THEN '{}' ELSE jsonb_build_object('secret', p_secret) END)::json;
    END;
COMMENT ON FUNCTION shop.endpoint_json(shop.webhook_endpoint, text) IS 'An endpoint as its merchant sees it; with its secret only where that is given.';

CREATE FUNCTION shop.own_endpoint(p_actor bigint, p_id bigint, p_lock boolean DEFAULT false) RETURNS shop.webhook_endpoint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_merchant CONSTANT bigint := shop.require_merchant(p_actor);
    v_endpoint shop.webhook_endpoint;
BEGIN
    IF p_lock THEN
        SELECT e.* INTO v_endpoint FROM shop.webhook_endpoint AS e
        WHERE e.merchant_id = v_merchant AND e.id = p_id AND e.deleted_at IS NULL FOR NO KEY UPDATE;
    ELSE
        SELECT e.* INTO v_endpoint FROM shop.webhook_endpoint AS e WHERE e.merchant_id = v_merchant AND e.id = p_id AND e.deleted_at IS NULL;
    END IF;
    IF v_endpoint.id IS NULL THEN
        PERFORM shop.refuse('HS004');
    END IF;
    RETURN v_endpoint;
END $$;
COMMENT ON FUNCTION shop.own_endpoint(bigint, bigint, boolean) IS 'An endpoint of the merchant that the actor is; p_lock: nobody changes it meanwhile. Errors: HS001 to HS004.';

CREATE FUNCTION shop.endpoint_reply(p_merchant bigint, p_id bigint, p_status integer DEFAULT 200, p_secret text DEFAULT NULL) RETURNS rest.reply
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT ROW(p_status, shop.etag(e.version), CASE p_status WHEN 201 THEN '/v1/webhook-endpoints/' || e.id END, false, shop.endpoint_json(e, p_secret))::rest.reply
        FROM shop.webhook_endpoint AS e WHERE e.merchant_id = p_merchant AND e.id = p_id;
    END;
COMMENT ON FUNCTION shop.endpoint_reply(bigint, bigint, integer, text) IS 'The answer that is an endpoint.';

CREATE FUNCTION rest.webhook_endpoint_create(p_actor bigint, p_body jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_most CONSTANT integer := 10;
    v_merchant CONSTANT bigint := shop.require_merchant(p_actor);
    v_secret CONSTANT text := shop.new_webhook_secret();
    v_id bigint;
BEGIN
    PERFORM shop.check_fields(p_body, '{url,events,description,low_stock_threshold}');
    -- One after the other, so that two do not both count nine.
    PERFORM FROM shop.merchant AS m WHERE m.id = v_merchant FOR NO KEY UPDATE;
    IF (SELECT count(*) FROM shop.webhook_endpoint AS e WHERE e.merchant_id = v_merchant AND e.deleted_at IS NULL) >= v_most THEN
        PERFORM shop.refuse('HS601', NULL, format('at most %s', v_most));
    END IF;
    INSERT INTO shop.webhook_endpoint (merchant_id, url, events, description, low_stock_threshold, secret)
    VALUES (v_merchant, shop.url_field(p_body, 'url'), shop.events_field(p_body), coalesce(shop.text_field(p_body, 'description', 200, false, '', 0), ''),
            coalesce(shop.integer_field(p_body, 'low_stock_threshold', 0, 1000000000, false), 5), v_secret)
    RETURNING id INTO v_id;
    RETURN shop.endpoint_reply(v_merchant, v_id, 201, v_secret);
END $$;
COMMENT ON FUNCTION rest.webhook_endpoint_create(bigint, jsonb) IS
'POST /v1/webhook-endpoints: {url, events, description?, low_stock_threshold?} → 201 the endpoint with its secret, which is not shown again. Errors: HS001 to HS003 no merchant, HS008 to HS015 body, HS601 ten are enough.';

CREATE FUNCTION rest.webhook_endpoint_list(p_actor bigint, p_query jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_merchant CONSTANT bigint := shop.require_merchant(p_actor);
    v_limit integer;
    v_after bigint;
    v_endpoints shop.webhook_endpoint[];
BEGIN
    PERFORM shop.check_fields(p_query, '{limit,cursor}', '?');
    v_limit := shop.page_limit(p_query);
    v_after := coalesce((shop.read_cursor(shop.page_cursor(p_query), 'webhook-endpoints', '{bigint}'))[1]::bigint, 9223372036854775807);
    v_endpoints := ARRAY(SELECT e FROM shop.webhook_endpoint AS e WHERE e.merchant_id = v_merchant AND e.id < v_after AND e.deleted_at IS NULL
                         ORDER BY e.id DESC LIMIT v_limit + 1);
    RETURN ROW(200, NULL, NULL, false, (SELECT json_build_object('items', coalesce(json_agg(shop.endpoint_json(e) ORDER BY e.id DESC), '[]'),
        'next', CASE WHEN cardinality(v_endpoints) > v_limit THEN shop.cursor_of('webhook-endpoints', v_endpoints[v_limit].id::text) END)
        FROM unnest(v_endpoints[:v_limit]) AS e))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.webhook_endpoint_list(bigint, jsonb) IS
'GET /v1/webhook-endpoints?limit&cursor: the merchant''s endpoints, the youngest first → {items, next}. Errors: HS001 to HS003 no merchant, HS009 to HS016 query.';

CREATE FUNCTION rest.webhook_endpoint_get(p_actor bigint, p_id bigint) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_endpoint CONSTANT shop.webhook_endpoint := shop.own_endpoint(p_actor, p_id);
BEGIN
    RETURN shop.endpoint_reply(v_endpoint.merchant_id, p_id);
END $$;
COMMENT ON FUNCTION rest.webhook_endpoint_get(bigint, bigint) IS 'GET /v1/webhook-endpoints/{id}, for its merchant. Errors: HS001 to HS004.';

CREATE FUNCTION rest.webhook_endpoint_update(p_actor bigint, p_id bigint, p_body jsonb, p_if_match text) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_endpoint CONSTANT shop.webhook_endpoint := shop.own_endpoint(p_actor, p_id, true);
    v_enabled boolean;
BEGIN
    PERFORM shop.require_match(p_if_match, v_endpoint.version);
    PERFORM shop.check_fields(p_body, '{url,events,description,enabled,low_stock_threshold}');
    v_enabled := CASE WHEN p_body ? 'enabled' THEN shop.boolean_field(p_body, 'enabled') ELSE v_endpoint.disabled_at IS NULL END;
    UPDATE shop.webhook_endpoint AS e
    SET url = CASE WHEN p_body ? 'url' THEN shop.url_field(p_body, 'url') ELSE e.url END,
        events = CASE WHEN p_body ? 'events' THEN shop.events_field(p_body) ELSE e.events END,
        description = CASE WHEN p_body ? 'description' THEN coalesce(shop.text_field(p_body, 'description', 200, false, '', 0), '') ELSE e.description END,
        low_stock_threshold = CASE WHEN p_body ? 'low_stock_threshold' THEN shop.integer_field(p_body, 'low_stock_threshold', 0, 1000000000)
                                   ELSE e.low_stock_threshold END,
        failing_since = CASE WHEN p_body ? 'url' THEN NULL ELSE e.failing_since END, version = e.version + 1
    WHERE e.merchant_id = v_endpoint.merchant_id AND e.id = p_id;
    IF v_enabled AND v_endpoint.disabled_at IS NOT NULL THEN
        UPDATE shop.webhook_endpoint AS e SET disabled_at = NULL, disabled_reason = NULL, failing_since = NULL
        WHERE e.merchant_id = v_endpoint.merchant_id AND e.id = p_id;
        DELETE FROM shop.webhook_low_stock AS l WHERE l.merchant_id = v_endpoint.merchant_id AND l.endpoint_id = p_id;
    ELSIF NOT v_enabled THEN
        PERFORM shop.disable_endpoint(v_endpoint.merchant_id, p_id, 'its merchant has disabled it');
    END IF;
    RETURN shop.endpoint_reply(v_endpoint.merchant_id, p_id);
END $$;
COMMENT ON FUNCTION rest.webhook_endpoint_update(bigint, bigint, jsonb, text) IS
'PATCH /v1/webhook-endpoints/{id} with If-Match: {url, events, description, enabled, low_stock_threshold}, each optional → 200 the endpoint. One that is disabled is told nothing, later neither; what waits for it is cancelled. Errors: HS001 to HS004, HS006, HS007 If-Match, HS008 to HS015 body.';

CREATE FUNCTION rest.webhook_endpoint_delete(p_actor bigint, p_id bigint, p_if_match text) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_endpoint CONSTANT shop.webhook_endpoint := shop.own_endpoint(p_actor, p_id, true);
BEGIN
    PERFORM shop.require_match(p_if_match, v_endpoint.version, false);
    UPDATE shop.webhook_endpoint AS e SET deleted_at = clock_timestamp(), version = e.version + 1 WHERE e.merchant_id = v_endpoint.merchant_id AND e.id = p_id;
    RETURN ROW(204, NULL, NULL, false, NULL)::rest.reply;
END $$;
COMMENT ON FUNCTION rest.webhook_endpoint_delete(bigint, bigint, text) IS
'DELETE /v1/webhook-endpoints/{id} → 204: nothing more is sent, and what it was told is forgotten. Errors: HS001 to HS004, HS006 If-Match.';

CREATE FUNCTION rest.webhook_endpoint_rotate_secret(p_actor bigint, p_id bigint) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_endpoint CONSTANT shop.webhook_endpoint := shop.own_endpoint(p_actor, p_id, true);
    v_secret CONSTANT text := shop.new_webhook_secret();
BEGIN
    UPDATE shop.webhook_endpoint AS e
    SET secret = v_secret, old_secret = e.secret, old_until = clock_timestamp() + interval '24 hours', version = e.version + 1
    WHERE e.merchant_id = v_endpoint.merchant_id AND e.id = p_id;
    RETURN shop.endpoint_reply(v_endpoint.merchant_id, p_id, 200, v_secret);
END $$;
COMMENT ON FUNCTION rest.webhook_endpoint_rotate_secret(bigint, bigint) IS
'POST /v1/webhook-endpoints/{id}/rotate-secret → 200 the endpoint with a new secret, which is not shown again; for 24 hours the one before signs too. Errors: HS001 to HS004.';

CREATE FUNCTION shop.delivery_json(p_delivery shop.webhook_delivery) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT jsonb_build_object('id', p_delivery.id, 'type', p_delivery.type, 'state', p_delivery.state, 'attempts', p_delivery.attempts,
            'created_at', shop.json_time(p_delivery.created_at), 'next_at', shop.json_time(p_delivery.next_at), 'attempted_at', shop.json_time(p_delivery.attempted_at),
            'status', p_delivery.status, 'duration_ms', p_delivery.duration, 'error', p_delivery.error);
    END;
COMMENT ON FUNCTION shop.delivery_json(shop.webhook_delivery) IS 'A delivery as its merchant sees it in a list.';

CREATE FUNCTION shop.delivery_reply(p_merchant bigint, p_endpoint bigint, p_delivery uuid, p_status integer DEFAULT 200) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_reply rest.reply;
BEGIN
    SELECT p_status, NULL, CASE p_status WHEN 202 THEN format('/v1/webhook-endpoints/%s/deliveries/%s', d.endpoint_id, d.id) END, false,
           (shop.delivery_json(d) || jsonb_build_object('payload', d.body::jsonb, 'history', (
                SELECT coalesce(jsonb_agg(jsonb_build_object('n', a.n, 'at', shop.json_time(a.at), 'status', a.status, 'duration_ms', a.duration, 'error', a.error,
                    'answer', a.answer) ORDER BY a.n), '[]')
                FROM (SELECT * FROM shop.webhook_attempt AS t WHERE t.merchant_id = d.merchant_id AND t.endpoint_id = d.endpoint_id AND t.delivery_id = d.id
                      ORDER BY t.n DESC LIMIT 100) AS a)))::json
    INTO v_reply FROM shop.webhook_delivery AS d WHERE d.merchant_id = p_merchant AND d.endpoint_id = p_endpoint AND d.id = p_delivery;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS004');
    END IF;
    RETURN v_reply;
END $$;
COMMENT ON FUNCTION shop.delivery_reply(bigint, bigint, uuid, integer) IS 'The answer that is a delivery, with what was sent and its last 100 attempts. Errors: HS004.';

CREATE FUNCTION rest.webhook_endpoint_test(p_actor bigint, p_id bigint) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_endpoint CONSTANT shop.webhook_endpoint := shop.own_endpoint(p_actor, p_id);
    v_ids uuid[];
BEGIN
    IF v_endpoint.disabled_at IS NOT NULL THEN
        PERFORM shop.refuse('HS602');
    END IF;
    v_ids := shop.make_deliveries(ARRAY[v_endpoint.merchant_id], ARRAY[p_id], ARRAY['ping'], ARRAY['ping:' || holdfast.uuid7()],
        ARRAY[shop.webhook_body('ping', clock_timestamp(), json_build_object('endpoint_id', p_id::text))], 1);
    RETURN shop.delivery_reply(v_endpoint.merchant_id, p_id, v_ids[1], 202);
END $$;
COMMENT ON FUNCTION rest.webhook_endpoint_test(bigint, bigint) IS
'POST /v1/webhook-endpoints/{id}/test → 202 the delivery of an event ping, which is tried once. Errors: HS001 to HS004, HS602 it is disabled.';

CREATE FUNCTION rest.webhook_delivery_list(p_actor bigint, p_id bigint, p_query jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    v_endpoint CONSTANT shop.webhook_endpoint := shop.own_endpoint(p_actor, p_id);
    v_state text;
    v_limit integer;
    v_after uuid;
    v_deliveries shop.webhook_delivery[];
BEGIN
    PERFORM shop.check_fields(p_query, '{state,limit,cursor}', '?');
    v_state := shop.choice_field(p_query, 'state', '{pending,delivered,failed,cancelled}', false, '?');
    v_limit := shop.page_limit(p_query);
    v_after := coalesce((shop.read_cursor(shop.page_cursor(p_query), 'webhook-deliveries', '{uuid}'))[1]::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
    IF v_state IS NULL THEN
        v_deliveries := ARRAY(
            SELECT d FROM shop.webhook_delivery AS d WHERE d.merchant_id = v_endpoint.merchant_id AND d.endpoint_id = p_id AND d.id < v_after
            ORDER BY d.id DESC LIMIT v_limit + 1);
    ELSE
        v_deliveries := ARRAY(
            SELECT d FROM shop.webhook_delivery AS d WHERE d.merchant_id = v_endpoint.merchant_id AND d.endpoint_id = p_id AND d.state = v_state AND d.id < v_after
            ORDER BY d.id DESC LIMIT v_limit + 1);
    END IF;
    RETURN ROW(200, NULL, NULL, false, (SELECT json_build_object('items', coalesce(json_agg(shop.delivery_json(d) ORDER BY d.id DESC), '[]'),
        'next', CASE WHEN cardinality(v_deliveries) > v_limit THEN shop.cursor_of('webhook-deliveries', v_deliveries[v_limit].id::text) END)
        FROM unnest(v_deliveries[:v_limit]) AS d))::rest.reply;
END $$;
COMMENT ON FUNCTION rest.webhook_delivery_list(bigint, bigint, jsonb) IS
'GET /v1/webhook-endpoints/{id}/deliveries?state&limit&cursor: what the endpoint was told in 30 days, the youngest first → {items, next}. Errors: HS001 to HS004, HS009 to HS016 query.';

CREATE FUNCTION rest.webhook_delivery_get(p_actor bigint, p_id bigint, p_delivery uuid) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_endpoint CONSTANT shop.webhook_endpoint := shop.own_endpoint(p_actor, p_id);
BEGIN
    RETURN shop.delivery_reply(v_endpoint.merchant_id, p_id, p_delivery);
END $$;
COMMENT ON FUNCTION rest.webhook_delivery_get(bigint, bigint, uuid) IS
'GET /v1/webhook-endpoints/{id}/deliveries/{delivery}: a delivery with its payload and its attempts. Errors: HS001 to HS004.';

CREATE FUNCTION rest.webhook_delivery_redeliver(p_actor bigint, p_id bigint, p_delivery uuid) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_endpoint CONSTANT shop.webhook_endpoint := shop.own_endpoint(p_actor, p_id);
BEGIN
    PERFORM FROM shop.webhook_delivery AS d WHERE d.merchant_id = v_endpoint.merchant_id AND d.endpoint_id = p_id AND d.id = p_delivery;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS004');
    ELSIF v_endpoint.disabled_at IS NOT NULL THEN
        PERFORM shop.refuse('HS602');
    END IF;
    PERFORM shop.redeliver(v_endpoint.merchant_id, p_id, p_delivery);
    RETURN shop.delivery_reply(v_endpoint.merchant_id, p_id, p_delivery, 202);
END $$;
COMMENT ON FUNCTION rest.webhook_delivery_redeliver(bigint, bigint, uuid) IS
'POST /v1/webhook-endpoints/{id}/deliveries/{delivery}/redeliver → 202 the delivery, which is sent again now, whatever has become of it, with the id and the bytes that it has always had. Errors: HS001 to HS004, HS602 the endpoint is disabled.';

COMMIT;

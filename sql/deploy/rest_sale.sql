-- Deploy shop:rest_sale to pg
-- requires: sale_purchase
-- requires: field
--
-- The routes of sales. A sale is public once it is preheated; before, it is there for its merchant and administrators only.
-- What is answered to a purchase is the order as it was placed, made of what never changes in it, so that a repeated
-- request gets the same bytes whatever has become of the order since.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE FUNCTION shop.sales_json(p_sales bigint[]) RETURNS TABLE (id bigint, etag text, body json)
    LANGUAGE sql VOLATILE ROWS 20 SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT s.id, '"' || s.version || '.' || s.state || '.' || s.available || '"',
            json_build_object('id', s.id::text, 'state', s.state, 'merchant_id', s.merchant_id::text, 'sku_id', s.sku_id::text,
                'product_id', k.product_id::text, 'code', k.code, 'title', p.title, 'price', s.price, 'regular_price', k.price, 'currency', s.currency,
                'quantity', s.quantity, 'left', s.available, 'per_account_limit', s.per_account_limit,
                'starts_at', shop.json_time(s.starts_at), 'ends_at', shop.json_time(s.ends_at),
                'starts_in', greatest(ceil(extract(epoch FROM s.starts_at - s.now)), 0)::bigint,
                'ends_in', greatest(ceil(extract(epoch FROM coalesce(s.closed_at, s.ends_at) - s.now)), 0)::bigint, 'version', s.version)
        FROM unnest(p_sales) AS w (id)
        JOIN shop.sale_now AS s ON s.id = w.id
        JOIN shop.sku AS k ON k.id = s.sku_id
        JOIN shop.product AS p ON p.id = k.product_id;
    END;
COMMENT ON FUNCTION shop.sales_json(bigint[]) IS 'Sales as the client gets them, in any order. starts_in and ends_in are whole seconds. The ETag begins with the version, which If-Match is about; state and units left follow, because they change without it.';

CREATE FUNCTION shop.sale_reply(p_sale bigint, p_status integer DEFAULT 200) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_reply rest.reply;
BEGIN
    SELECT p_status, j.etag, CASE p_status WHEN 201 THEN '/v1/sales/' || j.id END, false, j.body INTO STRICT v_reply
    FROM shop.sales_json(ARRAY[p_sale]) AS j;
    RETURN v_reply;
END $$;
COMMENT ON FUNCTION shop.sale_reply(bigint, integer) IS 'The answer that is a sale.';

CREATE FUNCTION shop.own_sale(p_actor bigint, p_sale bigint) RETURNS shop.sale
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_sale shop.sale;
BEGIN
    PERFORM shop.require_actor(p_actor);
    SELECT * INTO v_sale FROM shop.sale AS s WHERE s.id = p_sale;
    IF NOT FOUND OR NOT shop.sale_is_visible(p_actor, v_sale.merchant_id, v_sale.preheated_at) THEN
        PERFORM shop.refuse('HS004');
    END IF;
    PERFORM shop.require_merchant_of(p_actor, v_sale.merchant_id);
    RETURN v_sale;
END $$;
COMMENT ON FUNCTION shop.own_sale(bigint, bigint) IS 'A sale of the merchant that the actor is; any sale for administrators. Errors: HS001 to HS003 (another''s), HS004 none, or another''s draft.';

CREATE FUNCTION shop.sale_is_visible(p_actor bigint, p_merchant bigint, p_preheated_at timestamptz) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT p_preheated_at IS NOT NULL
            OR EXISTS (SELECT FROM shop.merchant AS m WHERE m.id = p_merchant AND m.account_id = p_actor)
            OR EXISTS (SELECT FROM shop.account AS a WHERE a.id = p_actor AND 'admin' = ANY (a.roles));
    END;
COMMENT ON FUNCTION shop.sale_is_visible(bigint, bigint, timestamptz) IS 'Whether the actor may see a sale: drafts are for their merchant and administrators.';

CREATE FUNCTION rest.sale_create(p_actor bigint, p_body jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_merchant CONSTANT bigint := shop.require_merchant(p_actor);
BEGIN
    PERFORM shop.check_fields(p_body, '{sku_id,price,quantity,starts_at,ends_at,per_account_limit}');
    RETURN shop.sale_reply(shop.create_sale(v_merchant, shop.id_field(p_body, 'sku_id'),
        shop.integer_field(p_body, 'price', 1, 1000000000000), shop.integer_field(p_body, 'quantity', 1, 1000000000),
        shop.time_field(p_body, 'starts_at'), shop.time_field(p_body, 'ends_at'),
        shop.integer_field(p_body, 'per_account_limit', 1, 1000)), 201);
END $$;
COMMENT ON FUNCTION rest.sale_create(bigint, jsonb) IS
'POST /v1/sales: {sku_id, price, quantity, starts_at, ends_at, per_account_limit} → 201 the sale, a draft. Errors: HS001 to HS003 no merchant, or another''s SKU, HS004, HS005 SKU, HS008 to HS015 body.';

CREATE FUNCTION rest.sale_update(p_actor bigint, p_id bigint, p_if_match text, p_body jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_sale CONSTANT shop.sale := shop.own_sale(p_actor, p_id);
BEGIN
    PERFORM shop.check_fields(p_body, '{price,quantity,starts_at,ends_at,per_account_limit}');
    PERFORM shop.require_match(regexp_replace(p_if_match, '"([0-9]+)\.[a-z_]+\.[0-9]+"', '"\1"', 'g'), v_sale.version);
    PERFORM shop.update_sale(p_id, v_sale.version,
        CASE WHEN p_body ? 'price' THEN shop.integer_field(p_body, 'price', 1, 1000000000000) ELSE v_sale.price END,
        CASE WHEN p_body ? 'quantity' THEN shop.integer_field(p_body, 'quantity', 1, 1000000000) ELSE v_sale.quantity END,
        CASE WHEN p_body ? 'starts_at' THEN shop.time_field(p_body, 'starts_at') ELSE v_sale.starts_at END,
        CASE WHEN p_body ? 'ends_at' THEN shop.time_field(p_body, 'ends_at') ELSE v_sale.ends_at END,
        CASE WHEN p_body ? 'per_account_limit' THEN shop.integer_field(p_body, 'per_account_limit', 1, 1000) ELSE v_sale.per_account_limit END);
    RETURN shop.sale_reply(p_id);
END $$;
COMMENT ON FUNCTION rest.sale_update(bigint, bigint, text, jsonb) IS
'PATCH /v1/sales/{id} with If-Match: {price, quantity, starts_at, ends_at, per_account_limit}, each optional → 200 the sale. Errors: HS001 to HS004, HS006, HS007 If-Match, HS008 to HS015 body, HS406 no draft any more.';

CREATE FUNCTION rest.sale_list(p_actor bigint, p_query jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_custom_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_state text;
    v_merchant bigint;
    v_limit integer;
    v_after text[];
    v_ends_at timestamptz;
    v_id bigint;
    v_since timestamptz;
    v_ids bigint[];
    v_ends timestamptz[];
    v_reply rest.reply;
BEGIN
    IF p_actor IS NOT NULL THEN
        PERFORM shop.require_actor(p_actor);
    END IF;
    PERFORM shop.check_fields(p_query, '{state,merchant,limit,cursor}', '?');
    v_state := shop.choice_field(p_query, 'state', '{draft,scheduled,open,sold_out,closed}', false, '?');
    v_merchant := shop.id_field(p_query, 'merchant', false, '?');
    v_limit := shop.page_limit(p_query);
    v_after := shop.read_cursor(shop.page_cursor(p_query), 'sales', '{timestamptz,bigint}');
    v_ends_at := coalesce(v_after[1]::timestamptz, 'infinity');
    v_id := coalesce(v_after[2]::bigint, 9223372036854775807);
    -- What is not closed ends in the future: the few at the end of the index.
    v_since := CASE WHEN v_state IS NULL OR v_state = 'closed' THEN '-infinity' ELSE clock_timestamp() END;
    IF v_merchant IS NULL THEN
        SELECT array_agg(w.id ORDER BY w.n), array_agg(w.ends_at ORDER BY w.n) INTO v_ids, v_ends
        FROM (SELECT s.id, s.ends_at, row_number() OVER (ORDER BY s.ends_at DESC, s.id DESC) AS n FROM shop.sale AS s
              WHERE s.ends_at > v_since AND (s.ends_at, s.id) < (v_ends_at, v_id) AND shop.sale_is_visible(p_actor, s.merchant_id, s.preheated_at)
                AND (v_state IS NULL OR (SELECT n.state FROM shop.sale_now AS n WHERE n.id = s.id) = v_state)
              ORDER BY s.ends_at DESC, s.id DESC LIMIT v_limit + 1) AS w;
    ELSE
        SELECT array_agg(w.id ORDER BY w.n), array_agg(w.ends_at ORDER BY w.n) INTO v_ids, v_ends
        FROM (SELECT s.id, s.ends_at, row_number() OVER (ORDER BY s.ends_at DESC, s.id DESC) AS n FROM shop.sale AS s
              WHERE s.merchant_id = v_merchant AND s.ends_at > v_since AND (s.ends_at, s.id) < (v_ends_at, v_id)
                AND shop.sale_is_visible(p_actor, s.merchant_id, s.preheated_at)
                AND (v_state IS NULL OR (SELECT n.state FROM shop.sale_now AS n WHERE n.id = s.id) = v_state)
              ORDER BY s.ends_at DESC, s.id DESC LIMIT v_limit + 1) AS w;
    END IF;
    SELECT json_build_object('items', coalesce(json_agg(j.body ORDER BY w.n), '[]'),
        'next', CASE WHEN cardinality(v_ids) > v_limit THEN shop.cursor_of('sales', v_ends[v_limit]::text, v_ids[v_limit]::text) END)
    INTO v_reply.body
    FROM unnest(v_ids[:v_limit]) WITH ORDINALITY AS w (id, n) JOIN shop.sales_json(v_ids[:v_limit]) AS j ON j.id = w.id;
    v_reply.status := 200;
    v_reply.replayed := false;
    RETURN v_reply;
END $$;
COMMENT ON FUNCTION rest.sale_list(bigint, jsonb) IS
'GET /v1/sales?state&merchant&limit&cursor, for anyone, what ends last first → {items, next}. Drafts are in it for their merchant. Errors: HS001, HS002, HS009 to HS016 query.';

CREATE FUNCTION rest.sale_get(p_actor bigint, p_id bigint) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_actor IS NOT NULL THEN
        PERFORM shop.require_actor(p_actor);
    END IF;
    IF NOT EXISTS (SELECT FROM shop.sale AS s WHERE s.id = p_id AND shop.sale_is_visible(p_actor, s.merchant_id, s.preheated_at)) THEN
        PERFORM shop.refuse('HS004');
    END IF;
    RETURN shop.sale_reply(p_id);
END $$;
COMMENT ON FUNCTION rest.sale_get(bigint, bigint) IS 'GET /v1/sales/{id}, for anyone → the sale with its state, units left, seconds to start and end. Errors: HS001, HS002, HS004 none, or another''s draft.';

CREATE FUNCTION rest.sale_live(p_actor bigint, p_id bigint) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_reply rest.reply;
BEGIN
    -- What falls due while this runs is either available or due: the one clock is read before the other.
    SELECT 200, NULL, NULL, false, json_build_object('state', s.state, 'left', s.available, 'quantity', s.quantity, 'version', s.version,
        'ticket_quota', s.ticket_quota,
        'starts_in_ms', floor(1000 * extract(epoch FROM s.starts_at - s.now))::bigint,
        'ends_in_ms', floor(1000 * extract(epoch FROM coalesce(s.closed_at, s.ends_at) - s.now))::bigint,
        'ends_at_ms', floor(1000 * extract(epoch FROM coalesce(s.closed_at, s.ends_at)))::bigint,
        'release_in_ms', CASE WHEN s.state <> 'closed' THEN floor(1000 * extract(epoch FROM holdfast.next_expiry(s.id, s.now) - s.now))::bigint END)
    INTO v_reply
    FROM shop.sale_now AS s WHERE s.id = p_id AND shop.sale_is_visible(p_actor, s.merchant_id, s.preheated_at);
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS004');
    END IF;
    RETURN v_reply;
END $$;
COMMENT ON FUNCTION rest.sale_live(bigint, bigint) IS
'A sale as it is at this moment, for the application, which serves GET /v1/sales/{id}/events with it: {state, left, quantity, version, ticket_quota, starts_in_ms, ends_in_ms, ends_at_ms, release_in_ms}. Milliseconds by the clock of the database, negative once past; ends_at_ms since 1970; release_in_ms until the next units that are held fall due, null if none are. What changes it is told by the keys stock:{id} and sale:{id}, but for what the clock does. Errors: HS004.';

CREATE FUNCTION rest.sale_buyers(p_actor bigint, p_id bigint) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_accounts bigint[];
BEGIN
    IF p_actor IS NOT NULL THEN
        PERFORM shop.require_actor(p_actor, 'admin');
    END IF;
    v_accounts := ARRAY(SELECT b.account_id FROM shop.sale_buyer AS b WHERE b.sale_id = p_id LIMIT 500001);
    RETURN ROW(200, NULL, NULL, false, CASE WHEN cardinality(v_accounts) <= 500000 THEN array_to_json(v_accounts) END)::rest.reply;
END $$;
COMMENT ON FUNCTION rest.sale_buyers(bigint, bigint) IS
'The accounts that have ever bought in a sale, as an array of numbers; NULL if they are more than 500,000. For the application, which must not refuse by itself whoever may be asking again. p_actor: NULL, the application itself, or an admin. Errors: HS001 to HS003.';

CREATE FUNCTION rest.sale_preheat(p_actor bigint, p_id bigint) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_reply rest.reply;
BEGIN
    PERFORM shop.own_sale(p_actor, p_id);
    PERFORM shop.preheat_sale(p_id);
    v_reply := shop.sale_reply(p_id);
    SELECT json_build_object('ready', bool_and(c.ok), 'checks', json_agg(json_build_object('name', c.name, 'ok', c.ok, 'detail', c.detail)), 'sale', v_reply.body)
    INTO v_reply.body FROM shop.sale_checks(p_id) AS c;
    RETURN v_reply;
END $$;
COMMENT ON FUNCTION rest.sale_preheat(bigint, bigint) IS
'POST /v1/sales/{id}/preheat, its merchant → 200 {ready, checks: [{name, ok, detail}], sale}. May be repeated. Errors: HS001 to HS005, HS402 over, HF002 and HF012 the SKU has not so many units.';

CREATE FUNCTION rest.sale_close(p_actor bigint, p_id bigint) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.own_sale(p_actor, p_id);
    PERFORM shop.close_sale(p_id);
    RETURN shop.sale_reply(p_id);
END $$;
COMMENT ON FUNCTION rest.sale_close(bigint, bigint) IS 'POST /v1/sales/{id}/close, its merchant → 200 the sale; what is left is back at the SKU. May be repeated. Errors: HS001 to HS004.';

CREATE FUNCTION rest.tickets_note(p_actor bigint, p_sales bigint[], p_counts bigint[]) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.check_counts(p_actor, p_sales, p_counts);
    PERFORM shop.note_tickets(p_sales, p_counts);
    RETURN ROW(204, NULL, NULL, false, NULL)::rest.reply;
END $$;
COMMENT ON FUNCTION rest.tickets_note(bigint, bigint[], bigint[]) IS
'Counts tickets that the application has issued, in bulk: p_counts of each of p_sales (others are passed over). p_actor: NULL, the application itself, or an admin. Definer''s rights: it writes on behalf of the application. Errors: HS001 to HS003, HS012 arrays, HS014 counts.';

CREATE FUNCTION rest.sale_purchase(p_actor bigint, p_id bigint, p_key text, p_body jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_bought record;
BEGIN
    PERFORM shop.require_actor(p_actor);
    PERFORM shop.check_fields(p_body, '{ticket,quantity}');
    PERFORM shop.text_field(p_body, 'ticket', 4096);
    SELECT * INTO STRICT v_bought FROM shop.purchase(p_actor, p_key, p_id, shop.integer_field(p_body, 'quantity', 1, 1000000));
    RETURN ROW(201, shop.etag(1), '/v1/orders/' || v_bought.order_id, v_bought.replayed, v_bought.body)::rest.reply;
END $$;
COMMENT ON FUNCTION rest.sale_purchase(bigint, bigint, text, jsonb) IS
'POST /v1/sales/{id}/purchases with Idempotency-Key: {ticket, quantity} → 201 the order, as rest.order_place() answers. The ticket is looked at by the application, not here. Errors: HS001, HS002, HS008 to HS014 body, and those of shop.purchase_batch().';

CREATE FUNCTION rest.sale_purchase_batch(p_accounts bigint[], p_keys text[], p_sales bigint[], p_quantities bigint[])
    RETURNS TABLE (line integer, verdict text, pointer text, detail text, etag text, location text, replayed boolean, body text)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER ROWS 256 SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_etag CONSTANT text := shop.etag(1);
BEGIN
    RETURN QUERY
    SELECT b.line, b.verdict, CASE WHEN b.verdict IN ('HF003', 'HF001', 'HS404') THEN '/quantity' END, 'left: ' || b.available,
           CASE WHEN b.order_id IS NOT NULL THEN v_etag END, '/v1/orders/' || b.order_id, b.replayed, b.body
    FROM shop.purchase_batch(p_accounts, p_keys, p_sales, p_quantities) AS b;
END $$;
COMMENT ON FUNCTION rest.sale_purchase_batch(bigint[], text[], bigint[], bigint[]) IS
'Many requests of POST /v1/sales/{id}/purchases at once: actor, Idempotency-Key, sale and quantity of each; one row a line, in order, of which none depends on another: verdict 00000 with what the answer is made of, or what shop.purchase_batch() refuses it with. The one function of rest that does not begin with one actor: each line has its own, and has been authenticated. Errors for the call as a whole: HF005, 40001, 40P01, 55P03.';

COMMIT;

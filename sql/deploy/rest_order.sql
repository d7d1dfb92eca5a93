-- Deploy shop:rest_order to pg
-- requires: order_payment
-- requires: field
--
-- The routes of orders and payments. An order is seen by its user, its merchant and administrators, and is not there for
-- anybody else. Rules are in shop.*; here requests are read, actors checked and answers written.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE FUNCTION shop.orders_json(p_account bigint, p_orders uuid[]) RETURNS TABLE (id uuid, version integer, body json)
    LANGUAGE plpgsql VOLATILE ROWS 100 SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    -- Cancelled by the clock alone, it has the version that the sweep will write.
    SELECT o.id, o.version + (o.status = 'cancelled' AND o.written = 'pending_payment')::integer, json_build_object('id', o.id, 'status', o.status, 'merchant_id', o.merchant_id::text, 'items', l.items, 'total', o.total,
        'currency', o.currency, 'placed_at', shop.json_time(o.placed_at),
        'expires_at', CASE WHEN o.status = 'pending_payment' THEN shop.json_time(o.expires_at) END,
        'sale_id', o.sale_id::text, 'channel', o.channel, 'reference', o.reference)
    FROM (SELECT r.account_id, r.id, r.version, shop.effective_status(r.status, r.expires_at) AS status, r.status AS written, r.merchant_id, r.total, r.currency,
                 r.placed_at, r.expires_at, r.sale_id, r.channel, r.reference
          FROM unnest(p_orders) AS w (id) JOIN shop.order AS r ON r.account_id = p_account AND r.id = w.id) AS o
    CROSS JOIN LATERAL (
        SELECT json_agg(json_build_object('line', i.line, 'sku_id', i.sku_id::text, 'product_id', i.product_id::text, 'code', i.code, 'title', i.title,
            'quantity', i.quantity, 'unit_price', i.unit_price, 'amount', i.amount, 'returned', i.returned) ORDER BY i.line)
        FROM shop.order_line AS i WHERE i.account_id = o.account_id AND i.order_id = o.id) AS l (items);
END $$;
COMMENT ON FUNCTION shop.orders_json(bigint, uuid[]) IS 'Orders of an account as the client gets them, in any order.';

CREATE FUNCTION shop.order_reply(p_account bigint, p_order uuid, p_status integer DEFAULT 200) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_reply rest.reply;
BEGIN
    SELECT p_status, shop.etag(j.version), CASE p_status WHEN 201 THEN '/v1/orders/' || j.id END, false, j.body INTO STRICT v_reply
    FROM shop.orders_json(p_account, ARRAY[p_order]) AS j;
    RETURN v_reply;
END $$;
COMMENT ON FUNCTION shop.order_reply(bigint, uuid, integer) IS 'The answer that is an order.';

CREATE FUNCTION shop.find_order(p_actor bigint, p_order uuid, p_who text DEFAULT NULL) RETURNS shop.order
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_order shop.order;
    v_is_admin boolean;
    v_is_merchant boolean;
    v_is text[] := ARRAY[]::text[];
BEGIN
    PERFORM shop.require_actor(p_actor);
    SELECT 'admin' = ANY (a.roles), 'merchant' = ANY (a.roles) INTO v_is_admin, v_is_merchant FROM shop.account AS a WHERE a.id = p_actor;
    SELECT o.* INTO v_order FROM shop.order AS o WHERE o.account_id = p_actor AND o.id = p_order;
    IF FOUND THEN
        v_is := ARRAY['user'];
    ELSIF v_is_admin THEN
        -- No index begins with the id of an order; that of each merchant is looked into.
        SELECT o.* INTO v_order
        FROM shop.merchant AS m CROSS JOIN LATERAL (SELECT r.* FROM shop.order AS r WHERE r.merchant_id = m.id AND r.id = p_order OFFSET 0) AS o;
    ELSE
        SELECT o.* INTO v_order FROM shop.merchant AS m JOIN shop.order AS o ON o.merchant_id = m.id
        WHERE m.account_id = p_actor AND o.id = p_order AND v_is_merchant;
    END IF;
    IF v_is_admin THEN
        v_is := v_is || ARRAY['admin', 'merchant'];
    ELSIF v_is_merchant AND EXISTS (SELECT FROM shop.merchant AS m WHERE m.account_id = p_actor AND m.id = v_order.merchant_id) THEN
        v_is := v_is || 'merchant'::text;
    END IF;
    IF v_order.id IS NULL OR v_is = '{}' THEN
        PERFORM shop.refuse('HS004');
    ELSIF p_who <> ALL (v_is) THEN
        PERFORM shop.refuse('HS003', NULL, 'wanted: its ' || p_who);
    END IF;
    RETURN v_order;
END $$;
COMMENT ON FUNCTION shop.find_order(bigint, uuid, text) IS
'An order that the actor may see: as its user, its merchant, or an administrator, who may do what its merchant may. p_who: what he must be. Errors: HS001, HS002, HS003 he is not, HS004 there is none that he may see.';

CREATE FUNCTION rest.order_place(p_actor bigint, p_key text, p_body jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_reply rest.reply;
    v_asked record;
    v_placed record;
BEGIN
    PERFORM shop.require_actor(p_actor);
    v_reply := shop.claim_request(p_actor, 'order_place', p_key, p_body);
    IF v_reply.status IS NOT NULL THEN
        RETURN v_reply;
    END IF;
    PERFORM shop.check_fields(p_body, '{items,expected_total}');
    SELECT array_agg(r.n) AS ns, array_agg(r.line) AS lines, array_agg(r.sku_id) AS skus, array_agg(r.quantity) AS quantities,
           (array_agg(ARRAY[r.verdict, r.pointer, r.detail] ORDER BY r.line NULLS FIRST) FILTER (WHERE r.verdict IS NOT NULL))[1:1] AS fault
    INTO v_asked FROM shop.read_orders(jsonb_build_array(p_body)) AS r;
    IF v_asked.fault IS NOT NULL THEN
        PERFORM shop.refuse(v_asked.fault[1][1], v_asked.fault[1][2], v_asked.fault[1][3]);
    END IF;
    SELECT p.* INTO STRICT v_placed
    FROM shop.place_orders(p_actor, 1, v_asked.ns, v_asked.lines, v_asked.skus, v_asked.quantities,
                           ARRAY[(p_body ->> 'expected_total')::numeric::bigint]) AS p;
    IF v_placed.verdict <> '00000' THEN
        PERFORM shop.refuse(v_placed.verdict, v_placed.pointer, v_placed.detail);
    END IF;
    RETURN shop.complete_request(p_actor, 'order_place', p_key, shop.order_reply(p_actor, v_placed.order_id, 201));
END $$;
COMMENT ON FUNCTION rest.order_place(bigint, text, jsonb) IS
'POST /v1/orders: {items: [{sku_id, quantity}], expected_total?} → 201 the order, waiting for its payment until expires_at. Errors: HS001, HS002, HS008 to HS015 body, HS301 to HS304 and HF001, HF002 as shop.place_orders(), HF019, HF021, HF022 Idempotency-Key.';

CREATE FUNCTION rest.order_place_batch(p_actor bigint, p_key text, p_body jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_reply rest.reply;
    v_orders jsonb;
    v_policy text;
    v_lines bigint;
    v_asked record;
    v_faults text[];
    v_ids uuid[];
    v_codes text[];
    v_pointers text[];
    v_details text[];
BEGIN
    PERFORM shop.require_actor(p_actor);
    v_reply := shop.claim_request(p_actor, 'order_place_batch', p_key, p_body);
    IF v_reply.status IS NOT NULL THEN
        RETURN v_reply;
    END IF;
    PERFORM shop.check_fields(p_body, '{policy,orders}');
    v_policy := shop.choice_field(p_body, 'policy', '{all_or_nothing,valid_rows}');
    v_orders := shop.field(p_body, 'orders', 'array', true, '');
    SELECT sum(CASE WHEN jsonb_typeof(o.value -> 'items') = 'array' THEN jsonb_array_length(o.value -> 'items') END) INTO v_lines
    FROM jsonb_array_elements(v_orders) AS o;
    IF jsonb_array_length(v_orders) NOT BETWEEN 1 AND 1000 OR v_lines > 10000 THEN
        PERFORM shop.refuse('HS012', '/orders', 'wanted: 1 to 1000 orders, of at most 10000 lines in all');
    END IF;

    -- An order with a fault takes no part; in place_orders() it is one without lines.
    WITH line AS MATERIALIZED (
        SELECT r.*, bool_and(r.verdict IS NULL) OVER (PARTITION BY r.n) AS is_good FROM shop.read_orders(v_orders) AS r)
    SELECT array_agg(l.n) FILTER (WHERE l.is_good) AS ns, array_agg(l.line) FILTER (WHERE l.is_good) AS lines,
           array_agg(l.sku_id) FILTER (WHERE l.is_good) AS skus, array_agg(l.quantity) FILTER (WHERE l.is_good) AS quantities,
           (SELECT array_agg(f.fault) FROM (SELECT DISTINCT ON (b.n) ARRAY[b.n::text, b.verdict, b.pointer, b.detail] AS fault
                                            FROM line AS b WHERE b.verdict IS NOT NULL ORDER BY b.n, b.line NULLS FIRST) AS f) AS faults,
           (SELECT array_agg(CASE WHEN jsonb_typeof(o.value -> 'expected_total') = 'number'
                                   AND (o.value -> 'expected_total')::numeric BETWEEN 1 AND 1000000000000000
                                  THEN (o.value -> 'expected_total')::numeric::bigint END ORDER BY o.n)
            FROM jsonb_array_elements(v_orders) WITH ORDINALITY AS o (value, n)) AS totals
    INTO v_asked FROM line AS l;
    SELECT array_agg(p.order_id), array_agg(p.verdict), array_agg(p.pointer), array_agg(p.detail)
    INTO v_ids, v_codes, v_pointers, v_details
    FROM shop.place_orders(p_actor, jsonb_array_length(v_orders), v_asked.ns, v_asked.lines, v_asked.skus, v_asked.quantities,
                           v_asked.totals, v_policy) AS p;
    IF v_asked.faults IS NOT NULL THEN
        FOREACH v_faults SLICE 1 IN ARRAY v_asked.faults LOOP
            v_codes[v_faults[1]::integer + 1] := v_faults[2];
            v_pointers[v_faults[1]::integer + 1] := v_faults[3];
            v_details[v_faults[1]::integer + 1] := v_faults[4];
        END LOOP;
    END IF;

    v_reply.status := 200;
    v_reply.replayed := false;
    SELECT json_build_object('results', json_agg(
        CASE WHEN r.id IS NOT NULL THEN json_build_object('index', r.i - 1, 'status', 201, 'order', j.body)
             ELSE json_build_object('index', r.i - 1, 'status', coalesce(p.status, 500),
                                    'problem', shop.problem_json(r.code, '/orders/' || r.i - 1 || r.pointer, r.detail)) END ORDER BY r.i))
    INTO v_reply.body
    FROM unnest(v_ids, v_codes, v_pointers, v_details) WITH ORDINALITY AS r (id, code, pointer, detail, i)
    LEFT JOIN shop.orders_json(p_actor, v_ids) AS j ON j.id = r.id
    LEFT JOIN shop.problem AS p ON p.code = r.code;
    RETURN shop.complete_request(p_actor, 'order_place_batch', p_key, v_reply);
END $$;
COMMENT ON FUNCTION rest.order_place_batch(bigint, text, jsonb) IS
'POST /v1/orders/batch: {policy: all_or_nothing or valid_rows, orders: [as POST /v1/orders]}, up to 1000 orders and 10000 lines → 200 {results: [{index, status, order or problem}]}, a verdict for each order, with the pointer of the line in the body. Errors for the call as a whole: HS001, HS002, HS008 to HS012, HS015, HF019, HF021, HF022 Idempotency-Key.';

CREATE FUNCTION rest.order_list(p_actor bigint, p_query jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_status text;
    v_mine text;
    v_merchant bigint;
    v_limit integer;
    v_sort text;
    v_after uuid;
    v_orders shop.order[];
    v_reply rest.reply;
BEGIN
    PERFORM shop.require_actor(p_actor);
    PERFORM shop.check_fields(p_query, '{status,merchant,limit,cursor}', '?');
    v_status := shop.choice_field(p_query, 'status', '{pending_payment,paid,shipped,completed,returned,cancelled}', false, '?');
    v_mine := shop.choice_field(p_query, 'merchant', '{mine}', false, '?');
    v_limit := shop.page_limit(p_query);
    v_sort := 'orders' || coalesce('-' || v_mine, '');
    v_after := coalesce((shop.read_cursor(shop.page_cursor(p_query), v_sort, '{uuid}'))[1]::uuid,
        'ffffffff-ffff-ffff-ffff-ffffffffffff');
    IF v_mine IS NULL THEN
        v_orders := ARRAY(
            SELECT o FROM shop.order AS o WHERE o.account_id = p_actor AND o.id < v_after
              AND (v_status IS NULL OR shop.effective_status(o.status, o.expires_at) = v_status)
            ORDER BY o.id DESC LIMIT v_limit + 1);
    ELSE
        v_merchant := shop.require_merchant(p_actor);
        IF v_status IS NULL THEN
            v_orders := ARRAY(SELECT o FROM shop.order AS o WHERE o.merchant_id = v_merchant AND o.id < v_after ORDER BY o.id DESC LIMIT v_limit + 1);
        ELSE
            -- Those that only the clock has cancelled are among the few that wait.
            v_orders := ARRAY(
                SELECT w.o FROM (
                    (SELECT o FROM shop.order AS o
                     WHERE o.merchant_id = v_merchant AND o.status = v_status AND o.status <> 'pending_payment' AND o.id < v_after
                     ORDER BY o.id DESC LIMIT v_limit + 1)
                    UNION ALL
                    (SELECT o FROM shop.order AS o
                     WHERE v_status IN ('pending_payment', 'cancelled') AND o.merchant_id = v_merchant AND o.status = 'pending_payment' AND o.id < v_after
                       AND shop.effective_status(o.status, o.expires_at) = v_status
                     ORDER BY o.id DESC LIMIT v_limit + 1)) AS w (o)
                ORDER BY (w.o).id DESC LIMIT v_limit + 1);
        END IF;
    END IF;
    v_reply.status := 200;
    v_reply.replayed := false;
    SELECT json_build_object('items', coalesce(json_agg(json_build_object('id', o.id, 'status', shop.effective_status(o.status, o.expires_at),
               'merchant_id', o.merchant_id::text, 'lines', o.lines, 'total', o.total, 'currency', o.currency, 'placed_at', shop.json_time(o.placed_at),
               'sale_id', o.sale_id::text, 'channel', o.channel, 'reference', o.reference) ORDER BY o.ordinality), '[]'),
           'next', CASE WHEN cardinality(v_orders) > v_limit THEN shop.cursor_of(v_sort, v_orders[v_limit].id::text) END)
    INTO v_reply.body
    FROM unnest(v_orders[:v_limit]) WITH ORDINALITY AS o;
    RETURN v_reply;
END $$;
COMMENT ON FUNCTION rest.order_list(bigint, jsonb) IS
'GET /v1/orders?status&merchant=mine&limit&cursor: the orders of the actor, or of the merchant that he is, the youngest first → {items, next}. Errors: HS001, HS002, HS003 no merchant, HS009 to HS016 query.';

CREATE FUNCTION rest.order_get(p_actor bigint, p_id uuid) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_order CONSTANT shop.order := shop.find_order(p_actor, p_id);
    v_reply rest.reply := shop.order_reply(v_order.account_id, p_id);
BEGIN
    v_reply.body := (v_reply.body::jsonb || jsonb_build_object(
        'payments', (SELECT coalesce(jsonb_agg(p.payment_id ORDER BY p.payment_id), '[]') FROM shop.order_payment AS p
                     WHERE p.account_id = v_order.account_id AND p.order_id = p_id),
        'history', (SELECT coalesce(jsonb_agg(jsonb_build_object('at', shop.json_time(e.happened_at), 'action', e.action, 'from', e.from_status,
                        'to', e.to_status, 'reason', e.reason) ORDER BY e.n), '[]')
                    FROM shop.order_event AS e WHERE e.account_id = v_order.account_id AND e.order_id = p_id)))::json;
    RETURN v_reply;
END $$;
COMMENT ON FUNCTION rest.order_get(bigint, uuid) IS 'GET /v1/orders/{id}: the order with its history and the ids of its payments, for its user, its merchant and administrators. Errors: HS001, HS002, HS004.';

CREATE FUNCTION rest.order_cancel(p_actor bigint, p_id uuid, p_if_match text DEFAULT NULL) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_order CONSTANT shop.order := shop.find_order(p_actor, p_id, 'user');
BEGIN
    PERFORM shop.cancel_order(v_order.account_id, p_id, p_actor, NULL, p_if_match);
    RETURN shop.order_reply(v_order.account_id, p_id);
END $$;
COMMENT ON FUNCTION rest.order_cancel(bigint, uuid, text) IS 'POST /v1/orders/{id}/cancel, by its user → 200 the order. Errors: HS001 to HS004, HS006 If-Match, HS305 its status, HS306 its money is on its way.';

CREATE FUNCTION rest.order_ship(p_actor bigint, p_id uuid, p_if_match text DEFAULT NULL) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_order CONSTANT shop.order := shop.find_order(p_actor, p_id, 'merchant');
BEGIN
    PERFORM shop.change_order(v_order.account_id, p_id, 'ship', p_actor, NULL, p_if_match);
    PERFORM shop.enqueue('order_shipped', jsonb_build_object('account_id', v_order.account_id::text, 'order_id', p_id));
    RETURN shop.order_reply(v_order.account_id, p_id);
END $$;
COMMENT ON FUNCTION rest.order_ship(bigint, uuid, text) IS 'POST /v1/orders/{id}/ship, by its merchant → 200 the order. Errors: HS001 to HS004, HS006 If-Match, HS305 its status.';

CREATE FUNCTION rest.order_complete(p_actor bigint, p_id uuid, p_if_match text DEFAULT NULL) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_order CONSTANT shop.order := shop.find_order(p_actor, p_id, 'merchant');
BEGIN
    PERFORM shop.change_order(v_order.account_id, p_id, 'complete', p_actor, NULL, p_if_match);
    RETURN shop.order_reply(v_order.account_id, p_id);
END $$;
COMMENT ON FUNCTION rest.order_complete(bigint, uuid, text) IS 'POST /v1/orders/{id}/complete, by its merchant → 200 the order. Errors: HS001 to HS004, HS006 If-Match, HS305 its status.';

CREATE FUNCTION rest.order_return(p_actor bigint, p_id uuid, p_key text, p_body jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_order CONSTANT shop.order := shop.find_order(p_actor, p_id, 'merchant');
    v_reply rest.reply := shop.claim_request(p_actor, 'order_return', p_key, jsonb_build_array(p_id, p_body));
    v_items jsonb;
    v_reason text;
    v_lines integer[];
    v_quantities bigint[];
    v_return record;
BEGIN
    IF v_reply.status IS NOT NULL THEN
        RETURN v_reply;
    END IF;
    PERFORM shop.check_fields(p_body, '{items,reason}');
    v_reason := shop.text_field(p_body, 'reason', 200, false);
    v_items := shop.field(p_body, 'items', 'array', false, '');
    IF jsonb_array_length(v_items) NOT BETWEEN 1 AND 1000 THEN
        PERFORM shop.refuse('HS012', '/items', 'wanted: 1 to 1000 lines');
    END IF;
    PERFORM shop.check_fields(i.value, '{line,quantity}', '/items/' || i.n - 1) FROM jsonb_array_elements(v_items) WITH ORDINALITY AS i (value, n);
    SELECT array_agg(shop.integer_field(i.value, 'line', 1, 2147483647, true, '/items/' || i.n - 1) ORDER BY i.n),
           array_agg(shop.integer_field(i.value, 'quantity', 1, 1000000000, true, '/items/' || i.n - 1) ORDER BY i.n)
    INTO v_lines, v_quantities FROM jsonb_array_elements(v_items) WITH ORDINALITY AS i (value, n);
    SELECT r.* INTO v_return FROM shop.return_order(v_order.account_id, p_id, shop.key_by('return', p_actor, p_key), v_lines, v_quantities, NULL, p_actor,
                           v_reason) AS r;
    v_reply := shop.order_reply(v_order.account_id, p_id);
    v_reply.body := (v_reply.body::jsonb || jsonb_build_object('refund', CASE WHEN v_return.call IS NOT NULL THEN jsonb_build_object(
        'payment_id', v_return.payment, 'refund', v_return.call, 'amount', v_return.amount) END))::json;
    RETURN shop.complete_request(p_actor, 'order_return', p_key, v_reply);
END $$;
COMMENT ON FUNCTION rest.order_return(bigint, uuid, text, jsonb) IS
'POST /v1/orders/{id}/returns, by its merchant: {items?: [{line, quantity}], reason?}; without items all that has not come back yet → 200 the order, with refund {payment_id, refund, amount} or null. Errors: HS001 to HS004, HS008 to HS015 body, HS305 its status, HS307 more than was bought, HF019, HF021, HF022 Idempotency-Key.';

CREATE FUNCTION shop.key_by(p_operation text, p_actor bigint, p_key text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN p_operation || '-by-' || p_actor || '-' || encode(sha256(convert_to(p_key, 'UTF8')), 'hex');
END $$;
COMMENT ON FUNCTION shop.key_by(text, bigint, text) IS 'The key of what an actor does to a payment of another account: keys are unique in the account of the payment, and two merchants may choose the same, or one of them for two operations.';

CREATE FUNCTION shop.payment_reply(p_account bigint, p_payment uuid, p_status integer) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_reply rest.reply;
BEGIN
    SELECT p_status, NULL, CASE WHEN p_status IN (201, 202) THEN '/v1/payments/' || p.payment END, false,
           json_build_object('id', p.payment, 'order_id', (
                   SELECT o.order_id FROM shop.order_payment AS o WHERE o.payment_id = p_payment AND o.account_id = p_account),
               'state', p.state, 'amount', p.amount, 'currency', p.currency, 'captured', p.captured,
               'refunding', p.refunding, 'refunded', p.refunded, 'provider', p.provider, 'created_at', shop.json_time(p.created_at),
               'changed_at', shop.json_time(p.changed_at), 'refunds', (
                   SELECT coalesce(json_agg(json_build_object('refund', r.refund, 'state', r.state, 'amount', r.amount, 'reason', r.reason,
                       'created_at', shop.json_time(r.created_at)) ORDER BY r.refund), '[]')
                   FROM holdfast.refunds AS r WHERE r.account_id = p_account AND r.payment = p_payment))
    INTO STRICT v_reply FROM holdfast.payments AS p WHERE p.account_id = p_account AND p.payment = p_payment;
    RETURN v_reply;
END $$;
COMMENT ON FUNCTION shop.payment_reply(bigint, uuid, integer) IS 'The answer that is a payment.';

CREATE FUNCTION shop.find_payment(p_actor bigint, p_payment uuid, p_who text DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_payment shop.order_payment;
BEGIN
    PERFORM shop.require_actor(p_actor);
    -- The account's own, also one that is for no order.
    IF p_who IS NULL AND EXISTS (SELECT FROM holdfast.payments AS p WHERE p.account_id = p_actor AND p.payment = p_payment) THEN
        RETURN p_actor;
    END IF;
    SELECT p.* INTO v_payment FROM shop.order_payment AS p WHERE p.payment_id = p_payment;
    RETURN (shop.find_order(p_actor, v_payment.order_id, p_who)).account_id;
END $$;
COMMENT ON FUNCTION shop.find_payment(bigint, uuid, text) IS 'The account of a payment that the actor may see, as with shop.find_order(). Errors: HS001 to HS004.';

CREATE FUNCTION rest.payment_create(p_actor bigint, p_order uuid, p_key text, p_body jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_order CONSTANT shop.order := shop.find_order(p_actor, p_order, 'user');
    v_reply rest.reply := shop.claim_request(p_actor, 'payment_create', p_key, jsonb_build_array(p_order, p_body));
    v_paid record;
BEGIN
    IF v_reply.status IS NOT NULL THEN
        RETURN v_reply;
    END IF;
    PERFORM shop.check_fields(p_body, '{provider,method}');
    SELECT p.* INTO STRICT v_paid
    FROM shop.pay_order(v_order.account_id, p_order, p_key, shop.text_field(p_body, 'provider', 63), shop.text_field(p_body, 'method', 255)) AS p;
    v_reply := shop.payment_reply(v_order.account_id, v_paid.payment, CASE WHEN v_paid.state IN ('captured', 'declined') THEN 201 ELSE 202 END);
    RETURN shop.complete_request(p_actor, 'payment_create', p_key, v_reply);
END $$;
COMMENT ON FUNCTION rest.payment_create(bigint, uuid, text, jsonb) IS
'POST /v1/orders/{id}/payments, by its user: {provider, method} → 202 the payment; how it goes, GET /v1/payments/{id} tells. Errors: HS001 to HS004, HS008 to HS013 body, HS305 the order does not wait for it, HS308 it was tried five times, HF006 to HF009 its units are gone, HF031 another payment, HF032 provider, HF033 method, HF019, HF021, HF022 Idempotency-Key.';

CREATE FUNCTION rest.payment_get(p_actor bigint, p_id uuid) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN shop.payment_reply(shop.find_payment(p_actor, p_id), p_id, 200);
END $$;
COMMENT ON FUNCTION rest.payment_get(bigint, uuid) IS 'GET /v1/payments/{id}, for its user, the merchant of its order and administrators. Errors: HS001, HS002, HS004.';

CREATE FUNCTION rest.payment_refund(p_actor bigint, p_id uuid, p_key text, p_body jsonb) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account CONSTANT bigint := shop.find_payment(p_actor, p_id, 'merchant');
    v_reply rest.reply := shop.claim_request(p_actor, 'payment_refund', p_key, jsonb_build_array(p_id, p_body));
BEGIN
    IF v_reply.status IS NOT NULL THEN
        RETURN v_reply;
    END IF;
    PERFORM shop.check_fields(p_body, '{amount,reason}');
    PERFORM FROM holdfast.refund_payment(v_account, p_id, shop.key_by('refund', p_actor, p_key),
        shop.integer_field(p_body, 'amount', 1, 1000000000000000, false), NULL,
        shop.text_field(p_body, 'reason', 200, false));
    v_reply := shop.payment_reply(v_account, p_id, 202);
    RETURN shop.complete_request(p_actor, 'payment_refund', p_key, v_reply);
END $$;
COMMENT ON FUNCTION rest.payment_refund(bigint, uuid, text, jsonb) IS
'POST /v1/payments/{id}/refunds, by the merchant of its order: {amount?, reason?}; without amount all that is left → 202 the payment with its refunds. The goods stay sold. Errors: HS001 to HS004, HS008 to HS014 body, HF028 nothing was captured, HF030 more than is left, HF019, HF021, HF022 Idempotency-Key.';

CREATE FUNCTION rest.webhook_receive(p_actor bigint, p_provider text, p_body bytea, p_signature text, p_id text, p_timestamp text) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_reply rest.reply;
BEGIN
    IF p_actor IS NOT NULL THEN
        PERFORM shop.require_actor(p_actor);
    END IF;
    IF p_provider IS NULL THEN
        PERFORM shop.refuse('HF032');
    END IF;
    v_reply.status := 200;
    v_reply.replayed := false;
    v_reply.body := json_build_object('result', holdfast.receive_webhook(p_provider, coalesce(p_body, ''), p_signature, p_id, p_timestamp));
    RETURN v_reply;
END $$;
COMMENT ON FUNCTION rest.webhook_receive(bigint, text, bytea, text, text, text) IS
'POST /v1/webhooks/{provider}: the body as it came in, and the headers that sign it → 200 {result}, as holdfast.receive_webhook(). The signature says who it is; p_actor is NULL as a rule. Errors: HS001, HS002 for an actor, HF032 provider, HF036 to HF038, HF041 signature, HF039 body.';

COMMIT;

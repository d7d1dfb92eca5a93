-- Deploy shop:sale_purchase to pg
-- requires: sale_state
--
-- Buying in a sale. A purchase is a line of a batch, and a batch is a handful of statements, however many lines it has.
-- All that must be remembered of a buyer stands in one row, shop.sale_buyer: how much he has, with which keys and orders.
-- So one upsert judges the limit and the idempotency key together, and a second one of the same buyer waits for the first.
--
-- Locks: sale by sale, ascending, the rows of its buyers by account, and then its units; orders last. An order that ends
-- locks its buyer's row before it releases its units (shop.orders_ended()). Rows of sales and accounts are read, not locked.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE TABLE shop.sale_buyer (
    account_id bigint  NOT NULL,
    sale_id    bigint  NOT NULL,
    bought     bigint  NOT NULL,
    allowed    integer NOT NULL,
    quantities bigint[] NOT NULL,
    order_ids  uuid[]  NOT NULL,
    keys       text[]  COLLATE "C" NOT NULL,
    CONSTRAINT sale_buyer_pkey PRIMARY KEY (sale_id, account_id),
    CONSTRAINT sale_buyer_bought_check CHECK (bought BETWEEN 0 AND allowed)
) WITH (fillfactor = 80);
COMMENT ON TABLE shop.sale_buyer IS 'What an account has bought in a sale: one element of the arrays for each order. This is the limit, and the idempotency keys.';
COMMENT ON COLUMN shop.sale_buyer.bought IS 'Units of the orders that have not ended unpaid.';
COMMENT ON COLUMN shop.sale_buyer.allowed IS 'The limit of the sale, which does not change once it can be bought in.';
COMMENT ON COLUMN shop.sale_buyer.quantities IS 'Units of each order; negative once it has ended unpaid.';

CREATE OR REPLACE FUNCTION shop.take_buyers(p_accounts bigint[], p_orders uuid[]) RETURNS uuid[]
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
BEGIN
    -- An order that no buyer's row knows has nobody to wait for.
    RETURN ARRAY(
        SELECT o.id FROM unnest(p_accounts, p_orders) AS u (account_id, id)
        JOIN shop.order AS o ON o.account_id = u.account_id AND o.id = u.id
        WHERE NOT EXISTS (SELECT FROM shop.sale_buyer AS b WHERE b.sale_id = o.sale_id AND b.account_id = o.account_id))
    || ARRAY(
        SELECT o.id FROM unnest(p_accounts, p_orders) AS u (account_id, id)
        JOIN shop.order AS o ON o.account_id = u.account_id AND o.id = u.id
        JOIN shop.sale_buyer AS b ON b.sale_id = o.sale_id AND b.account_id = o.account_id
        FOR NO KEY UPDATE OF b SKIP LOCKED);
END $$;
COMMENT ON FUNCTION shop.take_buyers(bigint[], uuid[]) IS 'Called with orders of sales that are locked: those whose buyers nobody else has in hand, who are locked now, or who have none.';

CREATE OR REPLACE FUNCTION shop.orders_ended(p_accounts bigint[], p_orders uuid[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
BEGIN
    PERFORM FROM shop.sale_buyer AS b
    JOIN (SELECT DISTINCT o.account_id, o.sale_id FROM unnest(p_accounts, p_orders) AS u (account_id, id)
          JOIN shop.order AS o ON o.account_id = u.account_id AND o.id = u.id) AS d ON d.account_id = b.account_id AND d.sale_id = b.sale_id
    ORDER BY b.sale_id, b.account_id FOR NO KEY UPDATE OF b;
    UPDATE shop.sale_buyer AS b
    SET quantities = ARRAY(SELECT CASE WHEN u.id = ANY (d.ids) THEN -abs(u.quantity) ELSE u.quantity END
                           FROM unnest(b.order_ids, b.quantities) WITH ORDINALITY AS u (id, quantity, i) ORDER BY u.i),
        bought = (SELECT coalesce(sum(u.quantity), 0) FROM unnest(b.order_ids, b.quantities) AS u (id, quantity)
                  WHERE u.quantity > 0 AND u.id <> ALL (d.ids))
    FROM (SELECT o.account_id, o.sale_id, array_agg(o.id) AS ids FROM unnest(p_accounts, p_orders) AS u (account_id, id)
          JOIN shop.order AS o ON o.account_id = u.account_id AND o.id = u.id GROUP BY o.account_id, o.sale_id) AS d
    WHERE d.account_id = b.account_id AND d.sale_id = b.sale_id AND b.order_ids && d.ids;
END $$;
COMMENT ON FUNCTION shop.orders_ended(bigint[], uuid[]) IS
'Called with orders of sales that end without having been paid: their buyers may buy as much again. Called twice for an order it does nothing the second time.';

CREATE FUNCTION shop.lapsed_orders(p_accounts bigint[], p_sales bigint[]) RETURNS TABLE (account_id bigint, id uuid, quantity bigint, expires_at timestamptz)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT o.account_id, o.id, u.quantity, o.expires_at
        FROM (SELECT DISTINCT u.account_id, u.sale_id FROM unnest(p_accounts, p_sales) AS u (account_id, sale_id)) AS d
        JOIN shop.sale_buyer AS b ON b.account_id = d.account_id AND b.sale_id = d.sale_id
        CROSS JOIN LATERAL unnest(b.order_ids, b.quantities) AS u (id, quantity)
        JOIN shop.order AS o ON o.account_id = b.account_id AND o.id = u.id
        WHERE u.quantity > 0 AND o.status = 'pending_payment' AND o.expires_at <= clock_timestamp()
          AND NOT EXISTS (SELECT FROM holdfast.holds AS h WHERE h.owner = o.id AND h.state IN ('held', 'pinned', 'confirmed') OFFSET 0);
    END;
COMMENT ON FUNCTION shop.lapsed_orders(bigint[], bigint[]) IS 'Which orders of these buyers in these sales have expired, so that nothing is held for them any more, and nobody has written it down yet.';

CREATE FUNCTION shop.settle_buyers(p_accounts bigint[], p_sales bigint[]) RETURNS bigint[]
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_order record;
    v_settled bigint[] := ARRAY[]::bigint[];
BEGIN
    FOR v_order IN
        SELECT o.account_id, o.id, o.expires_at
        FROM shop.lapsed_orders(p_accounts, p_sales) AS l JOIN shop.order AS o ON o.account_id = l.account_id AND o.id = l.id
        WHERE o.status = 'pending_payment' AND o.expires_at <= clock_timestamp()
        ORDER BY o.account_id, o.id FOR NO KEY UPDATE OF o SKIP LOCKED
    LOOP
        PERFORM shop.orders_ended(ARRAY[v_order.account_id], ARRAY[v_order.id]);
        PERFORM shop.change_order(v_order.account_id, v_order.id, 'expire', p_at => v_order.expires_at);
        v_settled := v_settled || v_order.account_id;
    END LOOP;
    RETURN v_settled;
END $$;
COMMENT ON FUNCTION shop.settle_buyers(bigint[], bigint[]) IS
'Writes down which orders of these buyers in these sales have expired, so that they may buy again at once, and returns their accounts. Waits for nobody who is at an order.';

CREATE FUNCTION shop.busy_buyers(p_accounts bigint[], p_sale bigint) RETURNS bigint[]
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_free bigint[];
BEGIN
    v_free := ARRAY(SELECT b.account_id FROM shop.sale_buyer AS b
                    WHERE b.sale_id = p_sale AND b.account_id = ANY (p_accounts) FOR NO KEY UPDATE SKIP LOCKED);
    RETURN (SELECT array_agg(b.account_id) FROM shop.sale_buyer AS b
            WHERE b.sale_id = p_sale AND b.account_id = ANY (p_accounts) AND b.account_id <> ALL (v_free));
END $$;
COMMENT ON FUNCTION shop.busy_buyers(bigint[], bigint) IS 'Takes the rows of these buyers of a sale that nobody else has in hand, and returns the accounts of the others; NULL: there are none.';

CREATE FUNCTION shop.purchase_frame(p_merchant bigint, p_sale bigint, p_sku bigint, p_product bigint, p_code text, p_title text,
                                    p_price bigint, p_currency text, p_placed_at timestamptz, p_pay_by timestamptz) RETURNS text[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY['{"id":"',
        concat('","status":"pending_payment","merchant_id":"', p_merchant, '","items":[{"line":1,"sku_id":"', p_sku, '","product_id":"', p_product,
               '","code":', to_json(p_code), ',"title":', to_json(p_title), ',"quantity":'),
        concat(',"unit_price":', p_price, ',"amount":'),
        ',"returned":0}],"total":',
        concat(',"currency":', to_json(p_currency), ',"placed_at":', to_json(shop.json_time(p_placed_at)),
               ',"expires_at":', to_json(shop.json_time(p_pay_by)), ',"sale_id":"', p_sale, '","channel":null,"reference":null}')];
END $$;
COMMENT ON FUNCTION shop.purchase_frame(bigint, bigint, bigint, bigint, text, text, bigint, text, timestamptz, timestamptz) IS
'What all orders of a sale that were placed in one moment have in common, as JSON that shop.purchase_body() completes.';

CREATE FUNCTION shop.purchase_body(p_frame text[], p_order uuid, p_quantity bigint, p_amount bigint) RETURNS text
    LANGUAGE sql STABLE
    RETURN concat(p_frame[1], p_order, p_frame[2], p_quantity, p_frame[3], p_amount, p_frame[4], p_amount, p_frame[5]);
COMMENT ON FUNCTION shop.purchase_body(text[], uuid, bigint, bigint) IS
'An order of a sale as JSON, made of what never changes in it: as shop.orders_json() has shown it when it was placed. Text, because to read it again would cost more than to write it.';

CREATE FUNCTION shop.purchase_batch(p_accounts bigint[], p_keys text[], p_sales bigint[], p_quantities bigint[])
    RETURNS TABLE (line integer, verdict text, order_id uuid, expires_at timestamptz, replayed boolean, available bigint, body text)
    LANGUAGE plpgsql VOLATILE ROWS 256 SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    v_ttl CONSTANT interval := shop.pay_within();
    v_count integer;
    v_sale record;
    v_odd boolean;
    v_expires_at timestamptz;
    v_frame text[];
    -- The lines of this round: p_*, and their numbers in the batch.
    v_numbers integer[];
    v_codes text[];
    v_states text[];
    v_taken integer;
    -- Those that are let in, later those that are held: places in p_*, and the order that each becomes.
    v_places integer[];
    v_accounts bigint[];
    v_quantities bigint[];
    v_orders uuid[];
    v_verdicts text[];
    v_available bigint[];
    -- The others.
    v_others integer[];
    v_settled bigint[];
    v_busy bigint[];
    v_full bigint[];
    v_again boolean;
    -- The answer.
    r_lines integer[] := ARRAY[]::integer[];
    r_verdicts text[] := ARRAY[]::text[];
    r_orders uuid[] := ARRAY[]::uuid[];
    r_expires timestamptz[] := ARRAY[]::timestamptz[];
    r_replayed boolean[] := ARRAY[]::boolean[];
    r_available bigint[] := ARRAY[]::bigint[];
    r_bodies text[] := ARRAY[]::text[];
    v_placed_accounts bigint[] := ARRAY[]::bigint[];
    v_placed_orders uuid[] := ARRAY[]::uuid[];
    v_short integer := 0;
BEGIN
    v_count := cardinality(p_accounts);
    IF v_count IS NULL OR v_count NOT BETWEEN 1 AND 10000 OR cardinality(p_keys) IS DISTINCT FROM v_count
       OR cardinality(p_sales) IS DISTINCT FROM v_count OR cardinality(p_quantities) IS DISTINCT FROM v_count
       OR greatest(array_ndims(p_accounts), array_ndims(p_keys), array_ndims(p_sales), array_ndims(p_quantities)) > 1
       OR ARRAY[array_lower(p_accounts, 1), array_lower(p_keys, 1), array_lower(p_sales, 1), array_lower(p_quantities, 1)] <> '{1,1,1,1}' THEN
        PERFORM shop.refuse('HF005', NULL, 'wanted: four arrays of 1 to 10000 elements');
    END IF;
    IF p_sales <> array_fill(p_sales[1], ARRAY[v_count]) THEN
        -- One sale after the other, so that two batches with several sales in common cannot wait for each other.
        RETURN QUERY
        SELECT g.lines[b.line], b.verdict, b.order_id, b.expires_at, b.replayed, b.available, b.body
        FROM (SELECT array_agg(l.i::integer ORDER BY l.i) AS lines, array_agg(l.account_id ORDER BY l.i) AS accounts, array_agg(l.key ORDER BY l.i) AS keys,
                     array_agg(l.sale_id ORDER BY l.i) AS sales, array_agg(l.quantity ORDER BY l.i) AS quantities
              FROM unnest(p_accounts, p_keys, p_sales, p_quantities) WITH ORDINALITY AS l (account_id, key, sale_id, quantity, i)
              GROUP BY l.sale_id ORDER BY l.sale_id OFFSET 0) AS g
        CROSS JOIN LATERAL shop.purchase_batch(g.accounts, g.keys, g.sales, g.quantities) AS b
        ORDER BY 1;
        RETURN;
    END IF;
    v_odd := array_to_string(p_keys, '') COLLATE "C" ~ '[^\x20-\x7e]';
    LOOP
        -- The sale, from here on all lines are about this one; id is NULL if there is none.
        SELECT n.id, n.merchant_id, n.sku_id, n.price, n.currency, n.per_account_limit AS allowed, k.product_id, k.code, p.title,
               CASE WHEN n.preheated_at IS NULL THEN 'HS004'
                    WHEN k.deleted_at IS NOT NULL OR p.deleted_at IS NOT NULL THEN 'HS402'
                    WHEN p.published_at IS NULL OR o.suspended_at IS NOT NULL THEN 'HS303' ELSE shop.sale_refusal(n.state) END AS refusal
        INTO v_sale
        FROM shop.sale_now AS n JOIN shop.sku AS k ON k.id = n.sku_id JOIN shop.product AS p ON p.id = k.product_id
        JOIN shop.merchant AS m ON m.id = n.merchant_id JOIN shop.account AS o ON o.id = m.account_id
        WHERE n.id = p_sales[1];

        -- Which lines are let in: those without a code.
        SELECT array_agg(j.code) INTO v_codes
        FROM (SELECT CASE WHEN a.id IS NULL THEN 'HS001'
                          WHEN a.suspended_at IS NOT NULL THEN 'HS002'
                          WHEN l.key IS NULL OR length(l.key) NOT BETWEEN 8 AND 255 THEN 'HF019'
                          WHEN v_odd AND l.key COLLATE "C" ~ '[^\x20-\x7e]' THEN 'HF019'
                          WHEN l.quantity IS NULL OR l.quantity < 1 THEN 'HF003'
                          WHEN v_sale.id IS NULL THEN 'HS004'
                          WHEN v_sale.refusal IS NOT NULL THEN v_sale.refusal
                          WHEN l.quantity > v_sale.allowed THEN 'HS404' END AS code
              FROM unnest(p_accounts, p_keys, p_quantities) WITH ORDINALITY AS l (account_id, key, quantity, i)
              LEFT JOIN (SELECT a.id, a.suspended_at FROM shop.account AS a WHERE a.id = ANY (p_accounts) OFFSET 0) AS a ON a.id = l.account_id
              ORDER BY l.i) AS j;
        v_orders := ARRAY(SELECT holdfast.uuid7() FROM generate_series(1, cardinality(p_accounts)));

        -- Take the rows of their buyers: one line of each buyer in a pass, as long as there are lines that fit.
        v_others := NULL;
        v_settled := NULL;
        v_taken := 0;
        v_states := v_codes;
        LOOP
            BEGIN
                INSERT INTO shop.sale_buyer AS b (account_id, sale_id, bought, allowed, quantities, order_ids, keys)
                SELECT DISTINCT ON (l.account_id)
                       l.account_id, v_sale.id, l.quantity, v_sale.allowed, ARRAY[l.quantity], ARRAY[l.id], ARRAY[l.key]
                FROM unnest(p_accounts, p_quantities, v_orders, p_keys, v_states) WITH ORDINALITY AS l (account_id, quantity, id, key, state, i)
                WHERE l.state IS NULL ORDER BY l.account_id, l.i
                ON CONFLICT (sale_id, account_id) DO UPDATE
                SET bought = b.bought + EXCLUDED.bought, quantities = b.quantities || EXCLUDED.quantities,
                    order_ids = b.order_ids || EXCLUDED.order_ids, keys = b.keys || EXCLUDED.keys
                WHERE b.bought + EXCLUDED.bought <= b.allowed AND cardinality(b.keys) < b.allowed + 100 AND EXCLUDED.keys[1] <> ALL (b.keys);
                GET DIAGNOSTICS v_count = ROW_COUNT;
            EXCEPTION WHEN lock_not_available THEN
                -- Somebody has had one of them in hand for too long. The others are taken, and need not wait for him any more.
                v_count := 0;
                v_busy := shop.busy_buyers(p_accounts, v_sale.id);
                IF v_busy IS NULL THEN
                    RAISE;
                END IF;
                v_codes := ARRAY(SELECT CASE WHEN l.code IS NULL AND l.account_id = ANY (v_busy) THEN '55P03' ELSE l.code END
                                 FROM unnest(p_accounts, v_codes) WITH ORDINALITY AS l (account_id, code, i) ORDER BY l.i);
            END;
            v_taken := v_taken + v_count;
            EXIT WHEN v_taken = cardinality(p_accounts);
            SELECT array_agg(l.state), bool_or(l.state IS NULL) INTO v_states, v_again
            FROM (SELECT CASE WHEN l.code IS NOT NULL THEN l.code
                              WHEN l.id = ANY (b.order_ids) THEN 'taken'
                              WHEN l.key = ANY (b.keys) THEN 'known'
                              WHEN b.bought + l.quantity > b.allowed OR cardinality(b.keys) >= b.allowed + 100 THEN 'limit' END AS state
                  FROM unnest(p_accounts, p_quantities, v_orders, p_keys, v_codes) WITH ORDINALITY AS l (account_id, quantity, id, key, code, i)
                  LEFT JOIN shop.sale_buyer AS b ON b.sale_id = v_sale.id AND b.account_id = l.account_id AND l.code IS NULL ORDER BY l.i) AS l;
            CONTINUE WHEN v_again;
            -- Whoever is at his limit with an order that has expired meanwhile may try again.
            EXIT WHEN v_settled IS NOT NULL OR array_position(v_states, 'limit') IS NULL;
            SELECT shop.settle_buyers(array_agg(l.account_id), array_agg(v_sale.id)) INTO v_settled
            FROM unnest(p_accounts, v_states) AS l (account_id, state) WHERE l.state = 'limit';
            EXIT WHEN v_settled = '{}';
            v_states := ARRAY(SELECT CASE WHEN l.state = 'limit' AND l.account_id = ANY (v_settled) THEN NULL ELSE l.state END
                              FROM unnest(p_accounts, v_states) WITH ORDINALITY AS l (account_id, state, i) ORDER BY l.i);
        END LOOP;
        IF v_taken = cardinality(p_accounts) THEN
            v_places := NULL;
            v_accounts := p_accounts;
            v_quantities := p_quantities;
        ELSE
            SELECT array_agg(l.i) FILTER (WHERE l.is_in), array_agg(l.account_id) FILTER (WHERE l.is_in),
                   array_agg(l.quantity) FILTER (WHERE l.is_in), array_agg(l.id) FILTER (WHERE l.is_in), array_agg(l.i) FILTER (WHERE NOT l.is_in)
            INTO v_places, v_accounts, v_quantities, v_orders, v_others
            FROM (SELECT l.*, l.state = 'taken' AS is_in
                  FROM unnest(p_accounts, p_quantities, v_orders, v_states) WITH ORDINALITY AS l (account_id, quantity, id, state, i)
                  ORDER BY l.i) AS l;
        END IF;

        IF v_accounts IS NOT NULL THEN
            SELECT array_agg(r.verdict), array_agg(r.available), count(*) FILTER (WHERE r.verdict <> '00000')
            INTO v_verdicts, v_available, v_count
            FROM holdfast.reserve_batch(v_orders, array_fill(v_sale.id, ARRAY[cardinality(v_orders)]), v_quantities, v_ttl) AS r;
            IF v_count > 0 THEN
                -- The rows of those that got nothing become what they were.
                UPDATE shop.sale_buyer AS b
                SET (bought, quantities, order_ids, keys) = (
                    SELECT coalesce(sum(u.quantity) FILTER (WHERE u.quantity > 0), 0), coalesce(array_agg(u.quantity ORDER BY u.i), '{}'),
                           coalesce(array_agg(u.id ORDER BY u.i), '{}'), coalesce(array_agg(u.key ORDER BY u.i), '{}')
                    FROM unnest(b.quantities, b.order_ids, b.keys) WITH ORDINALITY AS u (quantity, id, key, i)
                    WHERE u.id <> ALL (ARRAY(SELECT l.id FROM unnest(v_orders, v_verdicts) AS l (id, verdict) WHERE l.verdict <> '00000')))
                FROM (SELECT DISTINCT l.account_id FROM unnest(v_accounts, v_verdicts) AS l (account_id, verdict) WHERE l.verdict <> '00000') AS d
                WHERE b.sale_id = v_sale.id AND b.account_id = d.account_id;
                DELETE FROM shop.sale_buyer AS b USING unnest(v_accounts, v_verdicts) AS l (account_id, verdict)
                WHERE l.verdict <> '00000' AND b.sale_id = v_sale.id AND b.account_id = l.account_id AND b.order_ids = '{}';

                SELECT r_lines || array_agg(coalesce(v_numbers[l.place], l.place)),
                       r_verdicts || array_agg(CASE WHEN l.verdict = 'HF001' AND l.available = 0 THEN 'HS403' ELSE l.verdict END),
                       r_orders || array_agg(NULL::uuid), r_expires || array_agg(NULL::timestamptz), r_replayed || array_agg(false),
                       r_available || array_agg(l.available), r_bodies || array_agg(NULL::text), v_short + v_count
                INTO r_lines, r_verdicts, r_orders, r_expires, r_replayed, r_available, r_bodies, v_short
                FROM (SELECT coalesce(v_places[l.i], l.i)::integer AS place, l.* FROM unnest(v_verdicts, v_available) WITH ORDINALITY
                      AS l (verdict, available, i)) AS l
                WHERE l.verdict <> '00000';
                SELECT array_agg(coalesce(v_places[l.i], l.i)), array_agg(l.account_id), array_agg(l.quantity), array_agg(l.id)
                INTO v_places, v_accounts, v_quantities, v_orders
                FROM unnest(v_accounts, v_quantities, v_orders, v_verdicts) WITH ORDINALITY AS l (account_id, quantity, id, verdict, i)
                WHERE l.verdict = '00000';
            END IF;
        END IF;

        IF v_accounts IS NOT NULL THEN
            -- All holds of a call have one deadline.
            SELECT h.expires_at INTO STRICT v_expires_at FROM holdfast.holds AS h WHERE h.owner = v_orders[1];
            INSERT INTO shop.order (account_id, id, merchant_id, total, placed_at, changed_at, expires_at, pay_by, sale_id, lines, status, currency)
            SELECT l.account_id, l.id, v_sale.merchant_id, v_sale.price * l.quantity, v_expires_at - v_ttl, v_expires_at - v_ttl, v_expires_at, v_expires_at,
                   v_sale.id, 1, 'pending_payment', v_sale.currency
            FROM unnest(v_accounts, v_orders, v_quantities) AS l (account_id, id, quantity);
            INSERT INTO shop.order_line (account_id, order_id, sku_id, stock_id, product_id, quantity, unit_price, amount, line, code, title)
            SELECT l.account_id, l.id, v_sale.sku_id, v_sale.id, v_sale.product_id, l.quantity, v_sale.price, v_sale.price * l.quantity, 1, v_sale.code, v_sale.title
            FROM unnest(v_accounts, v_orders, v_quantities) AS l (account_id, id, quantity);
            v_placed_accounts := v_placed_accounts || v_accounts;
            v_placed_orders := v_placed_orders || v_orders;
            v_frame := shop.purchase_frame(v_sale.merchant_id, v_sale.id, v_sale.sku_id, v_sale.product_id, v_sale.code, v_sale.title,
                                           v_sale.price, v_sale.currency, v_expires_at - v_ttl, v_expires_at);
            EXIT WHEN v_places IS NULL AND v_numbers IS NULL;
            SELECT r_lines || array_agg(coalesce(v_numbers[l.place], l.place)), r_verdicts || array_agg('00000'::text), r_orders || v_orders,
                   r_expires || array_agg(v_expires_at), r_replayed || array_agg(false), r_available || array_agg(NULL::bigint),
                   r_bodies || array_agg(shop.purchase_body(v_frame, l.id, l.quantity, l.quantity * v_sale.price))
            INTO r_lines, r_verdicts, r_orders, r_expires, r_replayed, r_available, r_bodies
            FROM (SELECT coalesce(v_places[l.i], l.i)::integer AS place, l.id, l.quantity
                  FROM unnest(v_orders, v_quantities) WITH ORDINALITY AS l (id, quantity, i) ORDER BY l.i) AS l;
        END IF;
        EXIT WHEN v_others IS NULL;

        -- The others: the same order again, a refusal, or another round (code NULL), if an earlier line of the buyer that stood
        -- in their way has got nothing. Who is at his limit with an order that has expired, which somebody else is just
        -- writing down, may try again.
        v_full := ARRAY(SELECT p_accounts[l.i] FROM unnest(v_others) AS l (i) WHERE v_states[l.i] = 'limit');
        SELECT array_agg(o.code), array_agg(o.order_id), bool_or(o.code IS NULL)
        INTO v_verdicts, v_orders, v_again
        FROM (SELECT CASE WHEN v_codes[l.i] IN ('HS001', 'HS002', 'HF019') THEN v_codes[l.i]
                          WHEN k.i IS NOT NULL THEN CASE WHEN p_quantities[l.i] IN (b.quantities[k.i], -b.quantities[k.i]) THEN '00000' ELSE 'HF021' END
                          WHEN v_codes[l.i] IS NOT NULL THEN v_codes[l.i]
                          WHEN cardinality(b.keys) >= b.allowed + 100 OR b.bought + p_quantities[l.i] - coalesce(d.quantity, 0) > b.allowed THEN 'HS404'
                          WHEN b.bought + p_quantities[l.i] > b.allowed THEN '40001' END AS code,
                     CASE WHEN p_quantities[l.i] IN (b.quantities[k.i], -b.quantities[k.i]) THEN b.order_ids[k.i] END AS order_id
              FROM unnest(v_others) WITH ORDINALITY AS l (i, n)
              LEFT JOIN shop.sale_buyer AS b ON b.sale_id = p_sales[1] AND b.account_id = p_accounts[l.i]
              LEFT JOIN LATERAL (SELECT array_position(b.keys, p_keys[l.i] COLLATE "C") AS i) AS k ON true
              LEFT JOIN (SELECT d.account_id, sum(d.quantity) AS quantity FROM shop.lapsed_orders(v_full, array_fill(p_sales[1], ARRAY[cardinality(v_full)])) AS d
                         GROUP BY d.account_id) AS d ON d.account_id = p_accounts[l.i]
              ORDER BY l.n) AS o;
        SELECT r_lines || array_agg(coalesce(v_numbers[l.i], l.i)), r_verdicts || array_agg(l.code),
               r_orders || array_agg(o.id), r_expires || array_agg(o.pay_by), r_replayed || array_agg(o.id IS NOT NULL),
               r_available || array_agg(CASE WHEN l.code = 'HS403' THEN 0 END), r_bodies || array_agg(o.body),
               v_short + count(*) FILTER (WHERE l.code = 'HS403')
        INTO r_lines, r_verdicts, r_orders, r_expires, r_replayed, r_available, r_bodies, v_short
        FROM unnest(v_verdicts, v_orders, v_others) AS l (code, id, i)
        LEFT JOIN LATERAL (
            SELECT o.id, o.pay_by, shop.purchase_body(shop.purchase_frame(o.merchant_id, o.sale_id, z.sku_id, z.product_id, z.code, z.title, z.unit_price,
                                                                          o.currency, o.placed_at, o.pay_by), o.id, z.quantity, z.amount) AS body
            FROM shop.order AS o JOIN shop.order_line AS z ON z.order_id = o.id AND z.line = 1 AND z.account_id = o.account_id
            WHERE l.code = '00000' AND o.account_id = p_accounts[l.i] AND o.id = l.id) AS o ON true
        WHERE l.code IS NOT NULL;
        EXIT WHEN NOT v_again;

        SELECT array_agg(p_accounts[l.i]), array_agg(p_keys[l.i]), array_agg(p_sales[l.i]), array_agg(p_quantities[l.i]),
               array_agg(coalesce(v_numbers[l.i], l.i))
        INTO p_accounts, p_keys, p_sales, p_quantities, v_numbers
        FROM unnest(v_verdicts, v_others) AS l (code, i) WHERE l.code IS NULL;
    END LOOP;

    IF v_placed_orders <> '{}' THEN
        FOR v_first IN 1 .. cardinality(v_placed_orders) BY 1000 LOOP
            PERFORM shop.enqueue('order_placed', jsonb_build_object('account_ids', v_placed_accounts[v_first : v_first + 999]::text[],
                                                                    'order_ids', v_placed_orders[v_first : v_first + 999]));
        END LOOP;
    END IF;
    IF r_lines = '{}' THEN
        RETURN QUERY
        SELECT l.i::integer, '00000', l.id, v_expires_at, false, NULL::bigint, shop.purchase_body(v_frame, l.id, l.quantity, l.quantity * v_sale.price)
        FROM unnest(v_orders, v_quantities) WITH ORDINALITY AS l (id, quantity, i) ORDER BY l.i;
        RETURN;
    END IF;
    IF v_short > 0 THEN
        PERFORM shop.note_refusals(ARRAY[v_sale.id], ARRAY[v_short]::bigint[]);
    END IF;
    RETURN QUERY
    SELECT l.line, l.verdict, l.order_id, l.expires_at, l.replayed, l.available, l.body
    FROM unnest(r_lines, r_verdicts, r_orders, r_expires, r_replayed, r_available, r_bodies)
         AS l (line, verdict, order_id, expires_at, replayed, available, body)
    ORDER BY l.line;
END $$;
COMMENT ON FUNCTION shop.purchase_batch(bigint[], text[], bigint[], bigint[]) IS
'Buys in sales for many accounts in one round of set work, and gives a verdict for every line, in order: 00000 bought, or bought before with the same key (replayed), waiting for payment until expires_at; HS001 no account, HS002 suspended, HF019 no key, HF003 quantity, HS004 no such sale, or a draft, HS303 its product is not published or its merchant suspended, HS401 not open yet, HS402 over, HS403 sold out, HF001 fewer units left than wanted, HS404 the limit of an account (also after a hundred orders more than that), 55P03 and 40001 try again: somebody has this buyer, or an expired order of his, in hand, HF021 the key was used for another quantity. available: units left, for a line refused for lack of them. body: the order as JSON, the same bytes each time. Lines are independent, also those of one account, of which earlier ones go first. A key belongs to an account and a sale. A negative quantity buys nothing (HF003), but finds what so many units were bought with its key. Puts one job order_placed for all orders of a sale into the queue: {account_ids, order_ids}. Raises only for the call as a whole: HF005 arrays unequal, empty or above 10,000 elements; 40001, 40P01, 55P03 try again.';

CREATE FUNCTION shop.purchase(p_account bigint, p_key text, p_sale bigint, p_quantity bigint,
                              OUT order_id uuid, OUT expires_at timestamptz, OUT replayed boolean, OUT body text)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_line record;
BEGIN
    SELECT * INTO STRICT v_line FROM shop.purchase_batch(ARRAY[p_account], ARRAY[p_key], ARRAY[p_sale], ARRAY[p_quantity]) AS l;
    IF v_line.verdict <> '00000' THEN
        PERFORM shop.refuse(v_line.verdict, CASE WHEN v_line.verdict IN ('HF003', 'HF001', 'HS404') THEN '/quantity' END, 'left: ' || v_line.available);
    END IF;
    order_id := v_line.order_id;
    expires_at := v_line.expires_at;
    replayed := v_line.replayed;
    body := v_line.body;
END $$;
COMMENT ON FUNCTION shop.purchase(bigint, text, bigint, bigint) IS 'Buys in a sale: purchase_batch() of one line, whose verdict is raised if it is a refusal.';

-- Tickets are the application's: it issues and judges them, and tells here of their number.
CREATE TABLE shop.sale_counter (
    sale_id bigint NOT NULL,
    tickets bigint NOT NULL,
    CONSTRAINT sale_counter_pkey PRIMARY KEY (sale_id),
    CONSTRAINT sale_counter_tickets_check CHECK (tickets > 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE shop.sale_counter IS 'How many tickets of a sale the application has issued, as far as it has told; without a row none.';

CREATE FUNCTION shop.note_tickets(p_sales bigint[], p_counts bigint[]) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        INSERT INTO shop.sale_counter AS c (sale_id, tickets)
        SELECT n.sale, sum(n.tickets) FROM unnest(p_sales, p_counts) AS n (sale, tickets) JOIN shop.sale AS s ON s.id = n.sale
        WHERE n.tickets > 0 GROUP BY n.sale ORDER BY n.sale
        ON CONFLICT (sale_id) DO UPDATE SET tickets = c.tickets + EXCLUDED.tickets;
    END;
COMMENT ON FUNCTION shop.note_tickets(bigint[], bigint[]) IS
'Counts tickets for the reports: p_counts of each of p_sales. What is no sale, and counts that are not positive, are passed over.';

COMMIT;

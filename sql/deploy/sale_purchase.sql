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
    CONSTRAINT sale_buyer_pkey PRIMARY KEY (account_id, sale_id),
    CONSTRAINT sale_buyer_bought_check CHECK (bought BETWEEN 0 AND allowed)
) WITH (fillfactor = 80);
COMMENT ON TABLE shop.sale_buyer IS 'What an account has bought in a sale: one element of the arrays for each order. This is the limit, and the idempotency keys.';
COMMENT ON COLUMN shop.sale_buyer.bought IS 'Units of the orders that have not ended unpaid.';
COMMENT ON COLUMN shop.sale_buyer.allowed IS 'The limit of the sale, which does not change once it can be bought in.';
COMMENT ON COLUMN shop.sale_buyer.quantities IS 'Units of each order; negative once it has ended unpaid.';

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

CREATE FUNCTION shop.settle_buyers(p_accounts bigint[], p_sales bigint[]) RETURNS bigint[]
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_order record;
    v_settled bigint[] := ARRAY[]::bigint[];
BEGIN
    FOR v_order IN
        SELECT o.account_id, o.id, o.expires_at
        FROM (SELECT DISTINCT u.account_id, u.sale_id FROM unnest(p_accounts, p_sales) AS u (account_id, sale_id)) AS d
        JOIN shop.sale_buyer AS b ON b.account_id = d.account_id AND b.sale_id = d.sale_id
        CROSS JOIN LATERAL unnest(b.order_ids, b.quantities) AS u (id, quantity)
        JOIN shop.order AS o ON o.account_id = b.account_id AND o.id = u.id
        WHERE u.quantity > 0 AND o.status = 'pending_payment' AND o.expires_at <= clock_timestamp()
          AND NOT EXISTS (SELECT FROM holdfast.holds AS h WHERE h.owner = o.id AND h.state IN ('held', 'pinned', 'confirmed') OFFSET 0)
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

CREATE FUNCTION shop.purchase_batch(p_accounts bigint[], p_keys text[], p_sales bigint[], p_quantities bigint[])
    RETURNS TABLE (line integer, verdict text, order_id uuid, expires_at timestamptz, replayed boolean, available bigint)
    LANGUAGE plpgsql VOLATILE ROWS 256 SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    v_ttl CONSTANT interval := shop.pay_within();
    v_count integer;
    v_expires_at timestamptz;
    -- The lines of this round: p_*, and their numbers in the batch.
    v_numbers integer[];
    v_codes text[];
    v_states text[];
    v_taken integer;
    -- Those that are let in, later those that are held: places in p_*, and the order that each becomes.
    v_places integer[];
    v_accounts bigint[];
    v_sales bigint[];
    v_quantities bigint[];
    v_orders uuid[];
    v_verdicts text[];
    v_available bigint[];
    -- The others.
    v_others integer[];
    v_settled bigint[];
    v_again boolean;
    -- The answer.
    r_lines integer[] := ARRAY[]::integer[];
    r_verdicts text[] := ARRAY[]::text[];
    r_orders uuid[] := ARRAY[]::uuid[];
    r_expires timestamptz[] := ARRAY[]::timestamptz[];
    r_replayed boolean[] := ARRAY[]::boolean[];
    r_available bigint[] := ARRAY[]::bigint[];
    v_placed_accounts bigint[] := ARRAY[]::bigint[];
    v_placed_orders uuid[] := ARRAY[]::uuid[];
    v_short_sales bigint[] := ARRAY[]::bigint[];
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
        SELECT g.lines[b.line], b.verdict, b.order_id, b.expires_at, b.replayed, b.available
        FROM (SELECT array_agg(l.i::integer ORDER BY l.i) AS lines, array_agg(l.account_id ORDER BY l.i) AS accounts, array_agg(l.key ORDER BY l.i) AS keys,
                     array_agg(l.sale_id ORDER BY l.i) AS sales, array_agg(l.quantity ORDER BY l.i) AS quantities
              FROM unnest(p_accounts, p_keys, p_sales, p_quantities) WITH ORDINALITY AS l (account_id, key, sale_id, quantity, i)
              GROUP BY l.sale_id ORDER BY l.sale_id OFFSET 0) AS g
        CROSS JOIN LATERAL shop.purchase_batch(g.accounts, g.keys, g.sales, g.quantities) AS b
        ORDER BY 1;
        RETURN;
    END IF;
    LOOP
        v_orders := ARRAY(SELECT holdfast.uuid7() FROM generate_series(1, cardinality(p_accounts)));

        -- Which lines are let in: those without a code.
        WITH sale AS MATERIALIZED (
            SELECT n.id, n.per_account_limit AS allowed,
                   CASE WHEN n.preheated_at IS NULL THEN 'HS004'
                        WHEN k.deleted_at IS NOT NULL OR p.deleted_at IS NOT NULL THEN 'HS402'
                        WHEN p.published_at IS NULL OR o.suspended_at IS NOT NULL THEN 'HS303' ELSE shop.sale_refusal(n.state) END AS code
            FROM shop.sale_now AS n JOIN shop.sku AS k ON k.id = n.sku_id JOIN shop.product AS p ON p.id = k.product_id
            JOIN shop.merchant AS m ON m.id = n.merchant_id JOIN shop.account AS o ON o.id = m.account_id
            WHERE n.id = ANY (p_sales)),
        keys AS MATERIALIZED (SELECT array_to_string(p_keys, '') COLLATE "C" ~ '[^\x20-\x7e]' AS are_odd)
        SELECT array_agg(j.code), count(j.code) INTO v_codes, v_count
        FROM (SELECT CASE WHEN a.id IS NULL THEN 'HS001'
                          WHEN a.suspended_at IS NOT NULL THEN 'HS002'
                          WHEN l.key IS NULL OR length(l.key) NOT BETWEEN 8 AND 255 THEN 'HF019'
                          WHEN k.are_odd AND l.key COLLATE "C" ~ '[^\x20-\x7e]' THEN 'HF019'
                          WHEN l.quantity IS NULL OR l.quantity < 1 THEN 'HF003'
                          WHEN s.id IS NULL THEN 'HS004'
                          WHEN s.code IS NOT NULL THEN s.code
                          WHEN l.quantity > s.allowed THEN 'HS404' END AS code
              FROM keys AS k CROSS JOIN unnest(p_accounts, p_keys, p_sales, p_quantities) WITH ORDINALITY AS l (account_id, key, sale_id, quantity, i)
              LEFT JOIN sale AS s ON s.id = l.sale_id
              LEFT JOIN shop.account AS a ON a.id = l.account_id
              ORDER BY l.i) AS j;

        -- Take the rows of their buyers: one line of each buyer in a pass, as long as there are lines that fit.
        v_others := NULL;
        v_settled := NULL;
        v_taken := 0;
        v_states := v_codes;
        LOOP
            INSERT INTO shop.sale_buyer AS b (account_id, sale_id, bought, allowed, quantities, order_ids, keys)
            SELECT DISTINCT ON (l.account_id, l.sale_id)
                   l.account_id, l.sale_id, l.quantity, s.per_account_limit, ARRAY[l.quantity], ARRAY[l.id], ARRAY[l.key]
            FROM unnest(p_accounts, p_sales, p_quantities, v_orders, p_keys, v_states) WITH ORDINALITY AS l (account_id, sale_id, quantity, id, key, state, i)
            JOIN shop.sale AS s ON s.id = l.sale_id
            WHERE l.state IS NULL ORDER BY l.account_id, l.sale_id, l.i
            ON CONFLICT (account_id, sale_id) DO UPDATE
            SET bought = b.bought + EXCLUDED.bought, quantities = b.quantities || EXCLUDED.quantities,
                order_ids = b.order_ids || EXCLUDED.order_ids, keys = b.keys || EXCLUDED.keys
            WHERE b.bought + EXCLUDED.bought <= b.allowed AND cardinality(b.keys) < b.allowed + 100 AND EXCLUDED.keys[1] <> ALL (b.keys);
            GET DIAGNOSTICS v_count = ROW_COUNT;
            v_taken := v_taken + v_count;
            EXIT WHEN v_taken = cardinality(p_accounts);
            SELECT array_agg(l.state), bool_or(l.state IS NULL) INTO v_states, v_again
            FROM (SELECT CASE WHEN l.code IS NOT NULL THEN l.code
                              WHEN l.id = ANY (b.order_ids) THEN 'taken'
                              WHEN l.key = ANY (b.keys) THEN 'known'
                              WHEN b.bought + l.quantity > b.allowed OR cardinality(b.keys) >= b.allowed + 100 THEN 'limit' END AS state
                  FROM unnest(p_accounts, p_sales, p_quantities, v_orders, p_keys, v_codes) WITH ORDINALITY
                       AS l (account_id, sale_id, quantity, id, key, code, i)
                  LEFT JOIN shop.sale_buyer AS b ON b.account_id = l.account_id AND b.sale_id = l.sale_id AND l.code IS NULL ORDER BY l.i) AS l;
            CONTINUE WHEN v_again;
            -- Whoever is at his limit with an order that has expired meanwhile may try again.
            EXIT WHEN v_settled IS NOT NULL OR array_position(v_states, 'limit') IS NULL;
            SELECT shop.settle_buyers(array_agg(l.account_id), array_agg(l.sale_id)) INTO v_settled
            FROM unnest(p_accounts, p_sales, v_states) AS l (account_id, sale_id, state) WHERE l.state = 'limit';
            EXIT WHEN v_settled = '{}';
            v_states := ARRAY(SELECT CASE WHEN l.state = 'limit' AND l.account_id = ANY (v_settled) THEN NULL ELSE l.state END
                              FROM unnest(p_accounts, v_states) WITH ORDINALITY AS l (account_id, state, i) ORDER BY l.i);
        END LOOP;
        IF v_taken = cardinality(p_accounts) THEN
            v_places := NULL;
            v_accounts := p_accounts;
            v_sales := p_sales;
            v_quantities := p_quantities;
        ELSE
            SELECT array_agg(l.i) FILTER (WHERE l.is_in), array_agg(l.account_id) FILTER (WHERE l.is_in), array_agg(l.sale_id) FILTER (WHERE l.is_in),
                   array_agg(l.quantity) FILTER (WHERE l.is_in), array_agg(l.id) FILTER (WHERE l.is_in), array_agg(l.i) FILTER (WHERE NOT l.is_in)
            INTO v_places, v_accounts, v_sales, v_quantities, v_orders, v_others
            FROM (SELECT l.*, l.state = 'taken' AS is_in
                  FROM unnest(p_accounts, p_sales, p_quantities, v_orders, v_states) WITH ORDINALITY AS l (account_id, sale_id, quantity, id, state, i)
                  ORDER BY l.i) AS l;
        END IF;

        IF v_accounts IS NOT NULL THEN
            SELECT array_agg(r.verdict), array_agg(r.available), count(*) FILTER (WHERE r.verdict <> '00000')
            INTO v_verdicts, v_available, v_count
            FROM holdfast.reserve_batch(v_orders, v_sales, v_quantities, v_ttl) AS r;
            IF v_count > 0 THEN
                -- The rows of those that got nothing become what they were.
                UPDATE shop.sale_buyer AS b
                SET (bought, quantities, order_ids, keys) = (
                    SELECT coalesce(sum(u.quantity) FILTER (WHERE u.quantity > 0), 0), coalesce(array_agg(u.quantity ORDER BY u.i), '{}'),
                           coalesce(array_agg(u.id ORDER BY u.i), '{}'), coalesce(array_agg(u.key ORDER BY u.i), '{}')
                    FROM unnest(b.quantities, b.order_ids, b.keys) WITH ORDINALITY AS u (quantity, id, key, i)
                    WHERE u.id <> ALL (ARRAY(SELECT l.id FROM unnest(v_orders, v_verdicts) AS l (id, verdict) WHERE l.verdict <> '00000')))
                FROM (SELECT DISTINCT l.account_id, l.sale_id FROM unnest(v_accounts, v_sales, v_verdicts) AS l (account_id, sale_id, verdict)
                      WHERE l.verdict <> '00000') AS d
                WHERE b.account_id = d.account_id AND b.sale_id = d.sale_id;
                DELETE FROM shop.sale_buyer AS b USING unnest(v_accounts, v_sales, v_verdicts) AS l (account_id, sale_id, verdict)
                WHERE l.verdict <> '00000' AND b.account_id = l.account_id AND b.sale_id = l.sale_id AND b.order_ids = '{}';

                SELECT r_lines || array_agg(coalesce(v_numbers[l.place], l.place)),
                       r_verdicts || array_agg(CASE WHEN l.verdict = 'HF001' AND l.available = 0 THEN 'HS403' ELSE l.verdict END),
                       r_orders || array_agg(NULL::uuid), r_expires || array_agg(NULL::timestamptz), r_replayed || array_agg(false),
                       r_available || array_agg(l.available), v_short_sales || array_agg(l.sale_id)
                INTO r_lines, r_verdicts, r_orders, r_expires, r_replayed, r_available, v_short_sales
                FROM (SELECT coalesce(v_places[l.i], l.i)::integer AS place, l.* FROM unnest(v_verdicts, v_available, v_sales) WITH ORDINALITY
                      AS l (verdict, available, sale_id, i)) AS l
                WHERE l.verdict <> '00000';
                SELECT array_agg(coalesce(v_places[l.i], l.i)), array_agg(l.account_id), array_agg(l.sale_id), array_agg(l.quantity), array_agg(l.id)
                INTO v_places, v_accounts, v_sales, v_quantities, v_orders
                FROM unnest(v_accounts, v_sales, v_quantities, v_orders, v_verdicts) WITH ORDINALITY AS l (account_id, sale_id, quantity, id, verdict, i)
                WHERE l.verdict = '00000';
            END IF;
        END IF;

        IF v_accounts IS NOT NULL THEN
            -- All holds of a call have one deadline.
            SELECT h.expires_at INTO STRICT v_expires_at FROM holdfast.holds AS h WHERE h.owner = v_orders[1];
            INSERT INTO shop.order (account_id, id, merchant_id, total, placed_at, changed_at, expires_at, pay_by, sale_id, lines, status, currency)
            SELECT l.account_id, l.id, s.merchant_id, s.price * l.quantity, v_expires_at - v_ttl, v_expires_at - v_ttl, v_expires_at, v_expires_at, s.id, 1,
                   'pending_payment', s.currency
            FROM unnest(v_accounts, v_orders, v_sales, v_quantities) AS l (account_id, id, sale_id, quantity) JOIN shop.sale AS s ON s.id = l.sale_id;
            INSERT INTO shop.order_line (account_id, order_id, sku_id, stock_id, product_id, quantity, unit_price, amount, line, code, title)
            SELECT l.account_id, l.id, s.sku_id, s.id, s.product_id, l.quantity, s.price, s.price * l.quantity, 1, s.code, s.title
            FROM unnest(v_accounts, v_orders, v_sales, v_quantities) AS l (account_id, id, sale_id, quantity)
            JOIN (SELECT s.id, s.sku_id, s.price, k.product_id, k.code, p.title
                  FROM shop.sale AS s JOIN shop.sku AS k ON k.id = s.sku_id JOIN shop.product AS p ON p.id = k.product_id
                  WHERE s.id = ANY (v_sales) OFFSET 0) AS s ON s.id = l.sale_id;
            v_placed_accounts := v_placed_accounts || v_accounts;
            v_placed_orders := v_placed_orders || v_orders;
            EXIT WHEN v_places IS NULL AND v_numbers IS NULL;
            SELECT r_lines || array_agg(coalesce(v_numbers[l.place], l.place)), r_verdicts || array_agg('00000'::text), r_orders || v_orders,
                   r_expires || array_agg(v_expires_at), r_replayed || array_agg(false), r_available || array_agg(NULL::bigint)
            INTO r_lines, r_verdicts, r_orders, r_expires, r_replayed, r_available
            FROM (SELECT coalesce(v_places[l.i], l.i)::integer AS place FROM generate_subscripts(v_orders, 1) AS l (i)) AS l;
        END IF;
        EXIT WHEN v_others IS NULL;

        -- The others: the same order again, a refusal, or another round (code NULL), if an
        -- earlier line of the buyer that stood in their way has got nothing.
        SELECT array_agg(o.code), array_agg(o.order_id), bool_or(o.code IS NULL)
        INTO v_verdicts, v_orders, v_again
        FROM (SELECT CASE WHEN v_codes[l.i] IN ('HS001', 'HS002', 'HF019') THEN v_codes[l.i]
                          WHEN k.i IS NOT NULL THEN CASE WHEN abs(b.quantities[k.i]) = p_quantities[l.i] THEN '00000' ELSE 'HF021' END
                          WHEN v_codes[l.i] IS NOT NULL THEN v_codes[l.i]
                          WHEN b.bought + p_quantities[l.i] > b.allowed OR cardinality(b.keys) >= b.allowed + 100 THEN 'HS404' END AS code,
                     CASE WHEN abs(b.quantities[k.i]) = p_quantities[l.i] THEN b.order_ids[k.i] END AS order_id
              FROM unnest(v_others) WITH ORDINALITY AS l (i, n)
              LEFT JOIN shop.sale_buyer AS b ON b.account_id = p_accounts[l.i] AND b.sale_id = p_sales[l.i]
              LEFT JOIN LATERAL (SELECT array_position(b.keys, p_keys[l.i] COLLATE "C") AS i) AS k ON true
              ORDER BY l.n) AS o;
        SELECT r_lines || array_agg(coalesce(v_numbers[l.i], l.i)), r_verdicts || array_agg(l.code),
               r_orders || array_agg(CASE WHEN l.code = '00000' THEN l.id END), r_expires || array_agg(CASE WHEN l.code = '00000' THEN o.pay_by END),
               r_replayed || array_agg(l.code = '00000'), r_available || array_agg(CASE WHEN l.code = 'HS403' THEN 0 END),
               v_short_sales || coalesce(array_agg(p_sales[l.i]) FILTER (WHERE l.code = 'HS403'), '{}')
        INTO r_lines, r_verdicts, r_orders, r_expires, r_replayed, r_available, v_short_sales
        FROM unnest(v_verdicts, v_orders, v_others) AS l (code, id, i)
        LEFT JOIN shop.order AS o ON o.account_id = p_accounts[l.i] AND o.id = l.id
        WHERE l.code IS NOT NULL;
        EXIT WHEN NOT v_again;

        SELECT array_agg(p_accounts[l.i]), array_agg(p_keys[l.i]), array_agg(p_sales[l.i]), array_agg(p_quantities[l.i]),
               array_agg(coalesce(v_numbers[l.i], l.i))
        INTO p_accounts, p_keys, p_sales, p_quantities, v_numbers
        FROM unnest(v_verdicts, v_others) AS l (code, i) WHERE l.code IS NULL;
    END LOOP;

    IF v_placed_orders <> '{}' THEN
        PERFORM shop.enqueue('order_placed', jsonb_build_object('account_ids', v_placed_accounts::text[], 'order_ids', v_placed_orders));
    END IF;
    IF r_lines = '{}' THEN
        RETURN QUERY
        SELECT l.i::integer, '00000', l.id, v_expires_at, false, NULL::bigint FROM unnest(v_orders) WITH ORDINALITY AS l (id, i) ORDER BY l.i;
        RETURN;
    END IF;
    IF v_short_sales <> '{}' THEN
        PERFORM shop.note_refusals(v_short_sales, array_fill(1::bigint, ARRAY[cardinality(v_short_sales)]));
    END IF;
    RETURN QUERY
    SELECT l.line, l.verdict, l.order_id, l.expires_at, l.replayed, l.available
    FROM unnest(r_lines, r_verdicts, r_orders, r_expires, r_replayed, r_available) AS l (line, verdict, order_id, expires_at, replayed, available)
    ORDER BY l.line;
END $$;
COMMENT ON FUNCTION shop.purchase_batch(bigint[], text[], bigint[], bigint[]) IS
'Buys in sales for many accounts in one round of set work, and gives a verdict for every line, in order: 00000 bought, or bought before with the same key (replayed), waiting for payment until expires_at; HS001 no account, HS002 suspended, HF019 no key, HF003 quantity, HS004 no such sale, or a draft, HS303 its product is not published or its merchant suspended, HS401 not open yet, HS402 over, HS403 sold out, HF001 fewer units left than wanted, HS404 the limit of an account (also after a hundred orders more than that), HF021 the key was used for another quantity. available: units left, for a line refused for lack of them. Lines are independent, also those of one account, of which earlier ones go first. A key belongs to an account and a sale. Puts one job order_placed for all orders of a sale into the queue: {account_ids, order_ids}. Raises only for the call as a whole: HF005 arrays unequal, empty or above 10,000 elements; 40001, 40P01, 55P03 try again.';

CREATE FUNCTION shop.purchase(p_account bigint, p_key text, p_sale bigint, p_quantity bigint,
                              OUT order_id uuid, OUT expires_at timestamptz, OUT replayed boolean)
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
END $$;
COMMENT ON FUNCTION shop.purchase(bigint, text, bigint, bigint) IS 'Buys in a sale: purchase_batch() of one line, whose verdict is raised if it is a refusal.';

-- Tickets. Correctness never rests on them: they only keep the crowd away from what is gone.
CREATE TABLE shop.sale_ticket (
    account_id bigint      NOT NULL,
    sale_id    bigint      NOT NULL,
    id         uuid        NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT sale_ticket_pkey PRIMARY KEY (account_id, sale_id)
) WITH (fillfactor = 80);
CREATE INDEX sale_ticket_expiry_idx ON shop.sale_ticket (sale_id, expires_at);
COMMENT ON TABLE shop.sale_ticket IS 'The last ticket of an account in a sale: the right to try to buy until expires_at.';

CREATE TABLE shop.sale_counter (
    sale_id    bigint      NOT NULL,
    tickets    bigint      NOT NULL DEFAULT 0,
    live       bigint      NOT NULL DEFAULT 0,
    recount_at timestamptz NOT NULL DEFAULT '-infinity',
    CONSTRAINT sale_counter_pkey PRIMARY KEY (sale_id),
    CONSTRAINT sale_counter_check CHECK (tickets >= 0 AND live >= 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE shop.sale_counter IS 'How many tickets a sale has issued.';
COMMENT ON COLUMN shop.sale_counter.tickets IS 'All that were ever issued, here or elsewhere.';
COMMENT ON COLUMN shop.sale_counter.live IS 'Those that were issued here and have not expired, or more: at most the quota of the sale. Counted anew when it is reached.';
COMMENT ON COLUMN shop.sale_counter.recount_at IS 'Before this time none of those counted last can have expired, or it is too soon.';

CREATE FUNCTION shop.note_tickets(p_sale bigint, p_count bigint) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        INSERT INTO shop.sale_counter AS c (sale_id, tickets)
        SELECT s.id, p_count FROM shop.sale AS s WHERE s.id = p_sale AND p_count > 0
        ON CONFLICT (sale_id) DO UPDATE SET tickets = c.tickets + EXCLUDED.tickets;
    END;
COMMENT ON FUNCTION shop.note_tickets(bigint, bigint) IS 'Counts tickets that were issued elsewhere, for the reports.';

CREATE FUNCTION shop.issue_tickets(p_sale bigint, p_accounts bigint[], p_lifetime interval DEFAULT '5 minutes')
    RETURNS TABLE (line integer, verdict text, ticket uuid, expires_at timestamptz)
    LANGUAGE plpgsql VOLATILE ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_sale shop.sale_now;
    v_code text;
    v_new bigint[];
    v_counter shop.sale_counter;
BEGIN
    SELECT * INTO v_sale FROM shop.sale_now AS n WHERE n.id = p_sale;
    v_code := CASE WHEN v_sale.preheated_at IS NULL THEN 'HS004' ELSE shop.sale_refusal(v_sale.state) END;
    IF v_code IS NOT NULL THEN
        RETURN QUERY SELECT g::integer, v_code, NULL::uuid, NULL::timestamptz FROM generate_series(1, cardinality(p_accounts)) AS g;
        RETURN;
    END IF;
    WITH made AS (
        INSERT INTO shop.sale_ticket AS t (account_id, sale_id, id, expires_at)
        SELECT u.id, p_sale, holdfast.uuid7(), least(v_sale.now + p_lifetime, v_sale.ends_at)
        FROM (SELECT DISTINCT u.id FROM unnest(p_accounts) AS u (id)) AS u JOIN shop.account AS a ON a.id = u.id AND a.suspended_at IS NULL
        ORDER BY u.id
        ON CONFLICT (account_id, sale_id) DO UPDATE SET id = EXCLUDED.id, expires_at = EXCLUDED.expires_at WHERE t.expires_at <= v_sale.now
        RETURNING t.account_id)
    SELECT array_agg(m.account_id ORDER BY m.account_id) INTO v_new FROM made AS m;

    IF v_new IS NOT NULL THEN
        INSERT INTO shop.sale_counter (sale_id) VALUES (p_sale) ON CONFLICT DO NOTHING;
        UPDATE shop.sale_counter AS c SET tickets = c.tickets + cardinality(v_new), live = c.live + cardinality(v_new)
        WHERE c.sale_id = p_sale AND c.live + cardinality(v_new) <= v_sale.ticket_quota;
        IF NOT FOUND THEN
            -- Not all of them, unless some have expired meanwhile. The others' tickets are taken back before anybody has seen them.
            SELECT * INTO v_counter FROM shop.sale_counter AS c WHERE c.sale_id = p_sale FOR UPDATE;
            IF v_counter.recount_at <= clock_timestamp() THEN
                SELECT count(*), greatest(min(t.expires_at), clock_timestamp() + interval '1 second') INTO v_counter.live, v_counter.recount_at
                FROM shop.sale_ticket AS t WHERE t.sale_id = p_sale AND t.expires_at > clock_timestamp() AND t.account_id <> ALL (v_new);
            END IF;
            DELETE FROM shop.sale_ticket AS t
            WHERE t.sale_id = p_sale AND t.account_id = ANY (v_new[greatest(v_sale.ticket_quota - v_counter.live, 0) + 1:]);
            v_new := v_new[:greatest(v_sale.ticket_quota - v_counter.live, 0)];
            UPDATE shop.sale_counter AS c
            SET tickets = c.tickets + cardinality(v_new), live = v_counter.live + cardinality(v_new), recount_at = v_counter.recount_at
            WHERE c.sale_id = p_sale;
        END IF;
    END IF;
    RETURN QUERY
    SELECT l.i::integer, CASE WHEN a.id IS NULL THEN 'HS001' WHEN a.suspended_at IS NOT NULL THEN 'HS002' WHEN t.id IS NULL THEN 'HS405' ELSE '00000' END,
           t.id, t.expires_at
    FROM unnest(p_accounts) WITH ORDINALITY AS l (account_id, i)
    LEFT JOIN shop.account AS a ON a.id = l.account_id
    LEFT JOIN shop.sale_ticket AS t ON t.account_id = a.id AND a.suspended_at IS NULL AND t.sale_id = p_sale AND t.expires_at > v_sale.now
    ORDER BY l.i;
END $$;
COMMENT ON FUNCTION shop.issue_tickets(bigint, bigint[], interval) IS
'Tickets for accounts in one sale, good for p_lifetime, and not beyond its end; a verdict for each: 00000, with the one that it has already if that is good still; HS001, HS002, HS004 no such sale, or a draft, HS401 not open yet, HS402 over, HS403 sold out, HS405 as many tickets are out as the sale has. What has expired unused may be issued again, so that nothing is left unsold.';

COMMIT;

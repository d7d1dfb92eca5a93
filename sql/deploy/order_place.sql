-- Deploy shop:order_place to pg
-- requires: order
-- requires: request
-- requires: field
-- requires: job_queue
-- requires: refusal
--
-- Placing orders: one order is a batch of one. Everything is set work: a thousand orders are read, judged, held and
-- written by a handful of statements, and each order stands or falls by itself.
--
-- What is agreed is the price that was committed when the order was placed: one statement reads all prices of a call, from
-- one snapshot that is younger than placed_at, so that an order has the prices of before a change or of after it, never
-- some of each. A price that changes later does not matter; whoever wants to be sure beforehand says expected_total.
--
-- The functions that work per order keep one plan, and no plan that scans: tables were empty when many a session began.
--
-- Locks: holds and lanes by holdfast.reserve_batch(), SKUs ascending; rows of the catalogue are read, not locked, so that
-- a thousand buyers do not queue at them. The order is written after its holds.

BEGIN;
SET LOCAL ROLE shop_owner;

INSERT INTO shop.problem (code, status, name, title) VALUES
    ('HS301', 422, 'several_merchants', 'an order is of one merchant'),
    ('HS302', 422, 'several_currencies', 'an order is in one currency'),
    ('HS303', 422, 'not_for_sale', 'that is not for sale'),
    ('HS304', 409, 'total_changed', 'the total is another than expected');

CREATE TABLE shop.order_setting (
    one        boolean  NOT NULL DEFAULT true,
    pay_within interval NOT NULL DEFAULT '15 minutes',
    CONSTRAINT order_setting_pkey PRIMARY KEY (one),
    CONSTRAINT order_setting_one_check CHECK (one),
    CONSTRAINT order_setting_pay_within_check CHECK (pay_within BETWEEN '1 second' AND '24 hours')
);
INSERT INTO shop.order_setting DEFAULT VALUES;
COMMENT ON TABLE shop.order_setting IS 'What an administrator may change about orders: one row.';
COMMENT ON COLUMN shop.order_setting.pay_within IS 'How long the units of an order are held for its payment to begin; at most holdfast.ttl_max.';

CREATE FUNCTION shop.pay_within() RETURNS interval
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT s.pay_within FROM shop.order_setting AS s);
END $$;
COMMENT ON FUNCTION shop.pay_within() IS 'How long the units of an order are held for its payment to begin: shop.order_setting.';

-- What can be wrong with a line is said once for all lines, in the words of the *_field() functions, which judge
-- one value and raise. A line is read by its order: what is wrong with one is no matter of its neighbours.
CREATE FUNCTION shop.read_orders(p_orders jsonb)
    RETURNS TABLE (n integer, line integer, sku_id bigint, quantity bigint, verdict text, pointer text, detail text)
    LANGUAGE plpgsql IMMUTABLE ROWS 500 SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT o.n::integer - 1 AS n, o.value AS body, o.value -> 'items' AS items,
               CASE WHEN jsonb_typeof(o.value -> 'items') = 'array' THEN jsonb_array_length(o.value -> 'items') END AS lines
        FROM jsonb_array_elements(p_orders) WITH ORDINALITY AS o (value, n)),
    item AS MATERIALIZED (
        SELECT a.n, i.line::integer - 1 AS line, i.value AS body,
               CASE WHEN jsonb_typeof(i.value -> 'sku_id') = 'string' THEN i.value ->> 'sku_id' END AS sku,
               CASE WHEN jsonb_typeof(i.value -> 'quantity') = 'number' THEN (i.value -> 'quantity')::numeric END AS quantity
        FROM asked AS a CROSS JOIN LATERAL jsonb_array_elements(a.items) WITH ORDINALITY AS i (value, line)
        WHERE a.lines BETWEEN 1 AND 200),
    -- Nearly all lines are good: they are told by one expression, and only the others asked what they suffer from.
    good AS MATERIALIZED (
        SELECT i.*, CASE WHEN i.sku ~ '^[1-9][0-9]{0,18}$' AND (length(i.sku) < 19 OR i.sku COLLATE "C" <= '9223372036854775807')
                          AND i.quantity BETWEEN 1 AND 1000000 AND i.quantity = trunc(i.quantity)
                    THEN i.body - '{sku_id,quantity}'::text[] = '{}' ELSE false END AS is_good
        FROM item AS i)
    SELECT g.n, g.line, g.sku::bigint, g.quantity::bigint, NULL::text, NULL::text, NULL::text FROM good AS g WHERE g.is_good
    UNION ALL
    SELECT g.n, g.line, NULL, NULL, f.fault[1], '/items/' || g.line || coalesce('/' || f.fault[2], ''), f.fault[3]
    FROM good AS g
    CROSS JOIN LATERAL (SELECT CASE
        WHEN jsonb_typeof(g.body) <> 'object' THEN ARRAY['HS011', NULL, 'wanted: an object']
        WHEN g.body - '{sku_id,quantity}'::text[] <> '{}' THEN ARRAY['HS009', (SELECT substr(shop.field_pointer('', min(k)), 2)
            FROM jsonb_object_keys(g.body - '{sku_id,quantity}'::text[]) AS k), '']
        WHEN coalesce(g.body -> 'sku_id', 'null') = 'null' THEN ARRAY['HS010', 'sku_id', '']
        WHEN g.sku IS NULL THEN ARRAY['HS011', 'sku_id', 'wanted: string']
        WHEN g.sku !~ '^[1-9][0-9]{0,18}$' OR g.sku::numeric > 9223372036854775807 THEN
            ARRAY['HS015', 'sku_id', 'wanted: an id, as a string of digits']
        WHEN coalesce(g.body -> 'quantity', 'null') = 'null' THEN ARRAY['HS010', 'quantity', '']
        WHEN g.quantity IS NULL THEN ARRAY['HS011', 'quantity', 'wanted: number']
        WHEN g.quantity <> trunc(g.quantity) THEN ARRAY['HS011', 'quantity', 'wanted: an integer']
        ELSE ARRAY['HS014', 'quantity', 'wanted: 1 to 1000000'] END) AS f (fault)
    WHERE NOT g.is_good
    UNION ALL
    SELECT a.n, NULL, NULL, NULL, f.fault[1], f.fault[2], f.fault[3]
    FROM asked AS a
    CROSS JOIN LATERAL (SELECT CASE
        WHEN jsonb_typeof(a.body) <> 'object' THEN ARRAY['HS011', '', 'wanted: an object']
        WHEN a.body - '{items,expected_total}'::text[] <> '{}' THEN ARRAY['HS009', (SELECT shop.field_pointer('', min(k))
            FROM jsonb_object_keys(a.body - '{items,expected_total}'::text[]) AS k), '']
        WHEN coalesce(a.items, 'null') = 'null' THEN ARRAY['HS010', '/items', '']
        WHEN a.lines IS NULL THEN ARRAY['HS011', '/items', 'wanted: array']
        WHEN a.lines NOT BETWEEN 1 AND 200 THEN ARRAY['HS012', '/items', 'wanted: 1 to 200 lines']
        WHEN coalesce(a.body -> 'expected_total', 'null') = 'null' THEN NULL
        WHEN jsonb_typeof(a.body -> 'expected_total') <> 'number' THEN ARRAY['HS011', '/expected_total', 'wanted: number']
        WHEN (a.body -> 'expected_total')::numeric <> trunc((a.body -> 'expected_total')::numeric) THEN
            ARRAY['HS011', '/expected_total', 'wanted: an integer']
        WHEN (a.body -> 'expected_total')::numeric NOT BETWEEN 1 AND 1000000000000000 THEN
            ARRAY['HS014', '/expected_total', 'wanted: 1 to 1000000000000000'] END) AS f (fault)
    WHERE f.fault IS NOT NULL;
END $$;
COMMENT ON FUNCTION shop.read_orders(jsonb) IS
'The lines of orders as they come in JSON, an array of {items: [{sku_id, quantity}], expected_total?}: n and line count from 0. A line that is none has a verdict (HS009 to HS015) with a pointer within its order; what is wrong with an order as a whole is a row without line.';

CREATE FUNCTION shop.place_orders(p_account bigint, p_orders integer, p_ns integer[], p_lines integer[], p_skus bigint[], p_quantities bigint[],
                                  p_totals bigint[] DEFAULT NULL, p_policy text DEFAULT 'valid_rows')
    RETURNS TABLE (n integer, order_id uuid, verdict text, pointer text, detail text)
    LANGUAGE plpgsql VOLATILE ROWS 100 SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz;
    v_expires_at timestamptz;
    v_ttl CONSTANT interval := shop.pay_within();
    v_ids uuid[];
    v_merchants bigint[];
    v_currencies text[];
    v_order_totals bigint[];
    v_order_lines integer[];
    v_codes text[];
    v_pointers text[];
    v_details text[];
    v_line_ns integer[];
    v_line_at integer[];
    v_line_skus bigint[];
    v_line_products bigint[];
    v_line_quantities bigint[];
    v_line_prices bigint[];
    v_line_codes text[];
    v_line_titles text[];
    v_owners uuid[];
    v_fault record;
    v_placed uuid[];
    v_short bigint[] := ARRAY[]::bigint[];
BEGIN
    v_now := clock_timestamp();

    -- One row for each order and SKU, priced; for SKUs that are not for sale, without a price.
    SELECT array_agg(w.n), array_agg(w.line), array_agg(w.sku), array_agg(w.product_id), array_agg(w.quantity), array_agg(w.price), array_agg(w.code),
           array_agg(w.title), array_agg(w.merchant_id), array_agg(w.currency)
    INTO v_line_ns, v_line_at, v_line_skus, v_line_products, v_line_quantities, v_line_prices, v_line_codes, v_line_titles, v_merchants, v_currencies
    FROM (SELECT l.n, l.line, l.sku, s.product_id, l.quantity, s.price, s.code, s.title, s.merchant_id, s.currency
          FROM (SELECT u.n, min(u.line) AS line, u.sku, sum(u.quantity)::bigint AS quantity
                FROM unnest(p_ns, p_lines, p_skus, p_quantities) AS u (n, line, sku, quantity) GROUP BY u.n, u.sku) AS l
          LEFT JOIN (SELECT k.id, k.product_id, k.price, k.code, p.title, k.merchant_id, k.currency
                     FROM shop.sku AS k JOIN shop.product AS p ON p.id = k.product_id
                     WHERE k.deleted_at IS NULL AND p.deleted_at IS NULL AND p.published_at <= v_now) AS s ON s.id = l.sku
          ORDER BY l.n, l.line) AS w;

    -- What each order comes to, and what is wrong with it.
    SELECT array_agg(holdfast.uuid7()), array_agg(w.merchant), array_agg(w.currency),
           array_agg(CASE WHEN w.total <= 1000000000000000 THEN w.total::bigint END), array_agg(w.lines),
           array_agg(w.fault[1]), array_agg(w.fault[2]), array_agg(w.fault[3])
    INTO v_ids, v_merchants, v_currencies, v_order_totals, v_order_lines, v_codes, v_pointers, v_details
    FROM (SELECT o.*, CASE
              WHEN o.lines IS NULL THEN ARRAY['HS012', '/items', 'wanted: 1 to 200 lines']
              WHEN o.missing IS NOT NULL THEN ARRAY['HS303', '/items/' || o.missing || '/sku_id', '']
              WHEN EXISTS (SELECT FROM shop.merchant AS m JOIN shop.account AS a ON a.id = m.account_id
                           WHERE m.id = o.merchant AND a.suspended_at IS NOT NULL) THEN ARRAY['HS303', '/items', 'the merchant is suspended']
              WHEN o.merchant <> o.other_merchant THEN ARRAY['HS301', '/items', '']
              WHEN o.currency <> o.other_currency THEN ARRAY['HS302', '/items', '']
              WHEN o.total > 1000000000000000 THEN ARRAY['HS014', '/items', 'the total is ' || o.total || '; at most 1000000000000000']
              WHEN o.total <> p_totals[g.n + 1] THEN ARRAY['HS304', '/expected_total', 'the total is ' || o.total] END AS fault
          FROM generate_series(0, p_orders - 1) AS g (n)
          LEFT JOIN (SELECT l.n, min(l.merchant) AS merchant, min(l.currency) AS currency, sum(l.quantity::numeric * l.price) AS total,
                            count(*)::integer AS lines,
                            min(l.line) FILTER (WHERE l.price IS NULL) AS missing, max(l.merchant) AS other_merchant, max(l.currency) AS other_currency
                     FROM unnest(v_line_ns, v_line_at, v_line_quantities, v_line_prices, v_merchants, v_currencies)
                          AS l (n, line, quantity, price, merchant, currency)
                     GROUP BY l.n) AS o ON o.n = g.n
          ORDER BY g.n) AS w;

    IF p_policy = 'all_or_nothing' AND array_remove(v_codes, NULL) <> '{}' THEN
        v_codes := ARRAY(SELECT coalesce(c.code, 'HF016') FROM unnest(v_codes) WITH ORDINALITY AS c (code, i) ORDER BY c.i);
    END IF;

    -- Units for the others, all in one call. Of an order's lines, the one that was refused itself is what the buyer hears of.
    SELECT array_agg(v_ids[l.n + 1]), array_agg(l.sku), array_agg(l.quantity), array_agg(l.i)
    INTO v_owners, p_skus, p_quantities, p_lines
    FROM unnest(v_line_ns, v_line_skus, v_line_quantities) WITH ORDINALITY AS l (n, sku, quantity, i)
    WHERE v_codes[l.n + 1] IS NULL;
    IF v_owners IS NOT NULL THEN
        FOR v_fault IN
            SELECT DISTINCT ON (v_line_ns[p_lines[r.line]]) v_line_ns[p_lines[r.line]] + 1 AS i, r.verdict AS code,
                   v_line_at[p_lines[r.line]] AS line, p_skus[r.line] AS sku, r.available
            FROM holdfast.reserve_batch(v_owners, p_skus, p_quantities, v_ttl, p_policy) AS r
            WHERE r.verdict <> '00000'
            ORDER BY v_line_ns[p_lines[r.line]], r.verdict IN ('HF015', 'HF016'), r.line
        LOOP
            v_codes[v_fault.i] := v_fault.code;
            IF v_fault.code IN ('HF001', 'HF002') THEN
                v_short := v_short || v_fault.sku;
            END IF;
            v_pointers[v_fault.i] := CASE WHEN v_fault.code NOT IN ('HF015', 'HF016') THEN '/items/' || v_fault.line || '/quantity' END;
            v_details[v_fault.i] := CASE v_fault.code WHEN 'HF001' THEN 'left: ' || v_fault.available WHEN 'HF002' THEN 'left: 0' END;
        END LOOP;

        -- All holds of a call have one deadline, which counts from when their units were there.
        SELECT h.expires_at INTO v_expires_at FROM holdfast.holds AS h
        WHERE h.owner = (SELECT o.id FROM unnest(v_ids, v_codes) AS o (id, code) WHERE o.code IS NULL LIMIT 1) LIMIT 1;
        v_now := v_expires_at - v_ttl;
        INSERT INTO shop.order (account_id, id, merchant_id, total, placed_at, changed_at, expires_at, pay_by, lines, status, currency)
        SELECT p_account, o.id, o.merchant, o.total, v_now, v_now, v_expires_at, v_expires_at, o.lines, 'pending_payment', o.currency
        FROM unnest(v_ids, v_merchants, v_currencies, v_order_totals, v_order_lines, v_codes) AS o (id, merchant, currency, total, lines, code)
        WHERE o.code IS NULL;
        INSERT INTO shop.order_line (account_id, order_id, sku_id, stock_id, product_id, quantity, unit_price, amount, line, code, title)
        SELECT p_account, v_ids[l.n + 1], l.sku, l.sku, l.product, l.quantity, l.price, l.quantity * l.price, l.at + 1, l.code, l.title
        FROM unnest(v_line_ns, v_line_at, v_line_skus, v_line_products, v_line_quantities, v_line_prices, v_line_codes, v_line_titles)
             AS l (n, at, sku, product, quantity, price, code, title)
        WHERE v_codes[l.n + 1] IS NULL;

        v_placed := ARRAY(SELECT o.id FROM unnest(v_ids, v_codes) WITH ORDINALITY AS o (id, code, i) WHERE o.code IS NULL ORDER BY o.i);
        IF v_placed <> '{}' THEN
            PERFORM shop.enqueue('order_placed', jsonb_build_object('account_ids', array_fill(p_account::text, ARRAY[cardinality(v_placed)]),
                'order_ids', v_placed));
        END IF;
        PERFORM shop.note_refusals(v_short, array_fill(1::bigint, ARRAY[cardinality(v_short)]));
    END IF;

    RETURN QUERY
    SELECT o.i::integer - 1, CASE WHEN o.code IS NULL THEN o.id END, coalesce(o.code, '00000'), o.pointer, o.detail
    FROM unnest(v_ids, v_codes, v_pointers, v_details) WITH ORDINALITY AS o (id, code, pointer, detail, i)
    ORDER BY o.i;
END $$;
COMMENT ON FUNCTION shop.place_orders(bigint, integer, integer[], integer[], bigint[], bigint[], bigint[], text) IS
'Places p_orders orders of an account. The arrays have an element for each line: its order (from 0), its number in it, SKU and quantity (1 to 10^6; lines of an order with the same SKU are summed into the first of them); p_totals one for each order, what the buyer takes its total for, or NULL. Gives a verdict for each: 00000 placed, waiting for payment until shop.pay_within() from now; HS301 several merchants, HS302 several currencies, HS303 not for sale, or its merchant is suspended, HS304 another total, HS012 no lines, HS014 the total is above 10^15, HF001 or HF002 not enough in stock, 55P03 somebody else was at the stock too long; pointer is within the order. p_policy: valid_rows places what can be placed; all_or_nothing everything or nothing (HF016 for the innocent). Puts one job order_placed into the queue: {account_ids, order_ids}, an element for each order.';

COMMIT;

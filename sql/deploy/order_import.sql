-- Deploy shop:order_import to pg
-- requires: order_payment
--
-- Orders from another channel: they were agreed and paid there, at its prices and in its time, and are taken over as they
-- are: held, paid at the provider external, sold, in one transaction, so that stock, ledger and reports know of them. Each
-- order is judged alone, and known by its merchant, channel and reference: importing again changes nothing.
--
-- Locks: references ascending (by their key), then holds and lanes as holdfast.reserve_batch() takes them. A cancellation
-- is a return; lines of one call follow one another.

BEGIN;
SET LOCAL ROLE shop_owner;

INSERT INTO shop.problem (code, status, name, title) VALUES
    ('HS310', 422, 'unknown_code', 'the merchant has no SKU of that code'),
    ('HS311', 422, 'mixed_order', 'the lines of an order differ in what is the order''s'),
    ('HS312', 409, 'no_sale', 'there is no earlier sale that it fits');

CREATE TABLE shop.channel_customer (
    merchant_id bigint NOT NULL,
    channel     text   COLLATE "C" NOT NULL,
    customer    text   COLLATE "C" NOT NULL,
    account_id  bigint NOT NULL,
    CONSTRAINT channel_customer_pkey PRIMARY KEY (merchant_id, channel, customer)
);
COMMENT ON TABLE shop.channel_customer IS 'Accounts of the customers of other channels, by their number there; the empty one is for all that have none.';

CREATE TABLE shop.channel_order (
    merchant_id bigint NOT NULL,
    channel     text   COLLATE "C" NOT NULL,
    reference   text   COLLATE "C" NOT NULL,
    account_id  bigint NOT NULL,
    order_id    uuid   NOT NULL,
    CONSTRAINT channel_order_pkey PRIMARY KEY (merchant_id, channel, reference)
);
COMMENT ON TABLE shop.channel_order IS 'The directory of imported orders: what each number of a channel is here.';

CREATE TABLE shop.channel_return (
    merchant_id bigint  NOT NULL,
    channel     text    COLLATE "C" NOT NULL,
    reference   text    COLLATE "C" NOT NULL,
    code        text    COLLATE "C" NOT NULL,
    n           integer NOT NULL,
    account_id  bigint  NOT NULL,
    order_id    uuid    NOT NULL,
    line        integer NOT NULL,
    quantity    bigint  NOT NULL,
    amount      bigint  NOT NULL,
    CONSTRAINT channel_return_pkey PRIMARY KEY (merchant_id, channel, reference, code, n)
);
COMMENT ON TABLE shop.channel_return IS 'Imported cancellations: what line of what order each one took back. n tells lines of a cancellation with the same code apart.';
COMMENT ON COLUMN shop.channel_return.amount IS 'Refunded, in minor units of the order''s currency.';

CREATE FUNCTION shop.uuid7_at(p_time timestamptz) RETURNS uuid
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT (lpad(to_hex((t.micros / 1000)::bigint), 12, '0') || '7' || lpad(to_hex(((t.micros % 1000) * 4096 / 1000)::integer), 3, '0')
                || substr(replace(gen_random_uuid()::text, '-', ''), 17))::uuid
        FROM (SELECT (extract(epoch FROM p_time) * 1000000)::bigint) AS t (micros);
    END;
COMMENT ON FUNCTION shop.uuid7_at(timestamptz) IS 'A UUID version 7 (RFC 9562, section 5.7, method 3) of a time from 1970 on: what is imported sorts by when it happened.';

CREATE FUNCTION shop.check_import(p_merchant bigint, p_channel text, p_lines integer, p_others integer[]) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM shop.merchant AS m WHERE m.id = p_merchant) THEN
        PERFORM shop.refuse('HS004', NULL, 'merchant');
    ELSIF length(btrim(p_channel)) BETWEEN 1 AND 60 IS NOT TRUE OR p_channel ~ '[[:cntrl:]]' THEN
        PERFORM shop.refuse('HS012', NULL, 'channel: wanted: 1 to 60 characters');
    ELSIF p_lines IS NULL OR p_lines NOT BETWEEN 1 AND 100000 OR array_position(p_others, NULL) IS NOT NULL OR p_lines <> ANY (p_others) THEN
        PERFORM shop.refuse('HF005', NULL, 'wanted: arrays of the same length, 1 to 100000');
    END IF;
END $$;
COMMENT ON FUNCTION shop.check_import(bigint, text, integer, integer[]) IS 'Refuses a call of an import that cannot be one. Errors: HS004 no such merchant, HS012 channel, HF005 arrays.';

CREATE FUNCTION shop.import_orders(p_merchant bigint, p_channel text, p_currency text, p_references text[], p_customers text[], p_countries text[],
                                   p_placed_at timestamptz[], p_codes text[], p_quantities bigint[], p_prices bigint[])
    RETURNS TABLE (reference text, verdict text, order_id uuid, detail text)
    LANGUAGE plpgsql VOLATILE ROWS 1000 SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    v_now CONSTANT timestamptz := clock_timestamp();
    v_skus bigint[];
    v_products bigint[];
    v_titles text[];
    v_references text[];
    v_customers text[];
    v_countries text[];
    v_times timestamptz[];
    v_totals bigint[];
    v_lines integer[];
    v_verdicts text[];
    v_details text[];
    v_ids uuid[];
    v_accounts bigint[];
    v_owners uuid[];
    v_held_orders integer[];
    v_held_skus bigint[];
    v_held_quantities bigint[];
    v_fault record;
    v_payments uuid[];
    v_payers bigint[];
BEGIN
    PERFORM shop.check_import(p_merchant, p_channel, cardinality(p_references),
        ARRAY[cardinality(p_customers), cardinality(p_countries), cardinality(p_placed_at), cardinality(p_codes),
              cardinality(p_quantities), cardinality(p_prices)]);
    IF NOT EXISTS (SELECT FROM holdfast.currencies() AS c WHERE c.currency = p_currency) THEN
        PERFORM shop.refuse('HF025');
    END IF;

    SELECT array_agg(w.id), array_agg(w.product_id), array_agg(w.title) INTO v_skus, v_products, v_titles
    FROM (SELECT s.id, s.product_id, p.title
          FROM unnest(p_codes) WITH ORDINALITY AS l (code, i)
          LEFT JOIN shop.sku AS s ON s.merchant_id = p_merchant AND s.code = l.code
          LEFT JOIN shop.product AS p ON p.id = s.product_id
          ORDER BY l.i) AS w;

    -- What each order is, and what the first of its lines that is none suffers from.
    SELECT array_agg(o.reference ORDER BY o.first), array_agg(o.customer ORDER BY o.first), array_agg(o.country ORDER BY o.first),
           array_agg(o.placed_at ORDER BY o.first), array_agg(CASE WHEN o.total <= 1000000000000000 THEN o.total::bigint END ORDER BY o.first),
           array_agg(o.lines ORDER BY o.first), array_agg(coalesce(f.fault[1], CASE WHEN k.order_id IS NOT NULL THEN 'known' END) ORDER BY o.first),
           array_agg(f.fault[2] ORDER BY o.first),
           array_agg(coalesce(k.order_id, CASE WHEN f.fault IS NULL THEN shop.uuid7_at(o.placed_at) END) ORDER BY o.first)
    INTO v_references, v_customers, v_countries, v_times, v_totals, v_lines, v_verdicts, v_details, v_ids
    FROM (SELECT l.reference, min(l.i) AS first, count(*)::integer AS lines, min(l.customer) AS customer, min(l.country) AS country,
                 min(l.placed_at) AS placed_at,
                 sum(l.quantity::numeric * l.price) AS total, min(l.i) FILTER (WHERE NOT l.is_good) AS bad,
                 max(l.customer) <> min(l.customer) OR max(l.country) <> min(l.country) AS is_mixed
          FROM (SELECT u.*, coalesce(u.customer, '') AS customer, coalesce(u.country, '') AS country,
                       coalesce(u.quantity BETWEEN 1 AND 1000000000 AND u.price BETWEEN 1 AND 1000000000000 AND u.sku IS NOT NULL
                                AND u.placed_at >= '1970-01-01 00:00:00+00' AND u.placed_at <= v_now + interval '1 day'
                                AND length(u.reference) BETWEEN 1 AND 255 AND length(u.customer) <= 255 IS NOT FALSE
                                AND length(u.country) <= 255 IS NOT FALSE, false) AS is_good
                FROM unnest(p_references, p_customers, p_countries, p_placed_at, p_quantities, p_prices, v_skus)
                     WITH ORDINALITY AS u (reference, customer, country, placed_at, quantity, price, sku, i))
               AS l (reference, customer_0, country_0, placed_at, quantity, price, sku, i, customer, country, is_good)
          GROUP BY l.reference) AS o
    LEFT JOIN shop.channel_order AS k ON k.merchant_id = p_merchant AND k.channel = p_channel AND k.reference = o.reference
    CROSS JOIN LATERAL (SELECT CASE
        WHEN k.order_id IS NOT NULL THEN NULL
        WHEN o.bad IS NULL AND o.is_mixed THEN ARRAY['HS311', 'customer or country']
        WHEN o.bad IS NULL AND o.total > 1000000000000000 THEN ARRAY['HS014', 'the total is ' || o.total]
        WHEN o.bad IS NULL THEN NULL
        WHEN o.reference IS NULL THEN ARRAY['HS010', format('line %s: reference', o.bad)]
        WHEN length(o.reference) NOT BETWEEN 1 AND 255 THEN ARRAY['HS012', format('line %s: reference', o.bad)]
        WHEN length(p_customers[o.bad]) > 255 THEN ARRAY['HS012', format('line %s: customer', o.bad)]
        WHEN length(p_countries[o.bad]) > 255 THEN ARRAY['HS012', format('line %s: country', o.bad)]
        WHEN p_codes[o.bad] IS NULL THEN ARRAY['HS010', format('line %s: code', o.bad)]
        WHEN v_skus[o.bad] IS NULL THEN ARRAY['HS310', format('line %s: %s', o.bad, left(p_codes[o.bad], 100))]
        WHEN p_quantities[o.bad] IS NULL THEN ARRAY['HS010', format('line %s: quantity', o.bad)]
        WHEN p_quantities[o.bad] NOT BETWEEN 1 AND 1000000000 THEN ARRAY['HS014', format('line %s: quantity %s', o.bad, p_quantities[o.bad])]
        WHEN p_prices[o.bad] IS NULL THEN ARRAY['HS010', format('line %s: price', o.bad)]
        WHEN p_prices[o.bad] NOT BETWEEN 1 AND 1000000000000 THEN ARRAY['HS014', format('line %s: price %s', o.bad, p_prices[o.bad])]
        WHEN p_placed_at[o.bad] IS NULL THEN ARRAY['HS010', format('line %s: time', o.bad)]
        ELSE ARRAY['HS014', format('line %s: time %s', o.bad, p_placed_at[o.bad])] END) AS f (fault);

    -- Accounts of customers that are new.
    WITH made AS (
        INSERT INTO shop.channel_customer AS c (merchant_id, channel, customer, account_id)
        SELECT p_merchant, p_channel, w.customer, holdfast.new_id()
        FROM (SELECT DISTINCT o.customer FROM unnest(v_customers, v_verdicts) AS o (customer, verdict) WHERE o.verdict IS NULL) AS w
        WHERE NOT EXISTS (SELECT FROM shop.channel_customer AS c
                          WHERE c.merchant_id = p_merchant AND c.channel = p_channel AND c.customer = w.customer)
        ORDER BY w.customer
        ON CONFLICT DO NOTHING RETURNING c.account_id, c.customer)
    INSERT INTO shop.account (id, name) SELECT m.account_id, p_channel || rtrim(' ' || m.customer) FROM made AS m;
    SELECT array_agg(c.account_id ORDER BY o.i) INTO v_accounts
    FROM unnest(v_customers) WITH ORDINALITY AS o (customer, i)
    LEFT JOIN shop.channel_customer AS c ON c.merchant_id = p_merchant AND c.channel = p_channel AND c.customer = o.customer;

    -- Whoever imports the same order at the same time is waited for; then it is known.
    INSERT INTO shop.channel_order (merchant_id, channel, reference, account_id, order_id)
    SELECT p_merchant, p_channel, o.reference, o.account, o.id
    FROM unnest(v_references, v_accounts, v_ids, v_verdicts) AS o (reference, account, id, verdict)
    WHERE o.verdict IS NULL ORDER BY o.reference
    ON CONFLICT DO NOTHING;
    SELECT array_agg(coalesce(o.verdict, CASE WHEN k.order_id <> o.id THEN 'known' END) ORDER BY o.i),
           array_agg(coalesce(k.order_id, o.id) ORDER BY o.i)
    INTO v_verdicts, v_ids
    FROM unnest(v_references, v_verdicts, v_ids) WITH ORDINALITY AS o (reference, verdict, id, i)
    LEFT JOIN shop.channel_order AS k ON k.merchant_id = p_merchant AND k.channel = p_channel AND k.reference = o.reference;

    -- Units: one hold for each SKU of an order, on however many lines it stands.
    SELECT array_agg(h.id), array_agg(h.o), array_agg(h.sku), array_agg(h.quantity)
    INTO v_owners, v_held_orders, v_held_skus, v_held_quantities
    FROM (SELECT v_ids[w.o] AS id, w.o, w.sku, w.quantity
          FROM (SELECT o.i::integer AS o, l.sku, sum(l.quantity)::bigint AS quantity
                FROM unnest(v_references, v_verdicts) WITH ORDINALITY AS o (reference, verdict, i)
                JOIN unnest(p_references, v_skus, p_quantities) AS l (reference, sku, quantity) ON l.reference = o.reference
                WHERE o.verdict IS NULL GROUP BY o.i, l.sku) AS w
          ORDER BY w.o, w.sku) AS h;
    IF v_owners IS NOT NULL THEN
        FOR v_fault IN
            SELECT DISTINCT ON (v_held_orders[r.line]) v_held_orders[r.line] AS o, r.verdict, s.code, coalesce(r.available, 0) AS available
            FROM holdfast.reserve_batch(v_owners, v_held_skus, v_held_quantities, interval '1 hour') AS r
            JOIN shop.sku AS s ON s.id = v_held_skus[r.line]
            WHERE r.verdict <> '00000'
            ORDER BY v_held_orders[r.line], r.verdict = 'HF015', r.line
        LOOP
            v_verdicts[v_fault.o] := v_fault.verdict;
            v_details[v_fault.o] := format('%s: left %s', v_fault.code, v_fault.available);
            DELETE FROM shop.channel_order AS k
            WHERE k.merchant_id = p_merchant AND k.channel = p_channel AND k.reference = v_references[v_fault.o];
        END LOOP;

        PERFORM holdfast.confirm(o.id) FROM unnest(v_ids, v_verdicts) AS o (id, verdict) WHERE o.verdict IS NULL;

        INSERT INTO shop.order (account_id, id, merchant_id, total, placed_at, changed_at, expires_at, lines, status, currency, channel, reference,
                                country)
        SELECT o.account, o.id, p_merchant, o.total, o.placed_at, v_now, 'infinity', o.lines, 'paid', p_currency, p_channel, o.reference,
               nullif(o.country, '')
        FROM unnest(v_accounts, v_ids, v_totals, v_times, v_lines, v_references, v_countries, v_verdicts)
             AS o (account, id, total, placed_at, lines, reference, country, verdict)
        WHERE o.verdict IS NULL;
        INSERT INTO shop.order_line (account_id, order_id, sku_id, stock_id, product_id, quantity, unit_price, amount, line, code, title)
        SELECT o.account, o.id, l.sku, l.sku, l.product, l.quantity, l.price, l.quantity * l.price,
               row_number() OVER (PARTITION BY o.id ORDER BY l.i), l.code, l.title
        FROM unnest(v_accounts, v_ids, v_references, v_verdicts) AS o (account, id, reference, verdict)
        JOIN unnest(p_references, v_skus, v_products, p_quantities, p_prices, p_codes, v_titles)
             WITH ORDINALITY AS l (reference, sku, product, quantity, price, code, title, i) ON l.reference = o.reference
        WHERE o.verdict IS NULL;
        INSERT INTO shop.order_event (account_id, order_id, n, happened_at, from_status, to_status, action, reason)
        SELECT o.account, o.id, 1, o.placed_at, t.from_status, t.to_status, t.action, 'imported'
        FROM unnest(v_accounts, v_ids, v_times, v_verdicts) AS o (account, id, placed_at, verdict)
        JOIN shop.order_transition AS t ON t.from_status = 'pending_payment' AND t.action = 'pay'
        WHERE o.verdict IS NULL;

        -- Their units are sold already, so the payments are for no owner; shop.order_payment says whose they are.
        WITH made AS (
            SELECT o.account, o.id, c.payment
            FROM unnest(v_accounts, v_ids, v_totals, v_verdicts) AS o (account, id, total, verdict)
            CROSS JOIN LATERAL holdfast.create_payment(o.account, 'import-' || o.id, o.total, p_currency, 'external', p_channel, NULL, 'capture') AS c
            WHERE o.verdict IS NULL),
        told AS (INSERT INTO shop.order_payment (account_id, order_id, payment_id) SELECT m.account, m.id, m.payment FROM made AS m)
        SELECT array_agg(m.account), array_agg(m.payment) INTO v_payers, v_payments FROM made AS m;
        IF v_payments IS NOT NULL THEN
            PERFORM FROM holdfast.record_results(v_payers, v_payments, array_fill(1, ARRAY[cardinality(v_payments)]),
                array_fill('succeeded'::text, ARRAY[cardinality(v_payments)]));
        END IF;
    END IF;

    RETURN QUERY
    SELECT o.reference, coalesce(o.verdict, 'imported'), CASE WHEN coalesce(o.verdict, 'known') = 'known' THEN o.id END, o.detail
    FROM unnest(v_references, v_verdicts, v_ids, v_details) WITH ORDINALITY AS o (reference, verdict, id, detail, i) ORDER BY o.i;
END $$;
COMMENT ON FUNCTION shop.import_orders(bigint, text, text, text[], text[], text[], timestamptz[], text[], bigint[], bigint[]) IS
'Takes over orders that were made and paid in another channel of a merchant, in its currency. The arrays have an element for each line; lines with the same reference are an order, at the earliest of their times. Prices are for one unit. Customer NULL or empty: the channel''s account for all such; country may be NULL. Up to 100,000 lines a call. Gives a verdict for each order, in order of their first lines: imported; known (it was imported before; nothing changes); or why not, and the others are not concerned: HF001, HF002 not enough in stock, HS010 something is missing, HS012 too long, HS014 out of range, HS310 unknown code, HS311 lines differ in customer or country. Lines are counted from 1 in detail. Raises for the call as a whole: HS004 merchant, HS012 channel, HF025 currency, HF005 arrays.';

CREATE FUNCTION shop.import_returns(p_merchant bigint, p_channel text, p_references text[], p_customers text[], p_codes text[],
                                    p_quantities bigint[], p_prices bigint[], p_returned_at timestamptz[])
    RETURNS TABLE (line integer, verdict text, order_id uuid, amount bigint, detail text)
    LANGUAGE plpgsql VOLATILE ROWS 1000 SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    v_asked record;
    v_known shop.channel_return;
    v_sale record;
    v_return record;
BEGIN
    PERFORM shop.check_import(p_merchant, p_channel, cardinality(p_references),
        ARRAY[cardinality(p_customers), cardinality(p_codes), cardinality(p_quantities), cardinality(p_prices), cardinality(p_returned_at)]);
    FOR v_asked IN
        SELECT u.*, row_number() OVER (PARTITION BY u.reference, u.code ORDER BY u.i)::integer AS n, c.account_id AS account, s.id AS sku,
               CASE WHEN u.reference IS NULL THEN ARRAY['HS010', 'reference']
                    WHEN length(u.reference) NOT BETWEEN 1 AND 255 THEN ARRAY['HS012', 'reference']
                    WHEN u.code IS NULL THEN ARRAY['HS010', 'code'] WHEN s.id IS NULL THEN ARRAY['HS310', left(u.code, 100)]
                    WHEN u.quantity IS NULL THEN ARRAY['HS010', 'quantity'] WHEN u.quantity < 1 THEN ARRAY['HS014', 'quantity ' || u.quantity]
                    WHEN u.price IS NULL THEN ARRAY['HS010', 'price']
                    WHEN u.price NOT BETWEEN 1 AND 1000000000000 THEN ARRAY['HS014', 'price ' || u.price]
                    WHEN u.returned_at IS NULL THEN ARRAY['HS010', 'time']
                    WHEN coalesce(u.customer, '') = '' THEN ARRAY['HS312', 'nobody knows whose it was: no customer']
                    WHEN c.account_id IS NULL THEN ARRAY['HS312', 'the customer has never bought anything'] END AS fault
        FROM unnest(p_references, p_customers, p_codes, p_quantities, p_prices, p_returned_at)
             WITH ORDINALITY AS u (reference, customer, code, quantity, price, returned_at, i)
        LEFT JOIN shop.sku AS s ON s.merchant_id = p_merchant AND s.code = u.code
        LEFT JOIN shop.channel_customer AS c ON c.merchant_id = p_merchant AND c.channel = p_channel AND c.customer = u.customer
        ORDER BY u.i
    LOOP
        line := v_asked.i;
        verdict := v_asked.fault[1];
        detail := v_asked.fault[2];
        order_id := NULL;
        amount := NULL;
        IF verdict IS NULL THEN
            SELECT r.* INTO v_known FROM shop.channel_return AS r
            WHERE r.merchant_id = p_merchant AND r.channel = p_channel AND r.reference = v_asked.reference
              AND r.code = v_asked.code AND r.n = v_asked.n;
            IF FOUND THEN
                verdict := 'known';
                order_id := v_known.order_id;
                amount := v_known.amount;
            ELSE
                -- The latest earlier sale; one at the same price before others.
                SELECT l.order_id, l.line, op.payment_id, max(l.quantity - l.returned) OVER () AS most,
                       l.quantity - l.returned >= v_asked.quantity AS has_units,
                       p.captured - p.refunding - p.refunded >= v_asked.quantity::numeric * v_asked.price AND v_asked.price <= l.unit_price AS has_money
                INTO v_sale
                FROM shop.order_line AS l
                JOIN shop.order AS o ON o.account_id = l.account_id AND o.id = l.order_id
                JOIN shop.order_payment AS op ON op.account_id = o.account_id AND op.order_id = o.id
                JOIN holdfast.payments AS p ON p.account_id = op.account_id AND p.payment = op.payment_id
                WHERE l.account_id = v_asked.account AND l.sku_id = v_asked.sku AND o.channel = p_channel AND o.placed_at <= v_asked.returned_at
                ORDER BY has_units DESC, has_money DESC, l.unit_price = v_asked.price DESC, o.placed_at DESC, l.line
                LIMIT 1;
                IF NOT FOUND THEN
                    verdict := 'HS312';
                    detail := 'the customer has not bought it before';
                ELSIF NOT v_sale.has_units THEN
                    verdict := 'HS307';
                    detail := 'left of the largest sale: ' || v_sale.most;
                ELSIF NOT v_sale.has_money THEN
                    verdict := 'HF030';
                    detail := 'it was sold for less';
                END IF;
            END IF;
        END IF;
        IF verdict IS NULL THEN
            INSERT INTO shop.channel_return (merchant_id, channel, reference, code, n, account_id, order_id, line, quantity, amount)
            VALUES (p_merchant, p_channel, v_asked.reference, v_asked.code, v_asked.n, v_asked.account, v_sale.order_id, v_sale.line,
                    v_asked.quantity, v_asked.quantity * v_asked.price)
            ON CONFLICT DO NOTHING;
            IF NOT FOUND THEN
                RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'somebody else imports the same cancellation';
            END IF;
            SELECT r.* INTO v_return
            FROM shop.return_order(v_asked.account, v_sale.order_id, 'return-' || holdfast.uuid7(), ARRAY[v_sale.line], ARRAY[v_asked.quantity],
                v_asked.quantity * v_asked.price, NULL, p_channel || ' ' || v_asked.reference, v_asked.returned_at) AS r;
            PERFORM holdfast.record_result(v_asked.account, v_return.payment, v_return.call, 'succeeded');
            verdict := 'returned';
            order_id := v_sale.order_id;
            amount := v_return.amount;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION shop.import_returns(bigint, text, text[], text[], text[], bigint[], bigint[], timestamptz[]) IS
'Takes over cancellations of a channel, one element for each line: p_references are their own numbers, all lines of one in one call; quantities and unit prices are positive. Each line is matched to one line of an earlier order of the same customer and SKU that has so many units, and its payment so much money, left: at the same price if there is one, else the latest. Units return to stock, the money is refunded. Verdicts, in order: returned; known (imported before; nothing changes); else why not: HS310 unknown code, HS312 no such sale, HS307 more than is left of it, HF030 more money than it was sold for, or than is left, HS010 missing, HS012, HS014 out of range. Raises for the call as a whole: HS004, HS012 channel, HF005 arrays, 40001 try again.';

RESET ROLE;
SELECT holdfast.add_provider('external');

COMMIT;

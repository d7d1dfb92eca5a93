-- Deploy shop:sale_state to pg
-- requires: sale
-- requires: order_status
--
-- The life of a sale: draft, scheduled, open, sold out, closed. All of it follows from the clock, from what a merchant
-- has done (preheated_at, closed_at) and from the units that are left. Preheating moves the slice of stock from the SKU to
-- the sale, closing moves what is left back, and each is one transaction, so that the units of the two together are the
-- same before and after, whatever happens in between.
--
-- Locks: the sale's row, then units of sales by id, then units of SKUs by id. Buyers lock no sale's row: whoever was
-- let in before it closed has finished before set_lanes() gives closing the lanes, or finds nothing.

BEGIN;
SET LOCAL ROLE shop_owner;

ALTER TABLE shop.sale
    ADD COLUMN swept_at timestamptz,
    ADD COLUMN settled_at timestamptz,
    ADD CONSTRAINT sale_settled_check CHECK (settled_at IS NULL OR closed_at IS NOT NULL);
COMMENT ON COLUMN shop.sale.closed_at IS 'When it was closed: by its merchant, or by the first sweep after its end; NULL until then.';
COMMENT ON COLUMN shop.sale.swept_at IS 'When leftover stock was last looked for.';
COMMENT ON COLUMN shop.sale.settled_at IS 'When all of its units were sold or back at the SKU; NULL again when an order of the sale gives some back.';
CREATE INDEX sale_unsettled_idx ON shop.sale (ends_at) WHERE settled_at IS NULL;
CREATE INDEX sale_merchant_ends_idx ON shop.sale (merchant_id, ends_at, id);

INSERT INTO shop.problem (code, status, name, title) VALUES
    ('HS401', 409, 'sale_not_open', 'the sale is not open yet'),
    ('HS402', 410, 'sale_closed', 'the sale is over'),
    ('HS403', 410, 'sold_out', 'everything is sold, for the moment'),
    ('HS404', 409, 'limit_reached', 'the account may not buy more in this sale'),
    ('HS405', 429, 'too_many_tickets', 'there are as many tickets out as there may be'),
    ('HS406', 409, 'sale_not_draft', 'the sale is not a draft any more');

CREATE FUNCTION shop.sale_state(p_preheated_at timestamptz, p_closed_at timestamptz, p_starts_at timestamptz, p_ends_at timestamptz,
                                p_now timestamptz, p_available bigint) RETURNS text
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
        SELECT CASE WHEN p_closed_at IS NOT NULL OR p_now >= p_ends_at THEN 'closed'
                    WHEN p_preheated_at IS NULL THEN 'draft'
                    WHEN p_now < p_starts_at THEN 'scheduled'
                    WHEN p_available > 0 THEN 'open'
                    ELSE 'sold_out' END;
    END;
COMMENT ON FUNCTION shop.sale_state(timestamptz, timestamptz, timestamptz, timestamptz, timestamptz, bigint) IS
'The state of a sale at a time, with so many units available: draft until preheated, scheduled until it starts, open while there are units, sold_out while there are none (a hold that expires opens it again), closed from its end or its closing.';

CREATE VIEW shop.sale_now AS
SELECT s.id, s.merchant_id, s.sku_id, s.price, s.currency, s.quantity, s.starts_at, s.ends_at, s.per_account_limit, s.ticket_quota, s.version,
       s.preheated_at, s.closed_at, s.settled_at, n.now, n.available,
       shop.sale_state(s.preheated_at, s.closed_at, s.starts_at, s.ends_at, n.now, n.available) AS state
FROM shop.sale AS s
CROSS JOIN LATERAL (
    SELECT c.now, CASE WHEN s.preheated_at IS NULL OR s.closed_at IS NOT NULL OR c.now >= s.ends_at THEN 0
                       ELSE coalesce(holdfast.available(s.id), 0) END
    FROM (SELECT clock_timestamp() AS now OFFSET 0) AS c) AS n (now, available);
COMMENT ON VIEW shop.sale_now IS 'Sales with their state by the clock (column now). available: units that can be bought, 0 for drafts and once closed.';

CREATE FUNCTION shop.sale_refusal(p_state text) RETURNS text
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
        SELECT CASE p_state WHEN 'open' THEN NULL WHEN 'closed' THEN 'HS402' WHEN 'sold_out' THEN 'HS403' ELSE 'HS401' END;
    END;
COMMENT ON FUNCTION shop.sale_refusal(text) IS 'The code with which a sale in this state refuses buyers; NULL for one that is open.';

CREATE FUNCTION shop.check_sale(p_price bigint, p_quantity bigint, p_starts_at timestamptz, p_ends_at timestamptz, p_limit bigint) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_price NOT BETWEEN 1 AND 1000000000000 THEN
        PERFORM shop.refuse('HS014', '/price', 'wanted: 1 to 1000000000000');
    ELSIF p_quantity NOT BETWEEN 1 AND 1000000000 THEN
        PERFORM shop.refuse('HS014', '/quantity', 'wanted: 1 to 1000000000');
    ELSIF p_limit NOT BETWEEN 1 AND 1000 THEN
        PERFORM shop.refuse('HS014', '/per_account_limit', 'wanted: 1 to 1000');
    ELSIF p_ends_at <= p_starts_at THEN
        PERFORM shop.refuse('HS015', '/ends_at', 'wanted: a time after starts_at');
    ELSIF p_ends_at <= clock_timestamp() THEN
        PERFORM shop.refuse('HS015', '/ends_at', 'wanted: a time to come');
    END IF;
END $$;
COMMENT ON FUNCTION shop.check_sale(bigint, bigint, timestamptz, timestamptz, bigint) IS 'Refuses what a sale cannot be. Errors: HS014, HS015.';

CREATE FUNCTION shop.create_sale(p_merchant bigint, p_sku bigint, p_price bigint, p_quantity bigint, p_starts_at timestamptz, p_ends_at timestamptz,
                                 p_limit bigint, p_ticket_factor integer DEFAULT 3) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_sku shop.sku;
    v_id bigint;
BEGIN
    PERFORM shop.check_sale(p_price, p_quantity, p_starts_at, p_ends_at, p_limit);
    SELECT * INTO v_sku FROM shop.sku AS k WHERE k.id = p_sku;
    IF NOT FOUND OR v_sku.merchant_id <> p_merchant
       AND NOT EXISTS (SELECT FROM shop.product AS p WHERE p.id = v_sku.product_id AND p.published_at IS NOT NULL) THEN
        PERFORM shop.refuse('HS004', '/sku_id');
    ELSIF v_sku.merchant_id <> p_merchant THEN
        PERFORM shop.refuse('HS003', '/sku_id', 'it is another merchant''s');
    ELSIF v_sku.deleted_at IS NOT NULL THEN
        PERFORM shop.refuse('HS005', '/sku_id');
    END IF;
    INSERT INTO shop.sale (merchant_id, sku_id, price, currency, quantity, starts_at, ends_at, per_account_limit, ticket_quota)
    VALUES (p_merchant, p_sku, p_price, v_sku.currency, p_quantity, p_starts_at, p_ends_at, p_limit, p_quantity * greatest(p_ticket_factor, 1))
    RETURNING id INTO v_id;
    RETURN v_id;
END $$;
COMMENT ON FUNCTION shop.create_sale(bigint, bigint, bigint, bigint, timestamptz, timestamptz, bigint, integer) IS
'A new sale of a merchant''s SKU, a draft, and returns its id. p_price in minor units of the SKU''s currency, p_limit units for each account, p_quantity x p_ticket_factor tickets at a time. Errors: HS003 another merchant''s SKU, HS004 no SKU, or of another''s draft, HS005 a deleted one, HS014, HS015.';

CREATE FUNCTION shop.update_sale(p_sale bigint, p_version integer, p_price bigint, p_quantity bigint, p_starts_at timestamptz, p_ends_at timestamptz,
                                 p_limit bigint, p_ticket_factor integer DEFAULT 3) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.check_sale(p_price, p_quantity, p_starts_at, p_ends_at, p_limit);
    UPDATE shop.sale AS s
    SET price = p_price, quantity = p_quantity, starts_at = p_starts_at, ends_at = p_ends_at, per_account_limit = p_limit,
        ticket_quota = p_quantity * greatest(p_ticket_factor, 1), version = s.version + 1
    WHERE s.id = p_sale AND s.version = p_version AND s.preheated_at IS NULL AND s.closed_at IS NULL;
    IF NOT FOUND THEN
        PERFORM shop.refuse(CASE WHEN s.preheated_at IS NULL AND s.closed_at IS NULL THEN 'HS006' ELSE 'HS406' END) FROM shop.sale AS s WHERE s.id = p_sale;
        PERFORM shop.refuse('HS004');
    END IF;
END $$;
COMMENT ON FUNCTION shop.update_sale(bigint, integer, bigint, bigint, timestamptz, timestamptz, bigint, integer) IS
'Changes a draft, if it still has the version. Once preheated a sale is a promise, and can only be closed. Errors: HS004, HS006 it has another version, HS406 no draft, HS014, HS015.';

CREATE FUNCTION shop.sale_lanes(p_quantity bigint) RETURNS integer
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT greatest(1, least(64, current_setting('holdfast.lane_max', true)::integer, p_quantity / 64))::integer;
    END;
COMMENT ON FUNCTION shop.sale_lanes(bigint) IS 'Over how many lanes a sale of so many units is spread: one for 64 units, at most 64. Contention makes more by itself.';

CREATE FUNCTION shop.sale_checks(p_sale bigint) RETURNS TABLE (name text, ok boolean, detail text)
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT c.name, c.ok, c.detail
        FROM shop.sale_now AS s
        JOIN shop.sku AS k ON k.id = s.sku_id
        JOIN shop.product AS p ON p.id = k.product_id
        LEFT JOIN holdfast.stock AS t ON t.sku = s.id
        CROSS JOIN LATERAL (VALUES
            (1, 'stock', coalesce(t.available + t.held + t.sold, 0) = s.quantity AND s.preheated_at IS NOT NULL,
                format('%s of %s units', coalesce(t.available + t.held + t.sold, 0), s.quantity)),
            (2, 'lanes', coalesce(t.lanes, 0) >= shop.sale_lanes(s.quantity), format('%s lanes', coalesce(t.lanes, 0))),
            (3, 'window', s.now < s.ends_at AND s.closed_at IS NULL,
                format('%s to %s', shop.json_time(s.starts_at), shop.json_time(s.ends_at))),
            (4, 'product', p.published_at IS NOT NULL AND p.deleted_at IS NULL AND k.deleted_at IS NULL,
                CASE WHEN p.deleted_at IS NOT NULL OR k.deleted_at IS NOT NULL THEN 'deleted'
                     WHEN p.published_at IS NULL THEN 'not published' ELSE 'published' END),
            (5, 'price', s.price < k.price AND s.currency = k.currency, format('%s instead of %s %s', s.price, k.price, s.currency))
        ) AS c (n, name, ok, detail)
        WHERE s.id = p_sale
        ORDER BY c.n;
    END;
COMMENT ON FUNCTION shop.sale_checks(bigint) IS 'Whether a sale is ready: one row for each thing that has to be right.';

CREATE FUNCTION shop.preheat_sale(p_sale bigint) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_sale shop.sale;
    v_lanes integer;
BEGIN
    SELECT * INTO v_sale FROM shop.sale AS s WHERE s.id = p_sale FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS004');
    ELSIF v_sale.closed_at IS NOT NULL OR v_sale.ends_at <= clock_timestamp() THEN
        PERFORM shop.refuse('HS402');
    END IF;
    IF v_sale.preheated_at IS NULL THEN
        IF EXISTS (SELECT FROM shop.sku AS k JOIN shop.product AS p ON p.id = k.product_id
                   WHERE k.id = v_sale.sku_id AND (k.deleted_at IS NOT NULL OR p.deleted_at IS NOT NULL)) THEN
            PERFORM shop.refuse('HS005', NULL, 'its SKU is deleted');
        END IF;
        PERFORM holdfast.adjust(v_sale.sku_id, -v_sale.quantity, format('to sale %s', p_sale));
        PERFORM holdfast.receive(p_sale, v_sale.quantity, format('from SKU %s', v_sale.sku_id));
        UPDATE shop.sale AS s SET preheated_at = clock_timestamp(), version = s.version + 1 WHERE s.id = p_sale;
    END IF;
    v_lanes := shop.sale_lanes(v_sale.quantity);
    IF (SELECT t.lanes FROM holdfast.stock AS t WHERE t.sku = p_sale) < v_lanes THEN
        PERFORM holdfast.set_lanes(p_sale, v_lanes);
    END IF;
END $$;
COMMENT ON FUNCTION shop.preheat_sale(bigint) IS
'Takes the sale''s slice out of the SKU''s stock and spreads it over lanes. Doing it again moves nothing. Errors: HS004, HS005 the SKU is deleted, HS402 it is over, HF002 and HF012 the SKU has not so many units.';

-- Moves what is left of closed sales back to their SKUs. The caller has locked the sales' rows and closed them. All units
-- leave the sales before any arrives at a SKU, each in ascending order, so that nobody who buys several SKUs is met head-on.
CREATE FUNCTION shop.return_leftovers(p_sales bigint[]) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_sale bigint;
    v_left bigint;
    v_sales bigint[] := ARRAY[]::bigint[];
    v_units bigint[] := ARRAY[]::bigint[];
    v_total bigint := 0;
    v_back record;
BEGIN
    FOR v_sale IN SELECT DISTINCT u.id FROM unnest(p_sales) AS u (id) ORDER BY u.id LOOP
        -- With all lanes in hand nobody takes units any more; whoever is at the stock for too long is left to the next sweep.
        BEGIN
            PERFORM holdfast.set_lanes(v_sale, 1);
            v_left := holdfast.available(v_sale);
            IF v_left > 0 THEN
                PERFORM holdfast.adjust(v_sale, -v_left, 'sale closed');
            END IF;
            v_sales := v_sales || v_sale;
            v_units := v_units || v_left;
        EXCEPTION WHEN SQLSTATE 'HF012' OR lock_not_available THEN
            NULL;
        END;
    END LOOP;
    FOR v_back IN
        SELECT s.sku_id, u.units, u.sale FROM unnest(v_sales, v_units) AS u (sale, units) JOIN shop.sale AS s ON s.id = u.sale
        WHERE u.units > 0 ORDER BY s.sku_id, u.sale
    LOOP
        PERFORM holdfast.adjust(v_back.sku_id, v_back.units, format('from sale %s', v_back.sale));
        v_total := v_total + v_back.units;
    END LOOP;
    UPDATE shop.sale AS s
    SET swept_at = clock_timestamp(), settled_at = CASE WHEN t.held = 0 AND t.available = 0 THEN clock_timestamp() END
    FROM holdfast.stock AS t
    WHERE s.id = ANY (v_sales) AND t.sku = ANY (v_sales) AND t.sku = s.id;
    UPDATE shop.sale AS s SET swept_at = clock_timestamp() WHERE s.id = ANY (p_sales) AND s.id <> ALL (v_sales);
    RETURN v_total;
END $$;
COMMENT ON FUNCTION shop.return_leftovers(bigint[]) IS
'Moves the units that are available in closed sales back to their SKUs, and returns their number; a sale of which nothing is held either is settled. For close_sale() and close_sales(), which hold the rows of the sales.';

CREATE FUNCTION shop.sales_ended(p_sales bigint[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.enqueue('sale_ended', jsonb_build_object('sale_id', s.id::text), 'sale_ended:' || s.id)
    FROM (SELECT n.id FROM shop.sale AS n WHERE n.id = ANY (p_sales) AND n.preheated_at IS NOT NULL ORDER BY n.id) AS s;
END $$;
COMMENT ON FUNCTION shop.sales_ended(bigint[]) IS
'Puts a job sale_ended into the queue for each of these sales, which have just been closed; a draft was no sale. For close_sale() and close_sales(), once a sale.';

CREATE FUNCTION shop.close_sale(p_sale bigint) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_sale shop.sale;
BEGIN
    SELECT * INTO v_sale FROM shop.sale AS s WHERE s.id = p_sale FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM shop.refuse('HS004');
    END IF;
    IF v_sale.closed_at IS NULL THEN
        UPDATE shop.sale AS s
        SET closed_at = clock_timestamp(), settled_at = CASE WHEN s.preheated_at IS NULL THEN clock_timestamp() END, version = s.version + 1
        WHERE s.id = p_sale;
        PERFORM shop.sales_ended(ARRAY[p_sale]);
    END IF;
    IF v_sale.preheated_at IS NULL OR v_sale.settled_at IS NOT NULL THEN
        RETURN 0;
    END IF;
    RETURN shop.return_leftovers(ARRAY[p_sale]);
END $$;
COMMENT ON FUNCTION shop.close_sale(bigint) IS
'Closes a sale now, whatever its state, and moves what is available back to its SKU; what is held comes back later, by close_sales(). Returns the units moved. Doing it again moves what has become available. Errors: HS004.';

CREATE FUNCTION shop.close_sales(p_limit integer DEFAULT 100, p_settled boolean DEFAULT false) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_sales bigint[];
    v_ended bigint[];
BEGIN
    SELECT array_agg(d.id) INTO v_sales
    FROM (SELECT s.id FROM shop.sale AS s
          WHERE (s.settled_at IS NULL AND (s.closed_at IS NOT NULL OR s.ends_at <= clock_timestamp()))
             OR (p_settled AND s.settled_at IS NOT NULL AND s.preheated_at IS NOT NULL AND holdfast.available(s.id) > 0)
          ORDER BY s.swept_at NULLS FIRST, s.id LIMIT p_limit FOR UPDATE SKIP LOCKED) AS d;
    IF v_sales IS NULL THEN
        RETURN 0;
    END IF;
    WITH ended AS (
        UPDATE shop.sale AS s
        SET closed_at = clock_timestamp(), settled_at = CASE WHEN s.preheated_at IS NULL THEN clock_timestamp() END, version = s.version + 1
        WHERE s.id = ANY (v_sales) AND s.closed_at IS NULL RETURNING s.id)
    SELECT array_agg(e.id) INTO v_ended FROM ended AS e;
    PERFORM shop.sales_ended(v_ended);
    RETURN shop.return_leftovers(ARRAY(SELECT s.id FROM shop.sale AS s WHERE s.id = ANY (v_sales) AND s.preheated_at IS NOT NULL ORDER BY s.id));
END $$;
COMMENT ON FUNCTION shop.close_sales(integer, boolean) IS
'A sweep: closes up to p_limit sales whose end has passed and moves their leftover units back to their SKUs; also units that have come back to sales closed before, from holds that expired, cancelled orders and returns. p_settled: looks at sales that were settled too, for units that came back without a word to the shop. Returns the units moved. May be called at any time, by several at once: nobody waits for a sale''s row.';

CREATE OR REPLACE FUNCTION shop.units_returned(p_stocks bigint[], p_quantities bigint[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Whoever has locked the sale is about to look at its units, and waits for those that come back here.
    UPDATE shop.sale AS s SET settled_at = NULL
    FROM (SELECT z.id FROM shop.sale AS z WHERE z.id IN (SELECT u.id FROM unnest(p_stocks, p_quantities) AS u (id, units) WHERE u.units > 0)
            AND z.settled_at IS NOT NULL ORDER BY z.id FOR NO KEY UPDATE SKIP LOCKED) AS d
    WHERE s.id = d.id;
END $$;
COMMENT ON FUNCTION shop.units_returned(bigint[], bigint[]) IS 'Called with units that came back to slices of sales: close_sales() has to look there again.';

COMMIT;

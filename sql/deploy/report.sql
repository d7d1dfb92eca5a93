-- Deploy shop:report to pg
-- requires: sale_purchase
-- requires: order_import
--
-- Reports: views for people with a BI tool, and the row-level security that decides which merchants a reader sees. Whatever is called report_* is stable: columns are added at the end, and none is
-- renamed.
--
-- A reader is a login that has been granted shop_report, and nothing else. The views belong to shop_reporter, who is not
-- the owner of the tables: row-level security applies to him, and its policies ask for current_user, which in a view is
-- the reader. So what he may see is decided at the tables, in one place (shop.reader_scope). Views are security barriers:
-- no function in a reader's query sees a row before the policies have. A line of an order has no merchant; it is
-- read joined with its order only. Money is in minor units, and never summed over currencies; days are those of UTC.

BEGIN;

-- What the owner of the views may read of the extension.
GRANT USAGE ON SCHEMA holdfast TO shop_reporter;
GRANT SELECT (sku, available, held, sold, received) ON holdfast.stock TO shop_reporter;
GRANT SELECT (account_id, payment, refunded) ON holdfast.payments TO shop_reporter;

SET LOCAL ROLE shop_owner;

-- Readers.
CREATE TABLE shop.report_reader (
    role_name   name   NOT NULL,
    merchant_id bigint,
    CONSTRAINT report_reader_key UNIQUE NULLS NOT DISTINCT (role_name, merchant_id),
    CONSTRAINT report_reader_merchant_fkey FOREIGN KEY (merchant_id) REFERENCES shop.merchant (id)
);
COMMENT ON TABLE shop.report_reader IS 'Which login sees which merchant in the report views.';
COMMENT ON COLUMN shop.report_reader.merchant_id IS 'NULL: all of them.';

CREATE FUNCTION shop.add_report_reader(p_role name, p_merchant bigint) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = p_role) THEN
        PERFORM shop.refuse('HS004', '/role', 'there is no such role');
    ELSIF p_merchant IS NOT NULL AND NOT EXISTS (SELECT FROM shop.merchant AS m WHERE m.id = p_merchant) THEN
        PERFORM shop.refuse('HS004', '/merchant', 'there is no such merchant');
    END IF;
    IF NOT pg_has_role(p_role, 'shop_report', 'MEMBER') THEN
        EXECUTE format('GRANT shop_report TO %I', p_role);
    END IF;
    INSERT INTO shop.report_reader (role_name, merchant_id) VALUES (p_role, p_merchant) ON CONFLICT DO NOTHING;
END $$;
COMMENT ON FUNCTION shop.add_report_reader(name, bigint) IS
'Lets a login read the report views of a merchant; NULL: of all. Calling again adds a merchant. For who may grant shop_report. Errors: HS004 no such role or merchant, 42501.';

CREATE FUNCTION shop.remove_report_reader(p_role name, p_merchant bigint DEFAULT NULL) RETURNS bigint
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        WITH gone AS (
            DELETE FROM shop.report_reader AS r
            WHERE r.role_name = p_role AND (p_merchant IS NULL OR r.merchant_id = p_merchant) RETURNING 1)
        SELECT count(*) FROM gone;
    END;
COMMENT ON FUNCTION shop.remove_report_reader(name, bigint) IS
'Ends what add_report_reader() began, for a merchant, or with NULL altogether: the login sees no rows any more. Returns how many entries there were. To be called before a role is dropped, for the next one of its name would see what it saw.';

-- Whoever owns the tables, or is a superuser, sees all of them anyhow.
CREATE VIEW shop.reader_scope AS
    SELECT r.merchant_id FROM shop.report_reader AS r WHERE r.role_name = current_user
    UNION ALL
    SELECT NULL WHERE pg_has_role(current_user, 'shop_owner', 'USAGE');
COMMENT ON VIEW shop.reader_scope IS 'The merchants that who asks may see; NULL: all.';

-- The span is there for the planner: with it a policy is a range of an index, which for one merchant is his rows.
CREATE VIEW shop.reader_span AS
    SELECT count(*) > count(s.merchant_id) AS is_all,
           CASE WHEN count(*) > count(s.merchant_id) THEN 0 ELSE min(s.merchant_id) END AS first,
           CASE WHEN count(*) > count(s.merchant_id) THEN 9223372036854775807 ELSE max(s.merchant_id) END AS last
    FROM shop.reader_scope AS s;
COMMENT ON VIEW shop.reader_span IS 'The same as one row: whether all, and between which ids.';

DO $$
DECLARE
    v_table record;
BEGIN
    FOR v_table IN SELECT * FROM (VALUES ('merchant', 'id'), ('product', 'merchant_id'), ('sku', 'merchant_id'),
                                         ('order', 'merchant_id'), ('sale', 'merchant_id')) AS t (name, merchant) LOOP
        EXECUTE format('ALTER TABLE shop.%I ENABLE ROW LEVEL SECURITY', v_table.name);
        EXECUTE format('CREATE POLICY %2$I ON shop.%1$I FOR SELECT TO shop_reporter USING (
                %3$I BETWEEN (SELECT s.first FROM shop.reader_span AS s) AND (SELECT s.last FROM shop.reader_span AS s)
            AND ((SELECT s.is_all FROM shop.reader_span AS s) OR %3$I IN (SELECT s.merchant_id FROM shop.reader_scope AS s)))',
            v_table.name, v_table.name || '_reader', v_table.merchant);
    END LOOP;
END $$;

GRANT SELECT (id, name) ON shop.merchant TO shop_reporter;
GRANT SELECT (id, merchant_id, title) ON shop.product TO shop_reporter;
GRANT SELECT (id, product_id, merchant_id, code, price, currency, deleted_at) ON shop.sku TO shop_reporter;
GRANT SELECT (account_id, id, merchant_id, placed_at, sale_id, status, currency, channel, country) ON shop.order TO shop_reporter;
GRANT SELECT (account_id, order_id, line, sku_id, product_id, quantity, unit_price, amount, returned, code) ON shop.order_line TO shop_reporter;
GRANT SELECT (id, merchant_id, sku_id, price, currency, quantity, starts_at, ends_at, preheated_at, settled_at) ON shop.sale TO shop_reporter;
GRANT SELECT (sale_id, tickets) ON shop.sale_counter TO shop_reporter;
GRANT SELECT (account_id, order_id, payment_id) ON shop.order_payment TO shop_reporter;
GRANT SELECT ON shop.refusal, shop.report_reader, shop.reader_scope, shop.reader_span TO shop_reporter;

-- The views. What is or was paid is sold; an order that was cancelled never was.
CREATE VIEW shop.report_orders WITH (security_barrier) AS
    SELECT o.id AS order_id, o.placed_at, timezone('UTC', o.placed_at)::date AS day, o.merchant_id, m.name AS merchant, o.sale_id,
           o.channel, o.country, o.status, o.currency, o.units, o.returned_units, o.gross, o.returned, o.gross - o.returned AS net,
           coalesce(p.refunded, 0) AS refunded
    FROM (SELECT o.account_id, o.id, o.placed_at, o.merchant_id, o.sale_id, o.channel, o.country, o.status, o.currency,
                 sum(l.quantity) AS units, sum(l.returned) AS returned_units, sum(l.amount) AS gross,
                 sum(l.returned::numeric * l.unit_price) AS returned
          FROM shop.order AS o JOIN shop.order_line AS l ON l.account_id = o.account_id AND l.order_id = o.id
          WHERE o.status IN ('paid', 'shipped', 'completed', 'returned')
          GROUP BY o.account_id, o.id) AS o
    JOIN shop.merchant AS m ON m.id = o.merchant_id
    LEFT JOIN (SELECT a.account_id, a.order_id, sum(p.refunded) AS refunded
               FROM shop.order_payment AS a JOIN holdfast.payments AS p ON p.account_id = a.account_id AND p.payment = a.payment_id
               WHERE p.refunded > 0 GROUP BY a.account_id, a.order_id) AS p ON p.account_id = o.account_id AND p.order_id = o.id;
COMMENT ON VIEW shop.report_orders IS 'Every order that is or was paid.';

CREATE VIEW shop.report_order_lines WITH (security_barrier) AS
    SELECT o.id AS order_id, l.line, o.placed_at, timezone('UTC', o.placed_at)::date AS day, o.merchant_id, m.name AS merchant, o.sale_id,
           o.country, l.product_id, p.title AS product, l.sku_id, l.code, o.currency, l.unit_price, l.quantity AS units,
           l.returned AS returned_units, l.amount::numeric AS gross, l.returned::numeric * l.unit_price AS returned,
           l.amount - l.returned::numeric * l.unit_price AS net
    FROM shop.order AS o
    JOIN shop.order_line AS l ON l.account_id = o.account_id AND l.order_id = o.id
    JOIN shop.merchant AS m ON m.id = o.merchant_id
    JOIN shop.product AS p ON p.id = l.product_id
    WHERE o.status IN ('paid', 'shipped', 'completed', 'returned');
COMMENT ON VIEW shop.report_order_lines IS 'Every line of every order that is or was paid. The product has the title of today.';

CREATE VIEW shop.report_sales_by_day WITH (security_barrier) AS
    SELECT o.day, o.merchant_id, o.merchant, o.currency, count(*) AS orders, sum(o.units) AS units, sum(o.returned_units) AS returned_units,
           sum(o.gross) AS gross, sum(o.returned) AS returned, sum(o.net) AS net, sum(o.refunded) AS refunded
    FROM shop.report_orders AS o GROUP BY o.day, o.merchant_id, o.merchant, o.currency;
COMMENT ON VIEW shop.report_sales_by_day IS 'Sales by the day on which they were ordered. What came back later, or was refunded, counts for that day too.';

CREATE VIEW shop.report_sales_by_merchant WITH (security_barrier) AS
    SELECT o.merchant_id, o.merchant, o.currency, count(*) AS orders, sum(o.units) AS units, sum(o.returned_units) AS returned_units,
           sum(o.gross) AS gross, sum(o.returned) AS returned, sum(o.net) AS net, sum(o.refunded) AS refunded,
           min(o.placed_at) AS first_placed_at, max(o.placed_at) AS last_placed_at
    FROM shop.report_orders AS o GROUP BY o.merchant_id, o.merchant, o.currency;
COMMENT ON VIEW shop.report_sales_by_merchant IS 'Sales by merchant.';

CREATE VIEW shop.report_sales_by_country WITH (security_barrier) AS
    SELECT o.country, o.merchant_id, o.merchant, o.currency, count(*) AS orders, sum(o.units) AS units, sum(o.returned_units) AS returned_units,
           sum(o.gross) AS gross, sum(o.returned) AS returned, sum(o.net) AS net, sum(o.refunded) AS refunded
    FROM shop.report_orders AS o GROUP BY o.country, o.merchant_id, o.merchant, o.currency;
COMMENT ON VIEW shop.report_sales_by_country IS 'Sales by the country that the order names.';

CREATE VIEW shop.report_sales_by_product WITH (security_barrier) AS
    SELECT l.product_id, l.product, l.merchant_id, l.merchant, l.currency, count(*) AS orders, sum(l.units) AS units,
           sum(l.returned_units) AS returned_units, sum(l.gross) AS gross, sum(l.returned) AS returned, sum(l.net) AS net
    FROM (SELECT l.order_id, l.product_id, l.product, l.merchant_id, l.merchant, l.currency, sum(l.units) AS units,
                 sum(l.returned_units) AS returned_units, sum(l.gross) AS gross, sum(l.returned) AS returned, sum(l.net) AS net
          FROM shop.report_order_lines AS l
          GROUP BY l.order_id, l.product_id, l.product, l.merchant_id, l.merchant, l.currency) AS l
    GROUP BY l.product_id, l.product, l.merchant_id, l.merchant, l.currency;
COMMENT ON VIEW shop.report_sales_by_product IS 'Sales by product.';

CREATE VIEW shop.report_best_sellers WITH (security_barrier) AS
    SELECT s.merchant_id, s.merchant, s.currency, rank() OVER (PARTITION BY s.merchant_id, s.currency ORDER BY s.units DESC) AS place,
           rank() OVER (PARTITION BY s.merchant_id, s.currency ORDER BY s.net DESC) AS place_by_net,
           s.sku_id, k.code, s.product_id, s.product, s.units, s.net, s.units_30_days
    FROM (SELECT l.merchant_id, l.merchant, l.currency, l.sku_id, l.product_id, l.product, sum(l.units - l.returned_units) AS units,
                 sum(l.net) AS net, coalesce(sum(l.units - l.returned_units) FILTER (WHERE l.placed_at > now() - interval '30 days'), 0) AS units_30_days
          FROM shop.report_order_lines AS l
          GROUP BY l.merchant_id, l.merchant, l.currency, l.sku_id, l.product_id, l.product) AS s
    JOIN shop.sku AS k ON k.id = s.sku_id;
COMMENT ON VIEW shop.report_best_sellers IS 'SKUs by what was sold of them and did not come back, for each merchant and currency.';

-- Units of a sale lie under its own id until it is closed, and are worth what the SKU costs otherwise.
CREATE VIEW shop.report_stock_value WITH (security_barrier) AS
    SELECT k.merchant_id, m.name AS merchant, k.id AS sku_id, k.code, k.product_id, p.title AS product, k.currency, k.price,
           s.available, s.held, coalesce(z.units, 0)::bigint AS in_sales, s.available + s.held + coalesce(z.units, 0)::bigint AS units,
           (s.available + s.held + coalesce(z.units, 0)) * k.price::numeric AS value
    FROM shop.sku AS k
    JOIN shop.merchant AS m ON m.id = k.merchant_id
    JOIN shop.product AS p ON p.id = k.product_id
    JOIN holdfast.stock AS s ON s.sku = k.id
    LEFT JOIN (SELECT z.sku_id, sum(s.available + s.held) AS units FROM shop.sale AS z JOIN holdfast.stock AS s ON s.sku = z.id
               WHERE z.preheated_at IS NOT NULL AND z.settled_at IS NULL GROUP BY z.sku_id) AS z ON z.sku_id = k.id;
COMMENT ON VIEW shop.report_stock_value IS 'Units in the house and what they are worth at today''s price, for each SKU that was ever received.';

CREATE VIEW shop.report_stock_value_by_merchant WITH (security_barrier) AS
    SELECT s.merchant_id, s.merchant, s.currency, count(*) AS skus, sum(s.available) AS available, sum(s.held) AS held, sum(s.in_sales) AS in_sales,
           sum(s.units) AS units, sum(s.value) AS value
    FROM shop.report_stock_value AS s GROUP BY s.merchant_id, s.merchant, s.currency;
COMMENT ON VIEW shop.report_stock_value_by_merchant IS 'Units in the house and what they are worth, for each merchant and currency.';

CREATE VIEW shop.report_refusals WITH (security_barrier) AS
    SELECT r.day, k.merchant_id, m.name AS merchant, k.id AS sku_id, k.code, k.product_id, p.title AS product, z.id AS sale_id,
           sum(r.refusals) AS refusals
    FROM shop.refusal AS r
    LEFT JOIN shop.sale AS z ON z.id = r.stock_id
    JOIN shop.sku AS k ON k.id = coalesce(z.sku_id, r.stock_id)
    JOIN shop.merchant AS m ON m.id = k.merchant_id
    JOIN shop.product AS p ON p.id = k.product_id
    GROUP BY r.day, k.id, m.id, p.id, z.id;
COMMENT ON VIEW shop.report_refusals IS 'How often buyers were refused for lack of stock, by day and SKU, and by sale where it was one''s slice that was short.';

CREATE VIEW shop.report_sale_conversion WITH (security_barrier) AS
    SELECT z.id AS sale_id, z.merchant_id, m.name AS merchant, z.sku_id, k.code, k.product_id, p.title AS product, z.starts_at, z.ends_at,
           z.currency, z.price, z.quantity AS offered, coalesce(c.tickets, 0) AS tickets, coalesce(o.purchases, 0) AS purchases,
           coalesce(o.orders_paid, 0) AS orders_paid, coalesce(o.units, 0) AS units, coalesce(o.units_paid, 0) AS units_paid,
           coalesce(o.gross, 0) AS gross, coalesce(r.refusals, 0) AS refusals, round(coalesce(o.units_paid, 0) / z.quantity, 4) AS share_sold
    FROM shop.sale AS z
    JOIN shop.merchant AS m ON m.id = z.merchant_id
    JOIN shop.sku AS k ON k.id = z.sku_id
    JOIN shop.product AS p ON p.id = k.product_id
    LEFT JOIN shop.sale_counter AS c ON c.sale_id = z.id
    LEFT JOIN (SELECT o.sale_id, count(*) AS purchases, count(*) FILTER (WHERE s.is_paid) AS orders_paid, sum(o.units) AS units,
                      coalesce(sum(o.units) FILTER (WHERE s.is_paid), 0) AS units_paid, coalesce(sum(o.amount) FILTER (WHERE s.is_paid), 0) AS gross
               FROM (SELECT o.account_id, o.id, o.sale_id, o.status, sum(l.quantity) AS units, sum(l.amount) AS amount
                     FROM shop.order AS o JOIN shop.order_line AS l ON l.account_id = o.account_id AND l.order_id = o.id
                     WHERE o.sale_id IS NOT NULL GROUP BY o.account_id, o.id) AS o
               CROSS JOIN LATERAL (SELECT o.status IN ('paid', 'shipped', 'completed', 'returned')) AS s (is_paid)
               GROUP BY o.sale_id) AS o ON o.sale_id = z.id
    LEFT JOIN (SELECT r.stock_id, sum(r.refusals) AS refusals FROM shop.refusal AS r GROUP BY r.stock_id) AS r ON r.stock_id = z.id;
COMMENT ON VIEW shop.report_sale_conversion IS 'What became of the interest in each flash sale: tickets, purchases, payments, units, and refusals because its slice was empty.';

-- A column means the same in every view, but where the view is named.
DO $$
DECLARE
    v_column record;
BEGIN
    FOR v_column IN
        SELECT c.relname, a.attname, (SELECT w.comment FROM (VALUES
            (NULL, 'available', 'Units that can be ordered now.'),
            (NULL, 'channel', 'Where the order comes from, if not from this shop.'),
            (NULL, 'code', 'The merchant''s article number of today.'),
            ('report_order_lines', 'code', 'The merchant''s article number when it was ordered.'),
            (NULL, 'country', 'The country that the order names; NULL if it names none.'),
            (NULL, 'currency', 'ISO 4217.'),
            (NULL, 'day', 'The day in UTC.'),
            (NULL, 'ends_at', 'When the sale ends.'),
            (NULL, 'first_placed_at', 'When the first of the orders was placed.'),
            (NULL, 'gross', 'Price of all that was sold, in minor units of the currency.'),
            (NULL, 'held', 'Units set aside for orders that are not paid yet.'),
            (NULL, 'in_sales', 'Units in the slices of sales, available or held.'),
            (NULL, 'last_placed_at', 'When the last of the orders was placed.'),
            (NULL, 'line', 'Number of the line in the order.'),
            (NULL, 'merchant', 'Name of the merchant.'),
            (NULL, 'merchant_id', 'Id of the merchant.'),
            (NULL, 'net', 'Gross less returned, in minor units of the currency.'),
            (NULL, 'offered', 'Units that the sale offers.'),
            (NULL, 'order_id', 'Id of the order.'),
            (NULL, 'orders', 'Number of orders.'),
            (NULL, 'orders_paid', 'Orders of the sale that are or were paid.'),
            (NULL, 'place', 'Rank by units, for the merchant and the currency; equals share one.'),
            (NULL, 'place_by_net', 'Rank by net, likewise.'),
            (NULL, 'placed_at', 'When the order was placed.'),
            (NULL, 'price', 'Price of a unit, in minor units of the currency.'),
            (NULL, 'product', 'Title of the product of today.'),
            (NULL, 'product_id', 'Id of the product.'),
            (NULL, 'purchases', 'Orders of the sale, whatever became of them.'),
            (NULL, 'refunded', 'Money that has gone back to the buyers of these orders, for returns or otherwise, in minor units of the currency.'),
            (NULL, 'refusals', 'How often somebody was refused for lack of stock.'),
            (NULL, 'returned', 'Price of the units that came back, in minor units of the currency.'),
            (NULL, 'returned_units', 'Units that came back.'),
            (NULL, 'sale_id', 'Id of the flash sale; NULL: none.'),
            (NULL, 'share_sold', 'Units paid for each unit offered, 0 to 1.'),
            (NULL, 'sku_id', 'Id of the SKU.'),
            (NULL, 'skus', 'Number of SKUs.'),
            (NULL, 'starts_at', 'When the sale begins.'),
            (NULL, 'status', 'Status of the order.'),
            (NULL, 'tickets', 'Tickets issued, as far as the application has told.'),
            (NULL, 'unit_price', 'Price of a unit as it was agreed, in minor units of the currency.'),
            (NULL, 'units', 'Units sold.'),
            ('report_best_sellers', 'units', 'Units sold, less those that came back.'),
            ('report_best_sellers', 'units_30_days', 'The same, of orders of the last 30 days.'),
            ('report_sale_conversion', 'units', 'Units of all purchases.'),
            (NULL, 'units_paid', 'Units of the orders that are or were paid.'),
            ('report_stock_value', 'units', 'Units in the house: available, held and in sales.'),
            ('report_stock_value_by_merchant', 'units', 'Units in the house: available, held and in sales.'),
            (NULL, 'value', 'Units at the price of today, in minor units of the currency.')) AS w (view, name, comment)
            WHERE w.name = a.attname AND coalesce(w.view, c.relname) = c.relname ORDER BY w.view LIMIT 1) AS comment
        FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.relnamespace = 'shop'::regnamespace AND c.relkind = 'v' AND c.relname ~ '^report_(order|sale|best_sellers|stock_value|refusals)' LOOP
        EXECUTE format('COMMENT ON COLUMN shop.%I.%I IS %L', v_column.relname, v_column.attname, v_column.comment);
    END LOOP;
END $$;

-- The owner of the views is given to them by who deploys: shop_owner is not a member of shop_reporter.
RESET ROLE;
DO $$
DECLARE
    v_view regclass;
BEGIN
    FOR v_view IN SELECT c.oid FROM pg_catalog.pg_class AS c
                  WHERE c.relnamespace = 'shop'::regnamespace AND c.relkind = 'v' AND c.relname ~ '^report_(order|sale|best_sellers|stock_value|refusals)' LOOP
        EXECUTE format('ALTER VIEW %s OWNER TO shop_reporter', v_view);
        EXECUTE format('GRANT SELECT ON %s TO shop_report, shop_owner', v_view);
    END LOOP;
END $$;

COMMIT;

-- Reports against numbers computed by hand: two merchants, two currencies, orders in every state, returns and refunds.
\ir include/begin.sql
SELECT plan(29);

-- An order whose lines are given as {code, quantity, returned} of the merchant's SKUs, with what was agreed.
CREATE FUNCTION sold(p_merchant text, p_status text, p_at timestamptz, p_country text, p_lines text[], p_sale bigint DEFAULT NULL) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_id CONSTANT uuid := holdfast.uuid7();
BEGIN
    INSERT INTO shop.order (account_id, id, merchant_id, total, placed_at, changed_at, expires_at, lines, status, currency, country, sale_id)
    SELECT person('berta'), v_id, merchant(p_merchant), sum(k.price * (l.value::text[])[2]::bigint), p_at, p_at, 'infinity', count(*), p_status,
           min(k.currency), p_country, p_sale
    FROM unnest(p_lines) AS l (value) JOIN shop.sku AS k ON k.merchant_id = merchant(p_merchant) AND k.code = (l.value::text[])[1];
    INSERT INTO shop.order_line (account_id, order_id, sku_id, stock_id, product_id, quantity, unit_price, amount, returned, line, code, title)
    SELECT person('berta'), v_id, k.id, coalesce(p_sale, k.id), k.product_id, (l.value::text[])[2]::bigint, k.price, k.price * (l.value::text[])[2]::bigint,
           (l.value::text[])[3]::bigint, l.n, k.code, 'as it was called then'
    FROM unnest(p_lines) WITH ORDINALITY AS l (value, n) JOIN shop.sku AS k ON k.merchant_id = merchant(p_merchant) AND k.code = (l.value::text[])[1];
    RETURN v_id;
END $$;

-- So many minor units go back of a payment for the order.
CREATE FUNCTION refunded(p_order uuid, p_amount bigint) RETURNS void LANGUAGE sql AS $$
    WITH payment AS (
        INSERT INTO _holdfast.payment (account_id, id, amount, authorized, captured, refunded, created_at, changed_at, state, live, currency, provider, method)
        SELECT o.account_id, holdfast.uuid7(), o.total, o.total, o.total, p_amount, now(), now(), 'q', false, o.currency, 'simulated', 'x'
        FROM shop.order AS o WHERE o.id = p_order RETURNING account_id, id)
    INSERT INTO shop.order_payment (account_id, order_id, payment_id) SELECT account_id, p_order, id FROM payment
$$;

-- The rows of a query in one text.
CREATE FUNCTION rows_of(p_sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_rows text;
BEGIN
    EXECUTE format('SELECT string_agg(r::text, '' '') FROM (%s) AS r', p_sql) INTO v_rows;
    RETURN v_rows;
END $$;

SELECT sku('ann', 'A', 1000, 100), sku('ann', 'B', 250, 10), sku('ann', 'Y', 30, 5, 'JPY'), sku('zoe', 'Z', 700, 7) \g /dev/null
SELECT sold('ann', 'paid', '2026-03-01 23:30:00+00', 'DE', '{"{A,3,0}","{B,4,0}"}') AS o1,
       sold('ann', 'returned', '2026-03-02 00:30:00+00', 'DE', '{"{A,2,2}"}') AS o2,
       sold('ann', 'completed', '2026-03-02 01:30:00+02', 'FR', '{"{B,1,0}","{B,5,3}"}') AS o3,
       sold('ann', 'shipped', '2026-03-02 12:00:00+00', NULL, '{"{Y,7,1}"}') AS o4,
       sold('zoe', 'paid', '2026-03-02 12:00:00+00', 'DE', '{"{Z,1,0}"}') AS o5 \gset
SELECT sold('ann', 'pending_payment', '2026-03-02 12:00:00+00', 'DE', '{"{A,50,0}"}'), sold('ann', 'cancelled', '2026-03-02 12:00:00+00', 'DE', '{"{A,60,0}"}') \g /dev/null
SELECT refunded(:'o2', 2000), refunded(:'o3', 250) \g /dev/null

SELECT is(rows_of($$SELECT day, currency, orders, units, returned_units, gross, returned, net, refunded FROM shop.report_sales_by_day
    WHERE merchant_id = merchant('ann') ORDER BY day, currency$$),
    '(2026-03-01,EUR,2,13,3,5500,750,4750,250) (2026-03-02,EUR,1,2,2,2000,2000,0,2000) (2026-03-02,JPY,1,7,1,210,30,180,0)',
    'sales by day: days are those of UTC, currencies are not mixed, what is not paid is not sold, returns and refunds are counted');
SELECT is(rows_of($$SELECT merchant, currency, orders, units, gross, returned, net, refunded, to_char(first_placed_at AT TIME ZONE 'UTC', 'DD HH24:MI') AS first,
    to_char(last_placed_at AT TIME ZONE 'UTC', 'DD HH24:MI') AS last FROM shop.report_sales_by_merchant ORDER BY merchant, currency$$),
    '("ann & sons",EUR,3,15,7500,2750,4750,2250,"01 23:30","02 00:30") ("ann & sons",JPY,1,7,210,30,180,0,"02 12:00","02 12:00") '
    '("zoe & sons",EUR,1,1,700,0,700,0,"02 12:00","02 12:00")', 'sales by merchant');
SELECT is(rows_of($$SELECT country, merchant, currency, orders, units, gross, net FROM shop.report_sales_by_country ORDER BY country, merchant$$),
    '(DE,"ann & sons",EUR,2,9,6000,4000) (DE,"zoe & sons",EUR,1,1,700,700) (FR,"ann & sons",EUR,1,6,1500,750) (,"ann & sons",JPY,1,7,210,180)',
    'sales by country, those without one among themselves');
SELECT is(rows_of($$SELECT product, merchant, currency, orders, units, returned_units, gross, returned, net FROM shop.report_sales_by_product ORDER BY product$$),
    '("The A","ann & sons",EUR,2,5,2,5000,2000,3000) ("The B","ann & sons",EUR,2,10,3,2500,750,1750) ("The Y","ann & sons",JPY,1,7,1,210,30,180) ("The Z","zoe & sons",EUR,1,1,0,700,0,700)',
    'sales by product: an order counts once, however many lines it has of it');
SELECT is((SELECT sum(net) FROM shop.report_sales_by_product), (SELECT sum(net) FROM shop.report_sales_by_day), 'products and days come to the same');
SELECT is(rows_of($$SELECT code, currency, place, place_by_net, units, net, units_30_days FROM shop.report_best_sellers WHERE merchant_id = merchant('ann') ORDER BY currency, place$$),
    '(B,EUR,1,2,7,1750,0) (A,EUR,2,1,3,3000,0) (Y,JPY,1,1,6,180,0)', 'best sellers, by units and by money');
UPDATE shop.sku SET code = 'B2' WHERE code = 'B';
SELECT ok('B2' IN (SELECT code FROM shop.report_best_sellers) AND 'B' IN (SELECT code FROM shop.report_order_lines),
    'a SKU that is renamed keeps its past under its new code; the line of the order has the old one');
SELECT sold('ann', 'paid', now() - interval '29 days', 'DE', '{"{A,1,0}"}') \g /dev/null
SELECT is((SELECT units_30_days FROM shop.report_best_sellers WHERE code = 'A'), 1::numeric, 'and what was sold lately');
SELECT is(rows_of($$SELECT order_id, units, gross, returned, net, refunded FROM shop.report_orders WHERE refunded > 0 ORDER BY gross$$),
    format('(%s,6,1500,750,750,250) (%s,2,2000,2000,0,2000)', :'o3', :'o2'), 'orders');
SELECT is((SELECT count(*) FROM shop.report_order_lines), 8::bigint, 'lines');

-- Large sums do not overflow.
UPDATE shop.order_line SET quantity = 9000000, unit_price = 1000000000000, amount = 9000000000000000000, returned = 9000000 WHERE code = 'Y' OR code = 'A';
SELECT lives_ok('SELECT sum(gross), sum(returned), sum(net) FROM shop.report_sales_by_product', 'sums may be larger than a bigint');

-- Stock.
SELECT holdfast.reserve(:'o1', sku('zoe', 'Z'), 2) \g /dev/null
SELECT is((SELECT array_agg(s.* ORDER BY code)::text FROM (SELECT code, available, held, in_sales, units, value FROM shop.report_stock_value WHERE merchant_id = merchant('ann')) AS s),
    '{"(A,100,0,0,100,100000)","(B2,10,0,0,10,2500)","(Y,5,0,0,5,150)"}', 'stock is worth its units at the price of today');
SELECT is((SELECT array_agg(s.* ORDER BY merchant, currency)::text FROM (SELECT merchant, currency, skus, available, held, in_sales, units, value FROM shop.report_stock_value_by_merchant) AS s),
    '{"(\"ann & sons\",EUR,2,110,0,0,110,102500)","(\"ann & sons\",JPY,1,5,0,0,5,150)","(\"zoe & sons\",EUR,1,5,2,0,7,4900)"}',
    'by merchant and currency; what is held is in the house');

-- A sale: its slice is stock of its own, under its id.
SELECT holdfast.new_id() AS sale \gset
INSERT INTO shop.sale (id, merchant_id, sku_id, price, currency, quantity, starts_at, ends_at, per_account_limit, ticket_quota, preheated_at)
VALUES (:sale, merchant('zoe'), sku('zoe', 'Z'), 500, 'EUR', 4, now() - interval '1 hour', now() + interval '1 hour', 2, 10, now());
SELECT holdfast.adjust(sku('zoe', 'Z'), -4, 'sale'), holdfast.receive(:sale, 4, 'sale') \g /dev/null
SELECT is(rows_of($$SELECT available, held, in_sales, units, value FROM shop.report_stock_value WHERE code = 'Z'$$), '(1,2,4,7,4900)',
    'units in a sale are still in the house');
SELECT sold('zoe', 'paid', now(), 'DE', '{"{Z,2,0}"}', :sale), sold('zoe', 'cancelled', now(), 'DE', '{"{Z,1,0}"}', :sale) \g /dev/null
SELECT is((r).status, 204, 'the application tells of tickets') FROM rest.tickets_note(NULL, ARRAY[:sale, 12345, :sale], '{4,3,3}') AS r;
SELECT is((r).status, 204, 'and again') FROM rest.tickets_note(NULL, ARRAY[:sale], '{2}') AS r;
SELECT is(rows_of($$SELECT code, offered, tickets, purchases, orders_paid, units, units_paid, gross, refusals, share_sold FROM shop.report_sale_conversion$$),
    '(Z,4,9,2,1,3,2,1400,0,0.5000)', 'conversion of a sale');

-- Refusals.
SELECT shop.note_refusals(ARRAY[sku('zoe', 'Z'), sku('ann', 'A'), sku('zoe', 'Z'), :sale, 12345], '{2,1,3,7,9}') \g /dev/null
SELECT shop.note_refusals(ARRAY[sku('zoe', 'Z'), sku('ann', 'A')], '{1,0}') \g /dev/null
SELECT is(rows_of($$SELECT code, sale_id, refusals FROM shop.report_refusals WHERE day >= current_date - 1 ORDER BY code, sale_id$$), format('(A,,1) (Z,%s,7) (Z,,6)', :sale),
    'refusals are counted by day, SKU and sale; what is neither is passed over');
SELECT is((SELECT refusals FROM shop.report_sale_conversion), 7::numeric, 'a sale has its own');
SELECT is((r).status, 204, 'the application may tell of refusals afterwards') FROM rest.refusals_note(NULL, ARRAY[sku('ann', 'A')], '{4}') AS r;
SELECT is((SELECT refusals FROM shop.report_refusals WHERE code = 'A'), 5::numeric, 'which are added');
SELECT refuses(format('SELECT rest.refusals_note(NULL, %L, %L)', v.skus, v.counts), v.code, 'rest.refusals_note: ' || v.sentence)
FROM (VALUES ('{1,2}', '{1}', 'HS012', 'arrays are equally long'), ('{1}', '{0}', 'HS014', 'a count is positive'), ('{NULL}', '{1}', 'HS014', 'nothing is null'),
             ('{{1},{2}}', '{1,2}', 'HS012', 'arrays have one dimension')) AS v (skus, counts, code, sentence);
SELECT refuses(format('SELECT rest.refusals_note(%s, ''{1}'', ''{1}'')', person('berta')), 'HS003', 'people may not');
SELECT refuses(format('SELECT rest.tickets_note(NULL, %L, %L)', v.sales, v.counts), v.code, 'rest.tickets_note: ' || v.sentence)
FROM (VALUES ('{1,2}', '{1}', 'HS012', 'arrays are equally long'), ('{1}', '{0}', 'HS014', 'a count is positive')) AS v (sales, counts, code, sentence);
SELECT refuses(format('SELECT rest.tickets_note(%s, ''{1}'', ''{1}'')', person('berta')), 'HS003', 'people may not');
SELECT finish();
ROLLBACK;

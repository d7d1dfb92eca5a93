-- Who sees what in the reports: a reader his merchants, by row-level security, whatever he asks; and nothing else.
\ir include/begin.sql
SELECT plan(42);

-- What a statement says when a role runs it: its one value, or the SQLSTATE.
CREATE FUNCTION told(p_role text, p_sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_answer text;
BEGIN
    BEGIN
        PERFORM set_config('role', p_role, true);
        EXECUTE p_sql INTO v_answer;
    EXCEPTION WHEN OTHERS THEN
        v_answer := SQLSTATE;
    END;
    PERFORM set_config('role', 'none', true);
    RETURN v_answer;
END $$;

CREATE ROLE bi_ann LOGIN;
CREATE ROLE bi_zoe LOGIN;
CREATE ROLE bi_both LOGIN;
CREATE ROLE bi_all LOGIN;
CREATE ROLE bi_none LOGIN;
CREATE ROLE stranger LOGIN;
GRANT shop_report TO bi_none;
SELECT sku('ann', 'A', 1000, 100), sku('zoe', 'Z', 700, 7), sku('tim', 'T', 300, 11) \g /dev/null
SELECT merchant('ann') AS ann, merchant('zoe') AS zoe, merchant('tim') AS tim \gset
SELECT shop.add_report_reader('bi_ann', :ann), shop.add_report_reader('bi_zoe', :zoe), shop.add_report_reader('bi_both', :ann),
       shop.add_report_reader('bi_both', :tim), shop.add_report_reader('bi_all', NULL), shop.add_report_reader('bi_ann', :ann) \g /dev/null

-- An order of each merchant, a sale, a refusal.
INSERT INTO shop.order (account_id, id, merchant_id, total, placed_at, changed_at, expires_at, lines, status, currency, country)
SELECT person('berta'), holdfast.uuid7(), k.merchant_id, k.price, now(), now(), 'infinity', 1, 'paid', 'EUR', 'country of ' || k.code FROM shop.sku AS k;
INSERT INTO shop.order_line (account_id, order_id, sku_id, stock_id, product_id, quantity, unit_price, amount, line, code, title)
SELECT o.account_id, o.id, k.id, k.id, k.product_id, 1, k.price, k.price, 1, k.code, 'x' FROM shop.order AS o JOIN shop.sku AS k USING (merchant_id);
INSERT INTO shop.sale (merchant_id, sku_id, price, currency, quantity, starts_at, ends_at, per_account_limit, ticket_quota)
SELECT k.merchant_id, k.id, 100, 'EUR', 5, now(), now() + interval '1 hour', 1, 5 FROM shop.sku AS k;
SELECT shop.note_refusals(array_agg(k.id), array_agg(1)) FROM shop.sku AS k \g /dev/null

-- Every view, every reader.
SELECT is((SELECT string_agg(coalesce(told(r.role, format('SELECT string_agg(DISTINCT left(merchant, 3), ''+'' ORDER BY left(merchant, 3)) FROM shop.%I', v.name)), '-'), ' ' ORDER BY r.n)
           FROM unnest('{bi_ann,bi_zoe,bi_both,bi_all,bi_none,shop_report,stranger,shop_api,shop_owner,postgres}'::text[]) WITH ORDINALITY AS r (role, n)),
    'ann zoe ann+tim ann+tim+zoe - - 42501 42501 ann+tim+zoe ann+tim+zoe', v.name || ' shows a reader the merchants that are his')
FROM unnest('{report_orders,report_order_lines,report_sales_by_day,report_sales_by_merchant,report_sales_by_country,report_sales_by_product,report_best_sellers,
report_stock_value,report_stock_value_by_merchant,report_sale_conversion,report_refusals}'::text[]) AS v (name);
SELECT is((SELECT count(*) FROM pg_class WHERE relowner = 'shop_reporter'::regrole), 11::bigint, 'there are no other views');
SELECT is(told('bi_ann', format('SELECT count(*) FROM shop.report_orders WHERE merchant_id = %s', :zoe)), '0', 'asking for another merchant finds nothing');
SELECT is(told('bi_ann', format('SELECT count(*) FROM shop.report_orders WHERE merchant_id <> %s OR true', :ann)), '1', 'however one asks');

SELECT is(told('shop_reporter', 'SELECT (SELECT count(*) FROM shop.' || t.name || ')'), '0', format('row-level security guards shop.%s itself', t.name))
FROM unnest('{merchant,product,sku,order,sale}'::text[]) AS t (name);

-- A function of the reader's own that keeps what it sees, so cheap that the planner would rather call it first.
CREATE FUNCTION seen(anyelement) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN
    PERFORM set_config('test.seen', current_setting('test.seen') || ' ' || $1, true);
    RETURN true;
END $$;
CREATE FUNCTION leak(p_sql text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('test.seen', '', true);
    PERFORM told('bi_ann', p_sql);
    RETURN current_setting('test.seen');
END $$;
SELECT is(leak('SELECT count(*) FROM shop.report_orders WHERE seen(country)'), ' country of A', 'a leaky function sees no other merchant''s orders');
SELECT is(leak('SELECT count(*) FROM shop.report_order_lines WHERE seen(units::text || code)'), ' 1A', 'nor lines');
SELECT is(leak('SELECT count(*) FROM shop.report_stock_value WHERE seen(available)'), ' 100', 'nor stock');
SELECT is(leak('SELECT count(*) FROM shop.report_sale_conversion WHERE seen(code)'), ' A', 'nor sales');
SELECT is(leak('SELECT count(*) FROM shop.report_refusals WHERE seen(day) AND seen(refusals || code)'), format(' %s 1A', (SELECT min(day) FROM shop.refusal)), 'nor refusals');
SELECT is(leak('SELECT count(*) FROM shop.report_sales_by_merchant WHERE seen(merchant)'), ' ann & sons', 'nor names');

-- Nothing else.
SELECT is((SELECT string_agg(c.oid::regclass::text, ' ') FROM pg_class AS c
           WHERE c.relnamespace IN ('shop'::regnamespace, 'holdfast'::regnamespace, '_holdfast'::regnamespace) AND c.relkind IN ('r', 'v', 'm', 'p')
             AND has_any_column_privilege('bi_all', c.oid, 'SELECT') AND pg_get_userbyid(c.relowner) <> 'shop_reporter'), NULL, 'a reader can read the reports only');
SELECT is((SELECT string_agg(c.oid::regclass::text, ' ') FROM pg_class AS c
           WHERE c.relkind IN ('r', 'v', 'm', 'p', 'S') AND c.relnamespace IN ('shop'::regnamespace, 'rest'::regnamespace, 'holdfast'::regnamespace, '_holdfast'::regnamespace)
             AND pg_get_userbyid(c.relowner) <> r.role AND has_table_privilege(r.role, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')),
    NULL, r.role || ' can write nothing')
FROM unnest('{bi_all,shop_report,shop_reporter}'::text[]) AS r (role);
SELECT is((SELECT string_agg(p.oid::regprocedure::text, ' ') FROM pg_proc AS p
           WHERE p.pronamespace IN ('shop'::regnamespace, 'rest'::regnamespace, 'holdfast'::regnamespace, '_holdfast'::regnamespace)
             AND has_function_privilege('bi_all', p.oid, 'EXECUTE') AND p.proname NOT IN ('uuid7', 'new_id', 'cache_report')), NULL, 'and call nothing');
SELECT is((SELECT string_agg(c.relname || '.' || a.attname, ' ') FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
           WHERE c.relnamespace = 'shop'::regnamespace AND a.attnum > 0 AND a.attname ~ 'password|email|token|hash|payload|key|reference'
             AND has_column_privilege('shop_reporter', a.attrelid, a.attnum, 'SELECT')), NULL, 'the views themselves cannot read what is secret');
SELECT is(told('bi_ann', 'SELECT 1 FROM shop.order'), '42501', 'the tables are closed');
SELECT is(told('bi_ann', 'UPDATE shop.report_orders SET status = NULL'), '55000', 'the views are for reading');
SELECT is(told('bi_ann', format('SELECT shop.add_report_reader(%L, %s)', 'bi_ann', :zoe)), '42501', 'a reader cannot make himself another''s');

-- Coming and going.
SELECT is(shop.remove_report_reader('bi_both', :ann), 1::bigint, 'a merchant can be taken from a reader');
SELECT is(told('bi_both', 'SELECT string_agg(merchant, '' '') FROM shop.report_orders'), 'tim & sons', 'who sees the others still');
SELECT shop.remove_report_reader('bi_both') \g /dev/null
SELECT is(told('bi_both', 'SELECT count(*) FROM shop.report_orders'), '0', 'or all of them');
SELECT refuses('SELECT shop.add_report_reader(''nobody'', NULL)', 'HS004', 'a reader is a role', '/role');
SELECT refuses('SELECT shop.add_report_reader(''bi_ann'', 1)', 'HS004', 'a merchant is one of the shop', '/merchant');

-- At a hundred thousand orders of a hundred merchants: who sees one of them reads his rows by the index; the policies are
-- asked once for a query; and whoever owns the tables is not asked at all.
CREATE FUNCTION plan_of(p_role text, p_sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_line text;
    v_plan text := '';
BEGIN
    PERFORM set_config('role', p_role, true);
    FOR v_line IN EXECUTE 'EXPLAIN ' || p_sql LOOP
        v_plan := v_plan || v_line || E'\n';
    END LOOP;
    PERFORM set_config('role', 'none', true);
    RETURN v_plan;
END $$;
INSERT INTO shop.order (account_id, id, merchant_id, total, placed_at, changed_at, expires_at, lines, status, currency)
SELECT 1000 + n / 10, gen_random_uuid(), CASE n % 100 WHEN 0 THEN :ann WHEN 1 THEN :zoe ELSE n % 100 END, 1, now(), now(), 'infinity', 1, 'paid', 'EUR' FROM generate_series(1, 100000) AS n;
SET LOCAL session_replication_role = replica;
INSERT INTO shop.order_line (account_id, order_id, sku_id, stock_id, product_id, quantity, unit_price, amount, line, code, title)
SELECT o.account_id, o.id, 1, 1, 1, 1, 1, 1, 1, '', '' FROM shop.order AS o WHERE o.account_id BETWEEN 1000 AND 20000;
RESET session_replication_role;
ANALYZE shop.order, shop.order_line;
SELECT ok(p ~ 'Index Cond: \(\(merchant_id >= ' AND p !~ 'Seq Scan on "order"', 'a reader of one merchant reads his orders by the index')
FROM plan_of('bi_ann', 'SELECT * FROM shop.report_sales_by_day') AS p;
SELECT ok(p !~ '\n +SubPlan' OR p ~ 'hashed SubPlan', 'the policies are asked once for a query')
FROM plan_of('bi_ann', 'SELECT * FROM shop.report_sales_by_day') AS p;
SELECT ok(p !~ 'InitPlan|SubPlan|reader' AND p ~ 'order_merchant', 'the owner of the tables does not notice them')
FROM plan_of('shop_owner', format('SELECT count(*) FROM shop.order WHERE merchant_id = %s', :ann)) AS p;
SELECT finish();
ROLLBACK;

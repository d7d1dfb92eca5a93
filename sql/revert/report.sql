-- Revert shop:report from pg
BEGIN;
DROP VIEW shop.report_sale_conversion;
DROP VIEW shop.report_refusals;
DROP VIEW shop.report_stock_value_by_merchant;
DROP VIEW shop.report_stock_value;
DROP VIEW shop.report_best_sellers;
DROP VIEW shop.report_sales_by_product;
DROP VIEW shop.report_sales_by_country;
DROP VIEW shop.report_sales_by_merchant;
DROP VIEW shop.report_sales_by_day;
DROP VIEW shop.report_order_lines;
DROP VIEW shop.report_orders;
REVOKE SELECT (id, name) ON shop.merchant FROM shop_reporter;
REVOKE SELECT (id, merchant_id, title) ON shop.product FROM shop_reporter;
REVOKE SELECT (id, product_id, merchant_id, code, price, currency, deleted_at) ON shop.sku FROM shop_reporter;
REVOKE SELECT (account_id, id, merchant_id, placed_at, sale_id, status, currency, channel, country) ON shop.order FROM shop_reporter;
REVOKE SELECT (account_id, order_id, line, sku_id, product_id, quantity, unit_price, amount, returned, code) ON shop.order_line FROM shop_reporter;
REVOKE SELECT (id, merchant_id, sku_id, price, currency, quantity, starts_at, ends_at, preheated_at, settled_at) ON shop.sale FROM shop_reporter;
REVOKE SELECT (account_id, order_id, payment_id) ON shop.order_payment FROM shop_reporter;
REVOKE SELECT (sale_id, tickets) ON shop.sale_counter FROM shop_reporter;
DO $$
DECLARE
    v_table text;
BEGIN
    FOREACH v_table IN ARRAY ARRAY['merchant', 'product', 'sku', 'order', 'sale'] LOOP
        EXECUTE format('DROP POLICY %I ON shop.%I', v_table || '_reader', v_table);
        EXECUTE format('ALTER TABLE shop.%I DISABLE ROW LEVEL SECURITY', v_table);
    END LOOP;
END $$;
DROP VIEW shop.reader_span;
DROP VIEW shop.reader_scope;
DROP FUNCTION shop.remove_report_reader(name, bigint);
DROP FUNCTION shop.add_report_reader(name, bigint);
DROP TABLE shop.report_reader;
REVOKE SELECT (account_id, payment, refunded) ON holdfast.payments FROM shop_reporter;
REVOKE SELECT (sku, available, held, sold, received) ON holdfast.stock FROM shop_reporter;
REVOKE USAGE ON SCHEMA holdfast FROM shop_reporter;
COMMIT;

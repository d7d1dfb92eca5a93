-- Verify shop:order on pg
BEGIN;
SELECT account_id, id, merchant_id, total, status, currency, placed_at, expires_at, sale_id, channel, reference FROM shop.order WHERE false;
SELECT account_id, order_id, line, sku_id, stock_id, quantity, unit_price, amount, returned FROM shop.order_line WHERE false;
SELECT account_id, order_id, n, from_status, to_status FROM shop.order_event WHERE false;
SELECT 1 / count(*) FROM shop.order_transition;
ROLLBACK;

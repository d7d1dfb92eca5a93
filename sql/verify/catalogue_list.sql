-- Verify shop:catalogue_list on pg
BEGIN;
SELECT product_id, category_id, published_at, price, title, version FROM shop.product_category WHERE false;
SELECT shop.product_items('{}'), shop.list_statement('new', 20);
SELECT 1 / (count(*) = 9)::integer FROM pg_indexes WHERE schemaname = 'shop' AND tablename = 'product' AND indexname <> 'product_pkey' AND indexdef LIKE '%deleted_at IS NULL%';
SELECT 1 / (count(*) = 3)::integer FROM pg_trigger WHERE tgname IN ('product_placed', 'product_replaced', 'category_moved');
ROLLBACK;

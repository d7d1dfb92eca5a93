-- Verify shop:rest_catalogue on pg
BEGIN;
SELECT 1 / (count(*) = 16)::integer FROM pg_proc AS p
WHERE p.pronamespace = 'rest'::regnamespace AND p.prosecdef
  AND p.proname IN ('category_list', 'category_create', 'category_update', 'product_list', 'product_search', 'product_get', 'product_related', 'product_create',
                    'product_update', 'product_publish', 'product_delete', 'product_check', 'product_image_add', 'sku_stock_get', 'sku_receive', 'sku_adjust');
SELECT 1 / ((rest.product_list(NULL)).status = 200)::integer;
ROLLBACK;

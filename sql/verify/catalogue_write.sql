-- Verify shop:catalogue_write on pg
BEGIN;
SELECT 'shop.create_product(bigint, bigint, text, text, jsonb, text[], text[], bigint[], text, boolean)'::regprocedure,
       'shop.set_skus(bigint, bigint[], text[], bigint[])'::regprocedure, 'shop.update_category(bigint, text[], bigint, text)'::regprocedure;
SELECT 1 / (count(*) = 6)::integer FROM pg_trigger WHERE tgname IN ('sku_added', 'sku_changed', 'image_added', 'image_changed', 'version_forgotten');
SELECT 1 / (count(*) = 5)::integer FROM shop.problem WHERE code BETWEEN 'HS201' AND 'HS205';
ROLLBACK;

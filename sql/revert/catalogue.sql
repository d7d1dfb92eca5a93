-- Revert shop:catalogue from pg
BEGIN;
DROP TABLE shop.image;
DROP TABLE shop.sku;
DROP TABLE shop.product;
DROP TABLE shop.category;
COMMIT;

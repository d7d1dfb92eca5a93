-- Verify shop:catalogue on pg
BEGIN;
SELECT id, parent_id, name, path FROM shop.category WHERE false;
SELECT id, merchant_id, category_id, title, description, attributes, tags, currency, price, version, published_at, deleted_at FROM shop.product WHERE false;
SELECT id, product_id, merchant_id, code, price, currency, position, deleted_at FROM shop.sku WHERE false;
SELECT id, product_id, state, original, sizes FROM shop.image WHERE false;
ROLLBACK;

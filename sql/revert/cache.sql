-- Revert shop:cache from pg
BEGIN;
SET LOCAL ROLE shop_owner;
SELECT holdfast.unwatch('shop.sale_buyer');
SELECT holdfast.unwatch('shop.sale');
SELECT holdfast.unwatch('shop.merchant');
SELECT holdfast.unwatch('shop.category');
SELECT holdfast.unwatch('shop.bought_together');
SELECT holdfast.unwatch('shop.product_category');
SELECT holdfast.unwatch('shop.image');
SELECT holdfast.unwatch('shop.sku');
SELECT holdfast.unwatch('shop.product');
COMMIT;

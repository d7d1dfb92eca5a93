-- Whatever the web application caches of the shop is watched, under keys that it can know.
\ir include/begin.sql
SELECT plan(11);

SELECT is((SELECT string_agg(template, ' ' ORDER BY template) FROM holdfast.watched WHERE table_name = t::regclass), k, format('%s: %s', t, k)) FROM (VALUES
    ('shop.product', 'product:{id} tag:merchant:{merchant_id} tag:products'), ('shop.sku', 'product:{product_id}'), ('shop.image', 'product:{product_id}'),
    ('shop.product_category', 'tag:category:{category_id}'), ('shop.category', 'category:{id} tag:categories'), ('shop.merchant', 'merchant:{id}'),
    ('shop.bought_together', 'related:{product_id}'), ('shop.sale_buyer', 'stock:{sale_id}'),
    ('shop.sale', 'sale:{id} ON version,preheated_at,closed_at tag:merchant-sales:{merchant_id} ON version,preheated_at,closed_at tag:sales ON version,preheated_at,closed_at')) AS v (t, k);
SELECT ok(bool_and(fires_always), 'for every writer') FROM holdfast.watched;
-- Lists of a category hear of a change by the rows that show it.
SELECT sku('ann', 'lamp') AS lamp \gset
INSERT INTO shop.category (id, name, path) VALUES (7, 'home', '{7}');
UPDATE shop.product SET category_id = 7;
CREATE TABLE was AS SELECT ctid AS place FROM shop.product_category;
INSERT INTO shop.image (product_id, original) SELECT id, 'lamp.png' FROM shop.product;
SELECT isnt((SELECT ctid::text FROM shop.product_category), (SELECT place::text FROM was), 'a new image of a product changes the rows of its categories');
SELECT finish();
ROLLBACK;

-- Deploy shop:cache to pg
-- requires: catalogue
-- requires: catalogue_list
-- requires: sale
-- requires: sale_purchase
--
-- What the web application may cache, and what tells it that this is old: docs/cache-protocol.md. Keys, and the tags that
-- lists depend on:
--
--   product:{id}                          GET of a product; everything in it, SKUs and images included
--   related:{id}                          what is related to a product: depends on tag:products besides
--   category:{id}, merchant:{id}          GET of one
--   sale:{id}                             GET of a sale, which shows its product and SKU too: depends on tag:products besides;
--                                         its state follows from the clock and its stock, so for seconds only
--   stock:{sale}                          the units of a sale that can be bought, and who has bought in it: nothing is cached under it, but
--                                         what the application knows of a running sale is void. Told with every purchase and every order
--                                         that ends unpaid; a hold whose time is over is told by nobody: rest.sale_live() says when
--   tag:products                          lists of all products and of sales, searches, related products
--   tag:merchant:{merchant}               lists of a merchant's products
--   tag:category:{category}               lists of a category with all below it
--   tag:categories, tag:sales, tag:merchant-sales:{merchant}
--
-- A list that is filtered by category or merchant depends on that tag alone; a search, on its category's besides tag:products. Drafts are nobody's but their merchant's and
-- are not to be cached, nor is anything else that depends on who asks.
--
-- Other stock is not watched: it changes with every order, in tables of the extension. in_stock in a cached list is as old as the
-- list may become, and units are asked for, or told by the extension's own means.

BEGIN;
SET LOCAL ROLE shop_owner;

SELECT holdfast.watch('shop.product', 'product:{id}', 'tag:products', 'tag:merchant:{merchant_id}');
SELECT holdfast.watch('shop.sku', 'product:{product_id}');
SELECT holdfast.watch('shop.image', 'product:{product_id}');
-- A row for each category that shows a product, with its version, which counts whatever else lists show of it.
SELECT holdfast.watch('shop.product_category', 'tag:category:{category_id}');
SELECT holdfast.watch('shop.bought_together', 'related:{product_id}');
SELECT holdfast.watch('shop.category', 'category:{id}', 'tag:categories');
SELECT holdfast.watch('shop.merchant', 'merchant:{id}');
-- Sweeps note in a sale that they have been there, which shows nowhere.
SELECT holdfast.watch('shop.sale', 'sale:{id} ON version,preheated_at,closed_at', 'tag:sales ON version,preheated_at,closed_at',
    'tag:merchant-sales:{merchant_id} ON version,preheated_at,closed_at');
SELECT holdfast.watch('shop.sale_buyer', 'stock:{sale_id}');

COMMIT;

-- Verify shop:search on pg
BEGIN;
SELECT product_id, published_at, words FROM shop.search_document WHERE false;
SELECT 1 / (shop.fold('ＣＡＦÉ') = 'cafe')::integer;
SELECT 1 / (shop.search_vector('Sony 耳机', '', '{}', '{}') = '''sony'':1A ''耳机'':2A ''机'':3A')::integer;
SELECT shop.search_facets(s.found_ids), s.next_cursor FROM shop.search_products('headphones') AS s;
SELECT 1 / (count(*) = 5)::integer FROM pg_trigger WHERE tgname IN ('category_searched', 'product_searchable', 'product_searched', 'sku_searchable', 'sku_searched');
SELECT product_id, other_id, orders FROM shop.bought_together WHERE false;
ROLLBACK;

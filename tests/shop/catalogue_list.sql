-- Lists show what is published, filtered and in order, page after page, each product once.
\ir include/begin.sql
SELECT plan(43);

CREATE FUNCTION titles(p_query jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(i ->> 'title', ' '), '') FROM json_array_elements((rest.product_list(NULL, p_query)).body -> 'items') AS i
$$;
-- A list walked to its end in pages.
CREATE FUNCTION walk(p_query jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_body json := (rest.product_list(NULL, p_query)).body;
    v_all text := '';
BEGIN
    FOR v_i IN 1 .. 100 LOOP
        v_all := concat_ws(' ', nullif(v_all, ''), (SELECT string_agg(i ->> 'title', ' ') FROM json_array_elements(v_body -> 'items') AS i));
        EXIT WHEN v_body ->> 'next' IS NULL;
        v_body := (rest.product_list(NULL, p_query || jsonb_build_object('cursor', v_body ->> 'next'))).body;
    END LOOP;
    RETURN v_all;
END $$;
SELECT sku('ann', 'b', 300, 5) AS b, sku('ann', 'a', 200, 0) AS a, sku('eve', 'C', 300, 1, 'USD') AS c, sku('eve', 'd', 100, 0) AS d, sku('eve', 'draft', 1) AS draft, sku('eve', 'gone', 1) AS gone \gset
UPDATE shop.product SET published_at = NULL WHERE title = 'The draft';
UPDATE shop.product SET deleted_at = clock_timestamp() WHERE title = 'The gone';
UPDATE shop.product SET title = replace(title, 'The ', '');
UPDATE shop.product SET tags = '{red,new}', attributes = '{"size": 4, "color": {"r": 1}}' WHERE title IN ('a', 'C');

SELECT is(titles('{}'), 'd C a b', 'the newest come first');
SELECT is(titles('{"sort": "price"}'), 'd a b C', 'the cheapest come first, of equals the oldest');
SELECT is(titles('{"sort": "-price"}'), 'C b a d', 'or the dearest');
SELECT is(titles('{"sort": "title"}'), 'a b C d', 'or the first of the alphabet, whatever the case');
SELECT is(walk(jsonb_build_object('sort', s, 'limit', '1')), titles(jsonb_build_object('sort', s)), format('pages of one make the list %s', s)) FROM unnest('{new,price,-price,title}'::text[]) AS s;
SELECT is(walk(jsonb_build_object('sort', s, 'limit', '3', 'merchant', merchant('eve')::text)), w, format('and of a merchant, by %s', s))
FROM (VALUES ('new', 'd C'), ('price', 'd C'), ('-price', 'C d'), ('title', 'C d')) AS v (s, w);
SELECT is(titles('{"min_price": "200", "max_price": "250"}'), 'a', 'prices from and to');
SELECT is(titles('{"min_price": "300", "sort": "-price"}'), 'C b', 'also when they are the order');
SELECT is(titles('{"currency": "USD"}'), 'C', 'a currency');
SELECT is(titles('{"tag": "ＲＥＤ"}'), 'C a', 'a tag, folded');
SELECT is(titles('{"attributes": "{\"color\": {\"r\": 1}}", "sort": "title"}'), 'a C', 'attributes that are contained');
SELECT is(titles('{"attributes": "{\"color\": {\"r\": 2}}"}'), '', 'others are not');
SELECT is(titles('{"in_stock": "true"}'), 'C b', 'what is in stock');
SELECT is(titles('{"in_stock": "false"}'), 'd a', 'and what is not');
SELECT is((rest.product_list(NULL, '{"in_stock": "false"}')).body #>> '{items,0,in_stock}', 'false', 'which the items say');
SELECT is(titles(jsonb_build_object('merchant', merchant('eve')::text, 'tag', 'red', 'currency', 'USD', 'in_stock', 'true', 'min_price', '1')), 'C', 'filters together');
SELECT is(titles('{"category": "7"}'), '', 'a category that does not exist shows nothing');
SELECT is((rest.product_list(NULL, '{"limit": "4"}')).body ->> 'next', NULL, 'a last page that is full says that it is the last');
SELECT is((rest.product_list(person('bob'), '{}')).status, 200, 'whoever asks sees the same');

-- More products than one page looks at.
INSERT INTO shop.category (id, name, path) VALUES (7, 'many', '{7}');
INSERT INTO shop.product (id, merchant_id, category_id, title, currency, price, tags, published_at)
SELECT n, merchant('zoe'), 7, 'z' || n, 'EUR', 5000 + n, CASE WHEN n % 1000 = 0 THEN '{thousandth}'::text[] WHEN n % 3 = 0 THEN '{third}' ELSE '{}' END, clock_timestamp()
FROM generate_series(1, 3500) AS n;
SELECT is(walk(jsonb_build_object('tag', 'thousandth', 'sort', s)), w, format('a rare tag is found whole, by %s', s))
FROM (VALUES ('new', 'z3000 z2000 z1000'), ('price', 'z1000 z2000 z3000'), ('title', 'z1000 z2000 z3000')) AS v (s, w);
SELECT is(walk('{"tag": "red", "sort": "price", "min_price": "150", "category": "7"}'), '', 'or found nowhere');
SELECT is(walk('{"category": "7", "tag": "thousandth"}'), 'z3000 z2000 z1000', 'in a category too');
SELECT is(walk(jsonb_build_object('category', '7', 'merchant', merchant('eve')::text)), '', 'nobody''s products in it');
SELECT is((SELECT count(*) FROM string_to_table(walk('{"tag": "third", "limit": "100"}'), ' ')), (SELECT count(*) FROM shop.product WHERE tags @> '{third}'), 'a frequent one over many pages');
SELECT is(walk('{"in_stock": "true", "sort": "-price"}'), 'C b', 'what is in stock at the far end is found, if by empty pages');
SELECT is(json_array_length((rest.product_list(NULL, '{"in_stock": "true", "sort": "-price"}')).body -> 'items'), 0, 'of which this is one');
SELECT isnt((rest.product_list(NULL, '{"in_stock": "true", "sort": "-price"}')).body ->> 'next', NULL, 'that says where to go on');

SELECT refuses(format('SELECT rest.product_list(NULL, %L)', q), s, format('refused: %s', q), p) FROM (VALUES
    ('{"sort": "best"}', 'HS015', '?sort'), ('{"limit": "0"}', 'HS014', '?limit'), ('{"limit": "101"}', 'HS014', '?limit'), ('{"cursor": "x"}', 'HS016', '?cursor'),
    ('{"attributes": "[1"}', 'HS015', '?attributes'), ('{"page": "2"}', 'HS009', '?page'), ('{"category": "x"}', 'HS015', '?category')) AS v (q, s, p);
SELECT refuses(format('SELECT rest.product_list(NULL, %L)', jsonb_build_object('sort', 'price', 'cursor', shop.cursor_of('new', '2026-01-01', '7'))), 'HS016', 'the cursor of another order is refused', '?cursor');
SELECT finish();
ROLLBACK;

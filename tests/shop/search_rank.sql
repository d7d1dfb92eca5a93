-- What search finds is ranked, filtered, paged and counted; and related products are found.
\ir include/begin.sql
SELECT plan(34);

CREATE FUNCTION product(p_merchant text, p_code text, p_title text, p_description text DEFAULT '', p_tags text[] DEFAULT '{}', p_price bigint DEFAULT 1000, p_units bigint DEFAULT 1) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_sku CONSTANT bigint := sku(p_merchant, p_code, p_price, p_units);
    v_id bigint;
BEGIN
    UPDATE shop.product SET title = p_title, description = p_description, tags = p_tags WHERE id = (SELECT product_id FROM shop.sku WHERE id = v_sku) RETURNING id INTO v_id;
    RETURN v_id;
END $$;
CREATE FUNCTION found(p_query jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(i ->> 'title', ', '), '') FROM json_array_elements((rest.product_search(NULL, p_query)).body -> 'items') AS i
$$;
CREATE FUNCTION walk(p_query jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_body json := (rest.product_search(NULL, p_query)).body;
    v_all text := '';
BEGIN
    FOR v_i IN 1 .. 30 LOOP
        v_all := concat_ws(', ', nullif(v_all, ''), (SELECT string_agg(i ->> 'title', ', ') FROM json_array_elements(v_body -> 'items') AS i));
        EXIT WHEN v_body ->> 'next' IS NULL;
        v_body := (rest.product_search(NULL, p_query || jsonb_build_object('cursor', v_body ->> 'next'))).body;
    END LOOP;
    RETURN v_all;
END $$;
SELECT product('ann', 'c1', 'Box', 'A lamp fits in'), product('ann', 'c2', 'Chair', '', '{lamp}', 2000), product('eve', 'c3', 'Lamp', '', '{steel}', 3000, 0),
       product('eve', 'c4', 'Lampshade', '', '{steel,new}', 4000), product('eve', 'c5', 'Lamp') \gset x_

SELECT is(found('{"q": "lamp"}'), 'Lamp, Lamp, Chair, Lampshade, Box', 'a word counts most in the title, then as a tag, then as part of a word of the title, then in the description');
SELECT is(walk('{"q": "lamp", "limit": "1"}'), found('{"q": "lamp"}'), 'pages of one make the same list');
SELECT is(walk('{"q": "lamp", "limit": "2"}'), found('{"q": "lamp"}'), 'pages of two too');
SELECT is(found(jsonb_build_object('q', 'lamp', 'merchant', merchant('ann')::text)), 'Chair, Box', 'of a merchant');
SELECT is(found('{"q": "lamp", "tag": "Steel"}'), 'Lamp, Lampshade', 'with a tag');
SELECT is(found('{"q": "lamp", "tag": "st''ee\\l"}'), '', 'whatever is in it');
SELECT is(found('{"q": "lamp", "min_price": "1500", "max_price": "3000"}'), 'Lamp, Chair', 'with prices');
SELECT is(found('{"q": "lamp", "currency": "USD"}'), '', 'in a currency');
SELECT is(found('{"q": "lamp", "in_stock": "false"}'), 'Lamp', 'in stock or not');
INSERT INTO shop.category (id, parent_id, name, path) VALUES (1, NULL, 'home', '{1}'), (2, 1, 'light', '{1,2}'), (3, NULL, 'else', '{3}');
UPDATE shop.product SET category_id = 2 WHERE title = 'Lampshade';
SELECT is(found('{"q": "lamp", "category": "1"}') || found('{"q": "lamp", "category": "2"}') || found('{"q": "lamp", "category": "3"}'), 'LampshadeLampshade', 'in a category, with all below it');
SELECT is(found('{"q": "lamp", "category": "9"}'), '', 'of which there may be none');
SELECT shop.update_category(2, '{parent_id}', 3);
SELECT is(found('{"q": "lamp", "category": "1"}') || found('{"q": "lamp", "category": "3"}'), 'Lampshade', 'also where it has been moved to');
SELECT is((rest.product_search(NULL, '{"q": "lamp", "facets": "true"}')).body -> 'facets' ->> 'count', '5', 'facets count what is found');
SELECT is((SELECT string_agg(t ->> 'tag' || ' ' || (t ->> 'count'), ', ') FROM json_array_elements((rest.product_search(NULL, '{"q": "lamp", "facets": "true"}')).body #> '{facets,tags}') AS t), 'steel 2, lamp 1, new 1', 'by tag');
SELECT is((SELECT sum((t ->> 'count')::integer) || ' in ' || count(*) FROM json_array_elements((rest.product_search(NULL, '{"q": "lamp", "facets": "true"}')).body #> '{facets,merchants}') AS t), '5 in 2', 'by merchant');
SELECT is((rest.product_search(NULL, '{"q": "lamp", "facets": "true"}')).body #>> '{facets,categories,0,count}', '1', 'by category');
SELECT is((SELECT min((t ->> 'from')::integer) || '-' || max((t ->> 'to')::integer) FROM json_array_elements((rest.product_search(NULL, '{"q": "lamp", "facets": "true"}')).body #> '{facets,prices}') AS t), '1000-4000', 'and by price');
SELECT is((rest.product_search(NULL, '{"q": "lamp", "facets": "true"}'::jsonb || f)).body #>> '{facets,count}', n, 'facets count what passes: ' || f::text) FROM (VALUES
    ('{"max_price": "1"}'::jsonb, '0'), ('{"min_price": "2000", "limit": "1"}', '3'), ('{"currency": "USD"}', '0'), ('{"in_stock": "false"}', '1')) AS v (f, n);
SELECT is((SELECT sum((t ->> 'count')::integer) FROM json_array_elements((rest.product_search(NULL, jsonb_build_object('q', 'lamp', 'facets', 'true', 'limit', '1', 'min_price', '2000', 'cursor', (rest.product_search(NULL, '{"q": "lamp", "limit": "1", "min_price": "2000"}')).body ->> 'next'))).body #> '{facets,merchants}') AS t), 3::bigint, 'on each page the same');
SELECT is((rest.product_search(NULL, '{"q": "lamp", "facets": "true", "min_price": "2000"}')).body #>> '{facets,complete}', 'true', 'and that is all');
SELECT is(json_array_length((rest.product_search(NULL, '{"q": "!?"}')).body -> 'items'), 0, 'where no word is, nothing is found');
SELECT refuses(format('SELECT rest.product_search(NULL, %L)', q), s, format('refused: %s', left(q, 40)), p) FROM (VALUES
    ('{}', 'HS010', '?q'), ('{"q": "  "}', 'HS012', '?q'), (jsonb_build_object('q', repeat('x', 201))::text, 'HS012', '?q'), ('{"q": "a", "cursor": "zz"}', 'HS016', '?cursor'), ('{"q": 7}', 'HS011', '?q')) AS v (q, s, p);

SELECT id AS lamp FROM shop.product WHERE title = 'Lamp' ORDER BY id LIMIT 1 \gset
SELECT id AS chair FROM shop.product WHERE title = 'Chair' \gset
SELECT is((SELECT string_agg(i ->> 'title', ', ') FROM json_array_elements((rest.product_related(NULL, :lamp)).body -> 'alike') AS i), 'Lamp, Lampshade, Chair, Box', 'products are like it by their words, but for itself');
INSERT INTO shop.order (account_id, id, merchant_id, total, placed_at, changed_at, expires_at, lines, status, currency)
SELECT person('bob'), md5(n::text)::uuid, merchant('ann'), 4000, clock_timestamp(), clock_timestamp(), 'infinity', 2, s, 'EUR' FROM (VALUES (1, 'paid'), (2, 'completed'), (3, 'cancelled')) AS v (n, s);
INSERT INTO shop.order_line (account_id, order_id, sku_id, stock_id, product_id, quantity, unit_price, amount, line, code, title)
SELECT person('bob'), md5(n::text)::uuid, 1, 1, p, 1, 2000, 2000, l, 'c', 't' FROM (VALUES (1, 1, :lamp), (1, 2, :chair), (2, 1, :chair), (2, 2, :lamp), (3, 1, :lamp), (3, 2, (SELECT id FROM shop.product WHERE title = 'Box'))) AS v (n, l, p);
SELECT is(shop.count_bought_together(), 2::bigint, 'what was bought together is counted');
SELECT is((SELECT string_agg(i ->> 'title', ', ') FROM json_array_elements((rest.product_related(NULL, :lamp)).body -> 'bought_together') AS i), 'Chair', 'and shown, if it was paid');
SELECT is((SELECT orders FROM shop.bought_together WHERE product_id = :chair), 2, 'with how often');
UPDATE shop.product SET published_at = NULL WHERE id = :chair;
SELECT is((SELECT count(*) FROM json_array_elements((rest.product_related(NULL, :lamp)).body -> 'bought_together') AS i), 0::bigint, 'drafts are not shown');
SELECT finish();
ROLLBACK;

-- Every list that is advertised walks an index in its order, and search asks the index of words: no sort, no scan of a
-- whole table. Lists of 10^6 products, and their times: bench/search.
\ir include/begin.sql
SELECT plan(52);

INSERT INTO shop.category (id, parent_id, name, path) SELECT n, NULLIF(n, 1) - n + 1, 'c' || n, CASE n WHEN 1 THEN '{1}' ELSE ARRAY[1, n] END FROM generate_series(1, 20) AS n;
CREATE TABLE merchants AS SELECT merchant('m' || n) AS id, n AS k FROM generate_series(1, 50) AS n;
INSERT INTO shop.product (merchant_id, category_id, title, description, currency, price, tags, published_at)
SELECT m.id, 1 + n % 20, (ARRAY['Red', 'Green', 'Blue', 'Black'])[1 + n % 4] || ' ' || (ARRAY['lamp', 'chair', 'table', 'headphones', '耳机'])[1 + n % 5] || ' ' || n, 'of good quality', 'EUR',
       100 + n * 7919 % 10007, ARRAY['t' || n % 100], timestamptz '2026-01-01' + n * interval '1 min'
FROM generate_series(0, 19999) AS n JOIN merchants AS m ON m.k = 1 + n % 50;
ANALYZE shop.product, shop.product_category, shop.search_document, shop.search_word, shop.category;

CREATE FUNCTION plan_of(p_statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_line text;
    v_plan text := '';
BEGIN
    FOR v_line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || p_statement LOOP
        v_plan := v_plan || v_line || E'\n';
    END LOOP;
    RETURN v_plan;
END $$;
SELECT ok(p.plan ~ ('Index (Only )?Scan (Backward )?using product_' || b.prefix || CASE s.sort WHEN '-price' THEN 'price' ELSE s.sort END || '_idx') AND p.plan !~ 'Sort|Seq Scan|Bitmap',
          format('by %s, %s, page %s: along its index', s.sort, b.what, c.page)) || CASE WHEN p.plan ~ 'Sort|Seq Scan|Bitmap' THEN E'\n' || diag(p.plan) ELSE '' END
FROM (VALUES ('new', '2026-01-05'), ('price', '500'), ('-price', '500'), ('title', 'Green')) AS s (sort, value),
     (VALUES ('the whole shop', '', NULL::bigint, NULL::bigint), ('a category', 'category_', 7, NULL), ('a merchant', 'merchant_', NULL, (SELECT id FROM merchants WHERE k = 7))) AS b (what, prefix, category, merchant),
     (VALUES (1), (2)) AS c (page),
     LATERAL plan_of(shop.list_statement(s.sort, 21, CASE c.page WHEN 2 THEN ARRAY[s.value, '7'] END, b.category, b.merchant)) AS p (plan);
SELECT ok(p.plan ~ 'Index (Only )?Scan (Backward )?using product_' AND p.plan !~ 'Sort|Seq Scan on product', format('by %s, %s, with filters: the same, with a bound', s.sort, b.what))
FROM unnest('{new,price,-price,title}'::text[]) AS s (sort),
     (VALUES ('the whole shop', NULL::bigint, NULL::bigint), ('a category', 7, NULL), ('a merchant', NULL, (SELECT id FROM merchants WHERE k = 7))) AS b (what, category, merchant),
     LATERAL plan_of(shop.list_statement(s.sort, 21, NULL, b.category, b.merchant, 200, 9000, 'EUR', 't7', '{"a": 1}', true)) AS p (plan);
SELECT is((SELECT count(*) FROM shop.list_products('price', 20, NULL, 7) AS l, unnest(l.product_ids)), 20::bigint, 'such a list has its page');

SELECT ok('enable_seqscan=off' = ANY (proconfig), 'search never scans its tables') FROM pg_proc WHERE oid = 'shop.search_matches(text, bigint, bigint, text)'::regprocedure;
SET LOCAL enable_seqscan = off;
SELECT ok(p.plan ~ 'search_document_words_idx' AND p.plan !~ 'Seq Scan', format('%s: by the index of words', q.q)) || CASE WHEN p.plan ~ 'Seq Scan' THEN E'\n' || diag(p.plan) ELSE '' END
FROM unnest(ARRAY['lamp 7', 'head', 'phone', 'hedphones', '耳机', 'green chair', 'quality', 't7']) AS q (q), plan_of(shop.search_statement(q.q)) AS p (plan);
SELECT ok(p.plan ~ 'search_document_words_idx', 'also in a category') FROM plan_of(shop.search_statement('lamp', 7)) AS p (plan);
SELECT ok(p.plan ~ 'Limit.*search_document_new_idx' AND p.plan !~ 'Sort|Seq Scan', 'very frequent words: along the newest, with a bound') FROM plan_of(shop.search_statement('quality', p_common => true)) AS p (plan);
SELECT shop.count_words() > 0 AS counted \gset
SELECT ok(:'counted', 'how frequent words are is known after ANALYZE');
SELECT is((SELECT max(hits) BETWEEN 19000 AND 21000 FROM shop.search_word WHERE word = 'quality'), true, 'about right');
SELECT ok(plan_of('SELECT word FROM shop.search_word WHERE word LIKE ''%phone%''') ~ 'search_word_part_idx', 'parts of words are found by an index');
SELECT ok(plan_of('SELECT word FROM shop.search_word WHERE keys && shop.search_keys(''hedphones'')') ~ 'search_word_keys_idx', 'misspelt ones by another');
SELECT finish();
ROLLBACK;

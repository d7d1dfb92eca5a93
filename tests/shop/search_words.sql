-- Search finds words, their beginnings, their parts, small typing errors, and text without words, at once.
\ir include/begin.sql
SELECT plan(94);

CREATE FUNCTION found(p_query text) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(s.code, ' ' ORDER BY u.n), '')
    FROM shop.search_products(p_query) AS f, unnest(f.product_ids) WITH ORDINALITY AS u (id, n) JOIN shop.sku AS s ON s.product_id = u.id AND s.position = 1
$$;
CREATE FUNCTION product(p_code text, p_title text, p_description text DEFAULT '', p_tags text[] DEFAULT '{}') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_sku CONSTANT bigint := sku('ann', p_code);
BEGIN
    UPDATE shop.product SET title = p_title, description = p_description, tags = p_tags WHERE id = (SELECT product_id FROM shop.sku WHERE id = v_sku);
END $$;
SELECT product('WH-1000XM4', 'Wireless Headphones', 'With noise cancelling. Charges by USB', '{audio,over ear}') \g /dev/null
SELECT product('IP15', 'iPhone15 手机壳', 'For your phone') \g /dev/null
SELECT product('KR', '무선이어폰', '가벼운 제품') \g /dev/null
SELECT product('JP', '東京のヘッドホン', 'ｶﾞｲﾄﾞ付き') \g /dev/null
SELECT product('CAFE', 'Café crème machine', 'Straße, Øresund, ЁЛКА') \g /dev/null
SELECT product('QUOTE', 'Men''s 100% cotton_shirt & more | less') \g /dev/null

SELECT is(found(q), w, format('%s finds %s', q, w)) FROM (VALUES
    ('headphones', 'WH-1000XM4'), ('HEADPHONES', 'WH-1000XM4'), ('head', 'WH-1000XM4'), ('he', 'WH-1000XM4'), ('hedphones', 'WH-1000XM4'), ('haedphones', 'WH-1000XM4'),
    ('headphonse', 'WH-1000XM4'), ('headphomes', 'WH-1000XM4'), ('headphoness', 'WH-1000XM4'), ('wireles', 'WH-1000XM4'), ('adphon', 'WH-1000XM4'),
    ('wireless headphones', 'WH-1000XM4'), ('headphones wireless', 'WH-1000XM4'), ('audio', 'WH-1000XM4'), ('over ear', 'WH-1000XM4'), ('noise', 'WH-1000XM4'),
    ('wh-1000xm4', 'WH-1000XM4'), ('WH1000XM4', 'WH-1000XM4'), ('1000XM4', 'WH-1000XM4'), ('WH1000', 'WH-1000XM4'), ('00xm', 'WH-1000XM4'), ('usb', 'WH-1000XM4'),
    ('手机', 'IP15'), ('机壳', 'IP15'), ('手机壳', 'IP15'), ('手', 'IP15'), ('壳', 'IP15'), ('iPhone 手机', 'IP15'), ('iphone手机', 'IP15'), ('手机 iPhone', 'IP15'), ('iphone', 'IP15'),
    ('이어', 'KR'), ('무선', 'KR'), ('어폰', 'KR'), ('제품', 'KR'), ('東京', 'JP'), ('京の', 'JP'), ('ッド', 'JP'), ('ヘッドホン', 'JP'), ('ガイド', 'JP'), ('ｶﾞｲ', 'JP'),
    ('cafe', 'CAFE'), ('CAFÉ', 'CAFE'), ('ｃａｆｅ', 'CAFE'), ('creme', 'CAFE'), ('strasse', 'CAFE'), ('oresund', 'CAFE'), ('елка', 'CAFE'), ('Ёлка', 'CAFE'), ('ёл', 'CAFE'),
    ('men''s', 'QUOTE'), ('100%', 'QUOTE WH-1000XM4'), ('cotton_shirt', 'QUOTE'), ('cotton & more', 'QUOTE'), ('more | less', 'QUOTE'),
    ('hdpns', ''), ('headphones machine', ''), ('机手', ''), ('壳手', ''), ('head%phones', 'WH-1000XM4'), ('headp%es', ''), ('h_adphones', ''), ('!headphones''', 'WH-1000XM4'), (')(:*&|!<->''\', '')) AS v (q, w);
SELECT is(found(repeat('headphones ', 100)), 'WH-1000XM4', 'what is too long is cut');
SELECT is(found('phone'), 'IP15 WH-1000XM4', 'a word as it was typed comes before a part of another');
UPDATE shop.sku SET code = 'ZZTOP-9' WHERE code = 'WH-1000XM4';
SELECT is(found('zztop') || found('1000xm4'), 'ZZTOP-9', 'a new code is found at once, the old one no more');
UPDATE shop.product SET published_at = NULL WHERE title LIKE '%Headphones';
SELECT is(found('headphones'), '', 'a draft is not found');
UPDATE shop.product SET published_at = clock_timestamp() WHERE title LIKE '%Headphones';
SELECT is(found('headphones'), 'ZZTOP-9', 'once it is published it is');
UPDATE shop.product SET title = 'Earplugs' WHERE title LIKE '%Headphones';
SELECT is(found('headphones') || found('earplug'), 'ZZTOP-9', 'by its new title, not by the old one');
UPDATE shop.product SET deleted_at = clock_timestamp() WHERE title = 'Earplugs';
SELECT is(found('earplug'), '', 'a deleted product is not found');
SELECT lives_ok($$UPDATE shop.product SET tags = ARRAY[NULL, repeat('x', 5000), ''''] WHERE title = 'iPhone15 手机壳'$$, 'whatever a writer of plain SQL takes for a tag goes in');
SELECT is((SELECT count(*) FROM shop.search_document), 5::bigint, 'and leaves no document behind');

CREATE FUNCTION many(p_code text, p_title text, p_count integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO shop.product (merchant_id, title, currency, price, published_at)
    SELECT merchant('ann'), format(p_title, lpad(n::text, 3, '0'), chr(20320 + n)), 'EUR', 1000, clock_timestamp() FROM generate_series(1, p_count) AS n;
    INSERT INTO shop.sku (product_id, merchant_id, code, price, currency)
    SELECT p.id, p.merchant_id, p_code || row_number() OVER (ORDER BY p.id), 1000, 'EUR' FROM shop.product AS p
    WHERE p.merchant_id = merchant('ann') AND NOT EXISTS (SELECT FROM shop.sku AS s WHERE s.product_id = p.id);
END $$;
CREATE FUNCTION count_found(p_query text) RETURNS integer LANGUAGE sql AS $$ SELECT cardinality((shop.search_products(p_query, 100)).found_ids) $$;
CREATE FUNCTION is_complete(p_query text) RETURNS text LANGUAGE sql AS $$ SELECT (rest.product_search(NULL, jsonb_build_object('q', p_query, 'facets', 'true'))).body #>> '{facets,complete}' $$;
SELECT many('L', 'The LAMP%1$s', 40), many('P', 'A fine blue%1$skettle', 40), many('Q', 'A fine p%1$squill', 30), many('T', '茶%2$s', 30) \g /dev/null
SELECT is(count_found('lamp'), 40, 'a word finds all that begin with it, however many these are');
SELECT is(count_found('fine lamp'), 0, 'with others, what has all of them');
SELECT is(count_found('the lamp'), 40, 'in any order');
SELECT is(count_found('茶'), 30, 'a single Chinese character finds all that have it');
SELECT is(count_found('quill'), 30, 'a word finds what contains it, up to 40 words');
SELECT is(is_complete('quill'), 'true', 'which facets say');
SELECT is(count_found('kettle'), 40, 'and of more, 40');
SELECT is(is_complete('kettle'), 'false', 'which facets say too');
SELECT is(is_complete('lamp'), 'true', 'of beginnings, all are counted');
DELETE FROM shop.sku WHERE code ~ '^P'; DELETE FROM shop.product WHERE title LIKE '%kettle';
SELECT many('K', 'kettle%1$s', 120) \g /dev/null
DELETE FROM shop.sku WHERE code ~ '^K[0-9]'; DELETE FROM shop.product WHERE title LIKE 'kettle%';
SELECT product('KEEP', 'kettlezz') \g /dev/null
SELECT is(found('kettle'), 'KEEP', 'words of products that are gone are in nobody''s way');
SELECT is(numnode((shop.search_query('kettle')).match) < 100, true, 'nor asked for one by one');

SELECT product('TEA', 'Teapot classic'), product('TYPO', 'Teapto') \g /dev/null
SELECT is(found('teapto'), 'TYPO TEA', 'a typing error that another merchant made too is forgiven, after what was typed');
DELETE FROM shop.sku WHERE code = 'TYPO'; DELETE FROM shop.product WHERE title = 'Teapto';
SELECT is(found('teapto'), 'TEA', 'also when his product is gone');
UPDATE shop.search_word SET hits = 1000000 WHERE word = 'teapot';
SELECT is((SELECT count(*) FROM shop.search_found('teapot') WHERE kind = 'near'), 0::bigint, 'a word that is frequent is no typing error');
SELECT product('TYPO2', 'Teapto') \g /dev/null
UPDATE shop.product SET published_at = '2001-01-01' WHERE title = 'Teapto';
INSERT INTO shop.product (merchant_id, title, currency, price, published_at) SELECT merchant('ann'), 'Teapot', 'EUR', 1000, timestamptz '2002-01-01' + n * interval '1 second' FROM generate_series(1, 4100) AS n;
SELECT is((found('teapto')) LIKE 'TYPO2%', true, 'a rare word is not lost among frequent ones that are like it');

SELECT product('HI', 'किताब और कलम'), product('TH', 'น้ำ') \g /dev/null
SELECT is((SELECT string_agg(word, ' ' ORDER BY place) FROM shop.search_tokens('किताब, और कलम।')), 'किताब और कलम', 'signs of vowels do not end a word');
SELECT is(found(q), w, format('%s finds %s', q, w)) FROM (VALUES ('किताब', 'HI'), ('किता', 'HI'), ('कलम', 'HI'), ('ताब', 'HI'), ('น้ำ', 'TH')) AS v (q, w);
SELECT finish();
ROLLBACK;

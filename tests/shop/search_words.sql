-- Search finds words, their beginnings, their parts, small typing errors, and text without words, at once.
\ir include/begin.sql
SELECT plan(73);

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
SELECT finish();
ROLLBACK;

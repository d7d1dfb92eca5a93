-- Products are written by their merchant, in one piece, and by nobody against another's change.
\ir include/begin.sql
SELECT plan(67);

CREATE FUNCTION body(p_more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT '{"title": "Head phones", "description": "Loud", "attributes": {"color": "red"}, "tags": ["Audio", "ＡＵＤＩＯ ", "new  in"],
             "skus": [{"code": "A-1", "price": 1500, "currency": "EUR"}, {"code": "A-2", "price": 1000, "currency": "EUR"}]}'::jsonb || p_more
$$;
SELECT person('root', '{user,admin}') AS root, person('bob') AS bob, merchant('ann') AS ann, merchant('eve') AS eve \gset
SELECT account_id AS ann_actor FROM shop.merchant WHERE id = :ann \gset
SELECT account_id AS eve_actor FROM shop.merchant WHERE id = :eve \gset
CREATE FUNCTION ann() RETURNS bigint LANGUAGE sql AS 'SELECT account_id FROM shop.login WHERE email = ''ann@example.org''';
CREATE FUNCTION eve() RETURNS bigint LANGUAGE sql AS 'SELECT account_id FROM shop.login WHERE email = ''eve@example.org''';
CREATE TABLE made AS SELECT * FROM rest.product_create(:ann_actor, body());
SELECT (body ->> 'id')::bigint AS id FROM made \gset
CREATE FUNCTION the() RETURNS bigint LANGUAGE sql AS 'SELECT (body ->> ''id'')::bigint FROM made';
CREATE FUNCTION tag_of() RETURNS text LANGUAGE sql AS 'SELECT (rest.product_get(ann(), the())).etag';

SELECT is((SELECT status || ' ' || etag || ' ' || location FROM made), '201 "1" /v1/products/' || :id, 'a product is created, as version 1');
SELECT is((SELECT body ->> 'price' FROM made), '1000', 'its price is the lowest of its SKUs');
SELECT is((SELECT body ->> 'tags' FROM made), '["audio","new in"]', 'tags are folded, and there once');
SELECT is((SELECT body #>> '{skus,0,code}' FROM made), 'A-1', 'SKUs stand in the order in which they were sent');
SELECT is((SELECT body ->> 'published' FROM made), 'false', 'it is a draft');
SELECT refuses('SELECT rest.product_get(NULL, the())', 'HS004', 'a draft is not there for the public');
SELECT refuses('SELECT rest.product_get(eve(), the())', 'HS004', 'nor for another merchant');
SELECT refuses('SELECT rest.product_update(eve(), the(), ''{"title": "x"}'', ''*'')', 'HS004', 'who cannot tell it from nothing when he writes');
SELECT is((rest.product_get(:root, :id)).status, 200, 'an admin sees it');
SELECT is((rest.product_publish(:ann_actor, :id)).body ->> 'published', 'true', 'its merchant publishes it');
SELECT is((rest.product_publish(:ann_actor, :id)).etag, '"2"', 'and publishing it again changes nothing');
SELECT is((rest.product_get(NULL, :id)).status, 200, 'then everybody sees it');

SELECT refuses('SELECT rest.product_update(eve(), the(), ''{"title": "x"}'', ''*'')', 'HS003', 'another merchant does not change it');
SELECT refuses('SELECT rest.product_update(NULL, the(), ''{"title": "x"}'', ''*'')', 'HS001', 'nor does nobody');
SELECT refuses('SELECT rest.product_delete(eve(), the(), NULL)', 'HS003', 'nor delete it');
SELECT refuses('SELECT rest.product_image_add(eve(), the(), ''{"original": "x.png"}'')', 'HS003', 'nor give it images');
SELECT refuses('SELECT rest.product_update(ann(), the(), ''{"title": "x"}'', NULL)', 'HS007', 'a change without If-Match is refused');
SELECT refuses('SELECT rest.product_update(ann(), the(), ''{"title": "x"}'', ''"1"'')', 'HS006', 'a change of an older version is refused');
SELECT is((rest.product_update(:ann_actor, :id, '{"title": "Headphones"}', '"2"')).etag, '"3"', 'a change of the version at hand makes the next');
SELECT is((rest.product_get(NULL, :id)).body ->> 'description', 'Loud', 'what is not named stays');
SELECT is((rest.product_update(:ann_actor, :id, '{"description": null, "attributes": null, "tags": null}', '*')).body #>> '{tags}', '[]', 'null empties');
SELECT refuses('SELECT rest.product_update(ann(), the(), ''{"title": null}'', ''*'')', 'HS010', 'a title cannot be empty', '/title');
SELECT refuses('SELECT rest.product_update(ann(), the(), ''{"skus": null}'', ''*'')', 'HS010', 'nor can SKUs', '/skus');

SELECT is((SELECT string_agg(s ->> 'code' || ' ' || (s ->> 'price'), ', ')
           FROM json_array_elements((rest.product_update(:ann_actor, :id, '{"skus": [{"code": "A-3", "price": 700, "currency": "EUR"}, {"code": "A-1", "price": 900, "currency": "EUR"}]}', '*')).body -> 'skus') AS s),
          'A-3 700, A-1 900', 'SKUs become what is sent: changed, new, and gone');
SELECT is((SELECT price FROM shop.product WHERE id = :id), 700::bigint, 'and the product''s price follows');
SELECT is((SELECT count(*) FROM shop.sku WHERE product_id = :id), 3::bigint, 'a SKU that is gone stays on record');
SELECT lives_ok(format($$SELECT rest.product_update(ann(), the(), '{"skus": [{"id": "%s", "code": "B-1", "price": 900}]}', '*')$$, (SELECT id FROM shop.sku WHERE code = 'A-1')),
                'a SKU that is named by its id may change its code');
SELECT lives_ok($$SELECT rest.product_update(ann(), the(), '{"skus": [{"code": "A-2", "price": 800}]}', '*')$$, 'a deleted SKU comes back by its code');
SELECT is((SELECT count(*) FROM shop.sku WHERE product_id = :id AND deleted_at IS NULL), 1::bigint, 'alone if it is named alone');
UPDATE shop.sku SET price = 600 WHERE code = 'A-2';
SELECT is((SELECT price FROM shop.product WHERE id = :id), 600::bigint, 'whoever changes a price with plain SQL changes the product''s');
SELECT is((SELECT version FROM shop.product WHERE id = :id) > 9, true, 'and its version');
SELECT refuses($$SELECT rest.product_update(ann(), the(), '{"skus": [{"code": "A-2", "price": 800, "currency": "USD"}]}', '*')$$, 'HS015', 'a product keeps its currency', '/skus/0/currency');
SELECT refuses($$SELECT rest.product_update(ann(), the(), '{"skus": [{"id": "7", "code": "A-2", "price": 800}]}', '*')$$, 'HS015', 'a SKU of another product is none of this', '/skus/0/id');
SELECT refuses($$SELECT rest.product_create(ann(), body('{"skus": [{"code": "Z", "price": 1, "currency": "EUR"}, {"code": "A-2", "price": 1, "currency": "EUR"}]}'))$$, 'HS201',
               'a code that another product of the merchant has is taken', '/skus/1/code');
SELECT refuses($$SELECT rest.product_create(ann(), body('{"skus": [{"code": "A-3", "price": 1, "currency": "EUR"}]}'))$$, 'HS201', 'also if its SKU is deleted', '/skus/0/code');
SELECT is((rest.product_create(:eve_actor, body())).status, 201, 'but not for another merchant');

SELECT refuses(format('SELECT rest.product_create(ann(), body(%L))', b), s, w, p) FROM (VALUES
    ('{"skus": [{"code": "Q", "price": 1, "currency": "EUR"}, {"code": "Q", "price": 1, "currency": "EUR"}]}', 'HS015', 'the same code twice is refused', '/skus/1/code'),
    ('{"skus": [{"code": "Q", "price": 0, "currency": "EUR"}]}', 'HS014', 'so is a price of nothing', '/skus/0/price'),
    ('{"skus": [{"code": "Q", "price": 1.5, "currency": "EUR"}]}', 'HS011', 'a fraction of a minor unit', '/skus/0/price'),
    ('{"skus": [{"code": "Q", "price": 1000000000001, "currency": "EUR"}]}', 'HS014', 'a price beyond measure', '/skus/0/price'),
    ('{"skus": [{"code": "Q", "price": 1, "currency": "ZZZ"}]}', 'HF025', 'no currency', '/skus/0/currency'),
    ('{"skus": [{"code": "Q", "price": 1, "currency": "EUR"}, {"code": "R", "price": 1, "currency": "USD"}]}', 'HS015', 'two currencies', '/skus/1/currency'),
    ('{"skus": []}', 'HS012', 'no SKU', '/skus'),
    ('{"skus": [7]}', 'HS011', 'a SKU that is a number', '/skus/0'),
    ('{"category_id": "7"}', 'HS015', 'a category that does not exist', '/category_id'),
    ('{"category_id": 7}', 'HS011', 'a category that is a number', '/category_id'),
    ('{"attributes": [1]}', 'HS011', 'attributes that are no object', '/attributes'),
    ('{"attributes": {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}}', 'HS015', 'attributes six deep', '/attributes'),
    ('{"title": "  "}', 'HS012', 'a title of blanks', '/title'),
    ('{"title": "\u200b\u2003"}', 'HS012', 'a title that shows nothing', '/title'),
    ('{"tags": ["\u200b"]}', 'HS012', 'a tag that shows nothing', '/tags/0'),
    ('{"skus": [{"code": "\ufeff", "price": 1, "currency": "EUR"}]}', 'HS012', 'a code that shows nothing', '/skus/0/code'),
    ('{"tags": ["a", 1]}', 'HS011', 'a tag that is no text', '/tags/1'),
    ('{"price": 7}', 'HS009', 'a field that is not known', '/price')) AS v (b, s, w, p);
SELECT refuses(format('SELECT rest.product_create(ann(), body(%L))', jsonb_build_object('attributes', jsonb_build_object('a', repeat('x', 17000)))), 'HS012', 'attributes of more than 16 KB', '/attributes');
SELECT refuses(format('SELECT rest.product_create(ann(), body(%L))', jsonb_build_object('skus', (SELECT jsonb_agg(jsonb_build_object('code', 'n' || n, 'price', 1, 'currency', 'EUR')) FROM generate_series(1, 101) AS n))),
               'HS012', '101 SKUs', '/skus');
SELECT refuses(format('SELECT rest.product_create(%s, body())', :bob), 'HS003', 'and who is no merchant');

INSERT INTO shop.image (product_id, position, original, state, sizes, reason) VALUES
    (:id, 1, 'mine.png', 'uploaded', '[]', NULL), (:id, 2, 'secret.png', 'ready', '[{"width": 7}]', NULL), (:id, 3, 'bad.png', 'refused', '[]', 'no picture');
SELECT is((SELECT string_agg((i ->> 'state') || ' ' || (i ->> 'original') || coalesce(' ' || (i ->> 'reason'), ''), ', ') FROM json_array_elements((rest.product_get(a, :id)).body -> 'images') AS i),
          'uploaded mine.png, ready secret.png, refused bad.png no picture', w || ' sees what became of the images')
FROM (VALUES (:ann_actor::bigint, 'the merchant'), (:root, 'an admin')) AS v (a, w);
SELECT is((SELECT string_agg((i.value::jsonb - 'id')::text, ', ') FROM json_array_elements((rest.product_get(a, :id)).body -> 'images') AS i), '{"sizes": [{"width": 7}], "state": "ready"}', w || ' sees those that are ready')
FROM (VALUES (NULL::bigint, 'the public'), (:eve_actor, 'another merchant')) AS v (a, w);
SELECT is((SELECT string_agg(k, ' ' ORDER BY n) FROM json_object_keys((rest.product_get(NULL, :id)).body) WITH ORDINALITY AS x (k, n)),
          (SELECT string_agg(k, ' ' ORDER BY n) FROM json_object_keys((rest.product_get(:ann_actor, :id)).body) WITH ORDINALITY AS x (k, n)), 'with the same fields in the same order');
SELECT is((rest.product_delete(:ann_actor, :id, tag_of())).status, 204, 'its merchant deletes it');
SELECT refuses('SELECT rest.product_get(NULL, the())', 'HS005', 'then it is gone');
SELECT refuses('SELECT rest.product_update(ann(), the(), ''{"title": "x"}'', ''*'')', 'HS005', 'and cannot be changed');
SELECT is((SELECT count(*) FROM shop.sku WHERE product_id = :id AND deleted_at IS NULL), 0::bigint, 'nor sold: its SKUs are gone too');
SELECT is_empty($$SELECT id FROM shop.product AS p WHERE price <> (SELECT min(s.price) FROM shop.sku AS s WHERE s.product_id = p.id AND s.deleted_at IS NULL)$$,
                'every product''s price is the lowest of its SKUs');
SELECT finish();
ROLLBACK;

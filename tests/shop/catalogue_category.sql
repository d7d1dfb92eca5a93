-- Categories are a tree, and a category shows what is below it, wherever it is moved.
\ir include/begin.sql
SELECT plan(24);

SELECT person('root', '{user,admin}') AS root, person('bob') AS bob, sku('ann', 'lamp') AS lamp, sku('ann', 'torch') AS torch \gset
CREATE FUNCTION root() RETURNS bigint LANGUAGE sql AS 'SELECT account_id FROM shop.login WHERE email = ''root@example.org''';
CREATE FUNCTION make(p_name text, p_parent text DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
    SELECT ((rest.category_create(root(), jsonb_build_object('name', p_name, 'parent_id', (SELECT id::text FROM shop.category WHERE name = p_parent)))).body ->> 'id')::bigint
$$;
CREATE FUNCTION named(p_name text) RETURNS bigint LANGUAGE sql AS 'SELECT id FROM shop.category WHERE name = p_name';
CREATE FUNCTION shown(p_name text) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(p.title, ', ' ORDER BY u.n), '')
    FROM shop.list_products('title', 20, NULL, named(p_name)) AS l, unnest(l.product_ids) WITH ORDINALITY AS u (id, n) JOIN shop.product AS p ON p.id = u.id
$$;
SELECT make('home'), make('light', 'home'), make('garden') \gset x_
SELECT is((SELECT count(*) FROM shop.category), 3::bigint, 'an admin makes categories');
SELECT refuses(format($$SELECT rest.category_create(%s, '{"name": "x"}')$$, :bob), 'HS003', 'nobody else does');
SELECT refuses('SELECT rest.category_create(root(), ''{"name": "home"}'')', 'HS202', 'a name is there once in its place', '/name');
SELECT lives_ok('SELECT make(''light'', ''garden'')', 'and may be there in another');
DELETE FROM shop.category WHERE name = 'light' AND parent_id = named('garden');
SELECT refuses('SELECT rest.category_create(root(), ''{"name": "x", "parent_id": "7"}'')', 'HS015', 'nothing stands below nothing', '/parent_id');

UPDATE shop.product SET category_id = named('light') WHERE title = 'The lamp';
UPDATE shop.product SET category_id = named('home') WHERE title = 'The torch';
SELECT is(shown('home'), 'The lamp, The torch', 'a category shows its products and those below it');
SELECT is(shown('light'), 'The lamp', 'and not those above it');
SELECT is((rest.category_update(:root, named('light'), jsonb_build_object('parent_id', named('garden')::text))).status, 200, 'a category is moved');
SELECT is(shown('home'), 'The torch', 'then what was above it does not show its products');
SELECT is(shown('garden'), 'The lamp', 'and what is above it does');
SELECT is((rest.category_update(:root, named('light'), '{"name": "lights"}')).body ->> 'name', 'lights', 'a category is renamed');
SELECT is(shown('garden'), 'The lamp', 'which moves nothing');
SELECT refuses('SELECT rest.category_update(root(), named(''garden''), jsonb_build_object(''parent_id'', named(''lights'')::text))', 'HS203', 'a category does not go below itself', '/parent_id');
SELECT refuses('SELECT rest.category_update(root(), named(''garden''), jsonb_build_object(''parent_id'', named(''garden'')::text))', 'HS203', 'nor into itself', '/parent_id');
SELECT refuses('SELECT rest.category_update(root(), named(''garden''), ''{"name": "home"}'')', 'HS202', 'nor takes another''s name', '/name');
SELECT refuses('SELECT rest.category_update(root(), 7, ''{"name": "x"}'')', 'HS004', 'what does not exist is not renamed');
SELECT is((rest.category_update(:root, named('lights'), '{"parent_id": null}')).body ->> 'parent_id', NULL, 'null moves it to the top');
SELECT is(shown('garden') || '/' || shown('lights'), '/The lamp', 'with its products');

SELECT make('d' || n, CASE WHEN n > 1 THEN 'd' || n - 1 END) FROM generate_series(1, 8) AS n \g /dev/null
SELECT refuses('SELECT make(''d9'', ''d8'')', 'HS204', 'the ninth below each other is refused', '/parent_id');
SELECT refuses('SELECT rest.category_update(root(), named(''d2''), jsonb_build_object(''parent_id'', named(''lights'')::text)) FROM (SELECT make(''d0'', ''d8'')) AS x', 'HS204', 'also by whatever is moved', '/parent_id');
SELECT refuses('SELECT rest.category_update(root(), named(''d1''), jsonb_build_object(''parent_id'', named(''lights'')::text))', 'HS204', 'with all below it', '/parent_id');
UPDATE shop.product SET published_at = NULL WHERE title = 'The lamp';
SELECT is(shown('lights'), '', 'a draft shows nowhere');
UPDATE shop.product SET published_at = clock_timestamp() WHERE title = 'The lamp';
SELECT is(shown('lights'), 'The lamp', 'until it is published');
UPDATE shop.product SET category_id = NULL WHERE title = 'The lamp';
SELECT is(shown('lights'), '', 'and a product without category in none');
SELECT finish();
ROLLBACK;

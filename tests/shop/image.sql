-- Pictures: the worker is told of what it holds the lease of, and decides about that alone, once.
\ir include/begin.sql
SELECT plan(31);

SELECT person('anna') AS anna, sku('ann', 'lamp', 1000, 5) AS lamp \gset
CREATE FUNCTION lamp() RETURNS bigint LANGUAGE sql AS 'SELECT product_id FROM shop.sku WHERE code = ''lamp''';
CREATE FUNCTION size(p_file text DEFAULT 'ab/c.webp') RETURNS jsonb LANGUAGE sql AS $$SELECT jsonb_build_array(jsonb_build_object('name', 'w160', 'width', 160, 'height', 80, 'type', 'image/webp', 'file', p_file))$$;
CREATE TABLE held (LIKE shop.job);
CREATE FUNCTION claim(p_kind text DEFAULT 'image_uploaded') RETURNS bigint LANGUAGE sql AS $$
    WITH claimed AS (SELECT c.* FROM shop.claim_jobs('tester', ARRAY[p_kind], 100) AS c),
         kept AS (INSERT INTO held (id, lease, kind, payload, due_at, enqueued_at, priority, attempts, slot) SELECT id, lease, kind, payload, now(), now(), 0, attempt, 1 FROM claimed)
    SELECT count(*) FROM claimed $$;
CREATE FUNCTION details(p_which text) RETURNS json LANGUAGE sql AS $$
    SELECT (SELECT d.details FROM shop.image_details(h.lease, ARRAY[h.id]) AS d) FROM held AS h WHERE h.payload::text ~ p_which ORDER BY h.id DESC LIMIT 1 $$;
CREATE FUNCTION finish(p_which text, p_result jsonb, p_lease uuid DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
    SELECT (SELECT count(*) FROM shop.finish_images(coalesce(p_lease, h.lease), ARRAY[h.id], ARRAY[p_result::json])) FROM held AS h WHERE h.payload::text ~ p_which ORDER BY h.id DESC LIMIT 1 $$;

SELECT shop.add_image(lamp(), 'one.png') AS one, shop.add_image(lamp(), 'two.png') AS two, shop.add_image(lamp(), 'three.png') AS three \gset
SELECT rest.me_avatar_set(:anna, 'me.jpg') \g /dev/null
SELECT is(claim(), 4::bigint, 'pictures of products and accounts are jobs of one kind');
SELECT is(details(:'one')::text, '{"original" : "one.png", "shape" : "product", "last" : false}', 'the worker is told what to make of a product''s');
SELECT is(details('account_id')::text, '{"original" : "me.jpg", "shape" : "avatar", "last" : false}', 'and of an account''s');
SELECT is((SELECT count(*) FROM held AS h, shop.image_details(gen_random_uuid(), ARRAY[h.id])), 0::bigint, 'nobody else is told anything');
SELECT is((SELECT count(*) FROM held AS h, shop.image_details(NULL, ARRAY[h.id])), 0::bigint, 'nor is who has no lease');

SELECT refuses(format('SELECT finish(%L, %L)', :'one', r), 'HS015', format('%s is no result', left(r, 60)))
FROM unnest(ARRAY['[]', '{}', '{"original": "one.png"}', '{"original": "one.png", "sizes": []}', '{"original": "one.png", "sizes": [{"name": "w1"}]}', '{"sizes": [], "reason": "x"}']) AS r;
SELECT refuses('SELECT shop.finish_images(gen_random_uuid(), ARRAY[gen_random_uuid()], ''{}'')', 'HS015', 'and each job has one');
SELECT is(finish(:'one', jsonb_build_object('original', 'one.png', 'sizes', size()), gen_random_uuid()), 0::bigint, 'who does not hold the lease decides nothing');
SELECT is(state, 'uploaded', 'the picture waits') FROM shop.image WHERE id = :one;
SELECT version AS was FROM shop.product WHERE id = lamp() \gset
SELECT is(finish(:'one', jsonb_build_object('original', 'one.png', 'sizes', size())), 1::bigint, 'who does finishes the job');
SELECT is(state || sizes, 'ready' || size()::text, 'and the picture is ready') FROM shop.image WHERE id = :one;
SELECT is(version, :was + 1, 'in another version of the product') FROM shop.product WHERE id = lamp();
SELECT is((rest.product_get(NULL, lamp())).body #>> '{images,0,sizes,0,file}', 'ab/c.webp', 'which everybody sees');
SELECT is(finish(:'one', jsonb_build_object('original', 'one.png', 'reason', 'no')), 0::bigint, 'twice is once');
SELECT is(finish(:'two', jsonb_build_object('original', 'two.png', 'reason', repeat('x', 300))), 1::bigint, 'another one is refused');
SELECT is(state || length(reason) || sizes, 'refused200[]', 'for a reason that its merchant reads') FROM shop.image WHERE id = :two;

-- What is not wanted any more.
SELECT rest.me_avatar_set(:anna, 'newer.jpg') \g /dev/null
SELECT is(finish('account_id', jsonb_build_object('original', 'me.jpg', 'sizes', size())), 1::bigint, 'a picture that was replaced is done');
SELECT is(avatar, '{"state": "uploaded", "sizes": [], "original": "newer.jpg"}', 'and changes nothing') FROM shop.account WHERE id = :anna;
SELECT is(claim(), 1::bigint, 'the newer one is a job of its own');
SELECT is(finish('account_id', jsonb_build_object('original', 'newer.jpg', 'sizes', size())), 1::bigint, 'which counts');
SELECT is(avatar, jsonb_build_object('state', 'ready', 'sizes', size(), 'original', 'newer.jpg'), 'it has its sizes') FROM shop.account WHERE id = :anna;
UPDATE shop.product SET deleted_at = now() WHERE id = lamp();
SELECT ok(details(:'three') ->> 'skip' IS NOT NULL, 'a picture of a product that is gone is left alone');

-- The sweep.
SELECT shop.enqueue('image_sweep', '{"step": 10}') \g /dev/null
SELECT is(claim('image_sweep'), 1::bigint, 'a sweep is a job');
SELECT is((SELECT d.details::text FROM held AS h, shop.sweep_details(h.lease, ARRAY[h.id]) AS d WHERE h.kind = 'image_sweep'),
    '{"sweep" : "a", "originals" : [], "files" : ["ab/c.webp"]}', 'which is told what is wanted of the names that begin so');
SELECT is((SELECT count(*) FROM held AS h, shop.finish_sweeps(h.lease, ARRAY[h.id], ARRAY['{}'::json]) WHERE h.kind = 'image_sweep'), 1::bigint, 'it is finished');
SELECT is((SELECT payload FROM shop.job WHERE kind = 'image_sweep'), '{"step": 11}'::jsonb, 'and the next step is enqueued');
SELECT finish();
ROLLBACK;

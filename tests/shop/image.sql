-- Pictures: the worker is told of what it holds the lease of, and decides about that alone, once.
\ir include/begin.sql
SELECT plan(45);

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

-- A picture that nobody will work on any more.
SELECT shop.add_image(lamp(), 'lost.png') AS lost \gset
SELECT is(shop.refuse_lost_pictures(), 0::bigint, 'a picture that has a job is left alone');
SELECT count(*) FROM shop.claim_jobs('w', '{image_uploaded}', 100) AS c, shop.fail_jobs(c.lease, ARRAY[c.id], '{broken}', true) \g /dev/null
SELECT is(shop.refuse_lost_pictures(), 0::bigint, 'and for a day one whose job is dead, for somebody may send that again');
UPDATE shop.job_dead SET died_at = clock_timestamp() - interval '25 h';
SELECT cmp_ok(shop.refuse_lost_pictures(), '>=', 1::bigint, 'then it is refused');
SELECT is((SELECT state || ': ' || reason FROM shop.image WHERE id = :lost), 'refused: it could not be worked on; upload it again', 'with a reason');
DELETE FROM shop.job_dead;

UPDATE shop.product SET deleted_at = now() WHERE id = lamp();
SELECT ok(details(:'three') ->> 'skip' IS NOT NULL, 'a picture of a product that is gone is left alone');

-- The sweep.
CREATE FUNCTION told_of(p_step integer) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM shop.job WHERE kind = 'image_sweep'; DELETE FROM shop.job_key; DELETE FROM held WHERE kind = 'image_sweep';
    PERFORM shop.enqueue('image_sweep', jsonb_build_object('step', p_step)), claim('image_sweep');
    RETURN (SELECT d.details FROM held AS h, shop.sweep_details(h.lease, ARRAY[h.id]) AS d WHERE h.kind = 'image_sweep');
END $$;
CREATE FUNCTION done() RETURNS bigint LANGUAGE sql AS $$SELECT count(*) FROM held AS h, shop.finish_sweeps(h.lease, ARRAY[h.id], ARRAY['{}'::json]) WHERE h.kind = 'image_sweep'$$;
CREATE FUNCTION next() RETURNS text LANGUAGE sql AS $$SELECT concat_ws(' ', (SELECT payload ->> 'step' FROM shop.job WHERE kind = 'image_sweep'), (SELECT payload ->> 'step' FROM shop.job_periodic WHERE name = 'image_sweep'))$$;
UPDATE shop.image SET original = 'a1.png' WHERE id = :one;
UPDATE shop.account SET avatar = jsonb_build_object('state', 'ready', 'original', 'a2.png', 'sizes', size('ab/d.png') || size('ac/d.png')) WHERE id = :anna;
SELECT is(told_of(10), '{"sweep" : "a", "wanted" : ["a1.png", "a2.png"]}', 'a step of the sweep is told which uploads are wanted of those that begin so');
SELECT is(told_of(11), '{"sweep" : "b", "wanted" : []}', 'though it be none');
SELECT is(told_of(16 + 171), '{"sweep" : "ab", "wanted" : ["ab/c.webp", "ab/d.png"]}', 'a later one which sizes');
SELECT is(told_of(16 + 10), '{"sweep" : "0a", "wanted" : []}', 'of no others');
SELECT is(told_of(271), '{"sweep" : "ff", "wanted" : []}', 'up to the last');
SELECT is(done() || ' ' || next(), '1 0', 'after which the sweep is over');
SELECT is(told_of(10) IS NOT NULL AND done() = 1, true, 'when a step is done');
SELECT is(next(), '11 11', 'the next one is enqueued, and noted');
SELECT is(done() || ' ' || next(), '0 11 11', 'once');
SELECT count(*) FROM shop.claim_jobs('w', '{image_sweep}', 1) AS c, shop.fail_jobs(c.lease, ARRAY[c.id], '{broken}', true) \g /dev/null
UPDATE shop.job_periodic SET next_at = clock_timestamp() WHERE name = 'image_sweep';
SELECT shop.run_periodic() \g /dev/null
SELECT is(next(), '11 11', 'when one has died the next sweep begins with it');

-- What a step costs.
INSERT INTO shop.image (product_id, original, state, sizes)
SELECT lamp(), encode(sha256(int4send(n)), 'hex') || '.png', 'ready', (SELECT jsonb_agg(jsonb_build_object('file', left(h.hash, 2) || '/' || h.hash))
    FROM (SELECT encode(sha256(int4send(n * 100 + k)), 'hex') AS hash FROM generate_series(1, 8) AS k) AS h)
FROM generate_series(1, 4000) AS n;
CREATE FUNCTION looked_at() RETURNS bigint LANGUAGE sql AS $$SELECT pg_stat_get_xact_tuples_returned('shop.image'::regclass) + pg_stat_get_xact_tuples_fetched('shop.image'::regclass)$$;
SELECT is(json_array_length(told_of(16 + 171)::json -> 'wanted'), (SELECT count(DISTINCT s ->> 'file')::integer FROM shop.image, jsonb_array_elements(sizes) AS s WHERE s ->> 'file' LIKE 'ab%') + 1,
    'of many sizes it finds all that begin so');
SELECT looked_at() AS before \gset
SELECT told_of(16 + 171) \g /dev/null
SELECT cmp_ok(looked_at() - :before, '<', 400::bigint, 'and looks at their pictures alone');
SELECT is(json_array_length(told_of(10)::json -> 'wanted'), (SELECT count(*)::integer FROM (SELECT original FROM shop.image WHERE original LIKE 'a%' UNION SELECT 'a2.png') AS x), 'likewise of uploads');
SELECT looked_at() AS before \gset
SELECT told_of(10) \g /dev/null
SELECT cmp_ok(looked_at() - :before, '<', 800::bigint, 'of which it looks at one in sixteen');
SELECT finish();
ROLLBACK;

-- Verify shop:image on pg
BEGIN;
SELECT 1 / has_function_privilege('shop_worker', f, 'EXECUTE')::integer
FROM unnest(ARRAY['shop.image_details(uuid, uuid[])', 'shop.finish_images(uuid, uuid[], json[])', 'shop.sweep_details(uuid, uuid[])', 'shop.finish_sweeps(uuid, uuid[], json[])']) AS f;
SELECT has_function_privilege('shop.refuse_lost_pictures()', 'EXECUTE'), has_function_privilege('shop.decide_pictures(bigint[], bigint[], jsonb[])', 'EXECUTE');
SELECT 1 / (count(*) = 1)::integer FROM shop.job_periodic WHERE name = 'image_sweep';
ROLLBACK;

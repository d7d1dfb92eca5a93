-- Revert shop:image from pg
BEGIN;
DROP FUNCTION shop.finish_sweeps(uuid, uuid[], json[]);
DROP FUNCTION shop.sweep_details(uuid, uuid[]);
DROP INDEX shop.account_avatar_sizes_idx, shop.account_avatar_original_idx, shop.image_sizes_idx, shop.image_original_idx;
DROP FUNCTION shop.size_beginnings(jsonb);
DROP FUNCTION shop.refuse_lost_pictures();
DROP FUNCTION shop.finish_images(uuid, uuid[], json[]);
DROP FUNCTION shop.decide_pictures(bigint[], bigint[], jsonb[]);
DROP FUNCTION shop.check_image_result(json);
DROP FUNCTION shop.image_details(uuid, uuid[]);
DELETE FROM shop.job_periodic WHERE name = 'image_sweep';
DELETE FROM shop.job_kind WHERE kind = 'image_sweep';
COMMIT;

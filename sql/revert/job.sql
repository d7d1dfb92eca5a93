-- Revert shop:job from pg
BEGIN;
DELETE FROM shop.problem WHERE code IN ('HS501', 'HS502', 'HS503', 'HS504');
DROP TABLE shop.job_periodic;
DROP TABLE shop.job_minute;
DROP TABLE shop.job_dead;
DROP TABLE shop.job_key;
DROP TABLE shop.job_log;
DROP TABLE shop.job;
DROP TABLE shop.job_lane;
DROP TABLE shop.job_slot;
DROP TABLE shop.job_head;
DROP TABLE shop.job_kind;
COMMIT;

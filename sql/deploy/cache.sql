-- deploy shop:cache
BEGIN;
COMMIT;

-- verify shop:cache
BEGIN;
COMMIT;

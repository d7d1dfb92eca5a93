-- revert shop:cache
BEGIN;
COMMIT;

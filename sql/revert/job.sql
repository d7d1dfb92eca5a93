-- revert shop:job
BEGIN;
COMMIT;

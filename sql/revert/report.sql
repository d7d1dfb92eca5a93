-- revert shop:report
BEGIN;
COMMIT;

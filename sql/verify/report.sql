-- verify shop:report
BEGIN;
COMMIT;

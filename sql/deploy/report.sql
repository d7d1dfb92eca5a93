-- deploy shop:report
BEGIN;
COMMIT;

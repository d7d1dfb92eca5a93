-- deploy shop:job
BEGIN;
COMMIT;

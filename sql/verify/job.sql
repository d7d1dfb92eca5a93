-- verify shop:job
BEGIN;
COMMIT;

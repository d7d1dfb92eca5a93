-- verify shop:search
BEGIN;
COMMIT;

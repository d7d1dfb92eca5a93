-- verify shop:catalogue_write
BEGIN;
COMMIT;

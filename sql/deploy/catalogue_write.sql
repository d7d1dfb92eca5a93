-- deploy shop:catalogue_write
BEGIN;
COMMIT;

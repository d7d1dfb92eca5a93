-- revert shop:catalogue_write
BEGIN;
COMMIT;

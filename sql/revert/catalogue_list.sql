-- revert shop:catalogue_list
BEGIN;
COMMIT;

-- verify shop:catalogue_list
BEGIN;
COMMIT;

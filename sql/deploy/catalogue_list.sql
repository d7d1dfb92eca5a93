-- deploy shop:catalogue_list
BEGIN;
COMMIT;

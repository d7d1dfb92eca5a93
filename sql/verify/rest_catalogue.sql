-- verify shop:rest_catalogue
BEGIN;
COMMIT;

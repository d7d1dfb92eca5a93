-- revert shop:rest_catalogue
BEGIN;
COMMIT;

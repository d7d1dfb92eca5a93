-- deploy shop:rest_catalogue
BEGIN;
COMMIT;

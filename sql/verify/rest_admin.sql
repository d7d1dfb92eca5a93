-- verify shop:rest_admin
BEGIN;
COMMIT;

-- deploy shop:rest_admin
BEGIN;
COMMIT;

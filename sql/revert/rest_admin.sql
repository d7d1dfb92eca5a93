-- revert shop:rest_admin
BEGIN;
COMMIT;

-- deploy shop:rest_account
BEGIN;
COMMIT;

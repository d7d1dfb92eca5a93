-- verify shop:rest_account
BEGIN;
COMMIT;

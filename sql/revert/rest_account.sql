-- revert shop:rest_account
BEGIN;
COMMIT;

-- verify shop:account_login
BEGIN;
COMMIT;

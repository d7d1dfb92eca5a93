-- revert shop:account_login
BEGIN;
COMMIT;

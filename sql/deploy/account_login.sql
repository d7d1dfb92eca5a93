-- deploy shop:account_login
BEGIN;
COMMIT;

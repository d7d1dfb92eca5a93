-- revert shop:order_import
BEGIN;
COMMIT;

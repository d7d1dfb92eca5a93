-- deploy shop:order_import
BEGIN;
COMMIT;

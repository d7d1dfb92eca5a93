-- verify shop:order_import
BEGIN;
COMMIT;

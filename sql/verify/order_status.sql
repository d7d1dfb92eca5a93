-- verify shop:order_status
BEGIN;
COMMIT;

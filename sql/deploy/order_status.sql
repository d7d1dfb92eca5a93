-- deploy shop:order_status
BEGIN;
COMMIT;

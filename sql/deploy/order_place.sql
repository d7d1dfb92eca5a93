-- deploy shop:order_place
BEGIN;
COMMIT;

-- verify shop:order_place
BEGIN;
COMMIT;

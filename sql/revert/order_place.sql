-- revert shop:order_place
BEGIN;
COMMIT;

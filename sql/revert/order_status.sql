-- revert shop:order_status
BEGIN;
COMMIT;

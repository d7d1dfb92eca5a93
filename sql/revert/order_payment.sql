-- revert shop:order_payment
BEGIN;
COMMIT;

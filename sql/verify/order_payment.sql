-- verify shop:order_payment
BEGIN;
COMMIT;

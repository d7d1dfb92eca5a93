-- deploy shop:order_payment
BEGIN;
COMMIT;

-- deploy shop:sale_purchase
BEGIN;
COMMIT;

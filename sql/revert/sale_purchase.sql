-- revert shop:sale_purchase
BEGIN;
COMMIT;

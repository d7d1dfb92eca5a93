-- verify shop:sale_purchase
BEGIN;
COMMIT;

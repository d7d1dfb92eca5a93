-- deploy shop:rest_sale
BEGIN;
COMMIT;

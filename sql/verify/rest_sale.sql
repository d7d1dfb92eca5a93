-- verify shop:rest_sale
BEGIN;
COMMIT;

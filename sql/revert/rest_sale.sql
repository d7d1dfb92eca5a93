-- revert shop:rest_sale
BEGIN;
COMMIT;

-- verify shop:rest_order
BEGIN;
COMMIT;

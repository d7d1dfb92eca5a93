-- deploy shop:rest_order
BEGIN;
COMMIT;

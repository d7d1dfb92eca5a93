-- revert shop:rest_order
BEGIN;
COMMIT;

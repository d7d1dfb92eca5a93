-- deploy shop:sale_state
BEGIN;
COMMIT;

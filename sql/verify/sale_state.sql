-- verify shop:sale_state
BEGIN;
COMMIT;

-- revert shop:sale_state
BEGIN;
COMMIT;

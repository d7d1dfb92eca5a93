-- revert shop:search
BEGIN;
COMMIT;

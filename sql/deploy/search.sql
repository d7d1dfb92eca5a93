-- deploy shop:search
BEGIN;
COMMIT;

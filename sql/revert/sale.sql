-- Revert shop:sale from pg
BEGIN;
DROP TABLE shop.sale;
COMMIT;

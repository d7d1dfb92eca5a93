-- Revert shop:worker from pg
BEGIN;
DROP FUNCTION shop.beat(text, json);
DROP FUNCTION shop.is_alive(shop.worker);
DROP TABLE shop.worker;
COMMIT;

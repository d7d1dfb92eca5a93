-- Revert shop:order from pg
BEGIN;
DROP TABLE shop.order_transition;
DROP TABLE shop.order_event;
DROP TABLE shop.order_line;
DROP TABLE shop.order;
COMMIT;

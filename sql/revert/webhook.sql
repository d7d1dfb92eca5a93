-- Revert shop:webhook from pg
BEGIN;
DROP FUNCTION shop.purge_deliveries(integer);
DROP FUNCTION shop.redeliver(bigint, bigint, uuid);
DROP FUNCTION shop.record_deliveries(uuid, uuid[], json[]);
DROP FUNCTION shop.delivery_details(uuid, uuid[]);
DROP FUNCTION shop.disable_endpoint(bigint, bigint, text);
DROP FUNCTION shop.make_deliveries(bigint[], bigint[], text[], text[], text[], integer);
DROP FUNCTION shop.webhook_payload(bigint, bigint, uuid);
DROP FUNCTION shop.webhook_key(uuid);
DROP FUNCTION shop.webhook_pause(integer);
DROP FUNCTION shop.enqueue_all(text, text[], jsonb[], timestamptz[]);
DROP TABLE shop.webhook_low_stock;
DROP TABLE shop.webhook_attempt;
DROP TABLE shop.webhook_delivery;
DROP TABLE shop.webhook_endpoint;
DELETE FROM shop.problem WHERE code BETWEEN 'HS601' AND 'HS602';
COMMIT;

-- Revert shop:webhook_event from pg
BEGIN;
DROP FUNCTION shop.notice_low_stock(integer);
DROP FUNCTION shop.relay_jobs(uuid, uuid[], json[]);
DROP FUNCTION shop.relay_webhooks(text[], jsonb[], timestamptz[]);
DROP FUNCTION shop.webhook_body(text, timestamptz, json);
DROP FUNCTION shop.webhook_types();
COMMIT;

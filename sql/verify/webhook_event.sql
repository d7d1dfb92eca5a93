-- Verify shop:webhook_event on pg
BEGIN;
SELECT 1 / ('order.placed' = ANY (shop.webhook_types()))::integer;
SELECT has_function_privilege(f, 'EXECUTE') FROM unnest(ARRAY['shop.webhook_body(text, timestamptz, json)', 'shop.relay_webhooks(text[], jsonb[], timestamptz[])',
    'shop.notice_low_stock(integer)']) AS f;
SELECT 1 / has_function_privilege('shop_worker', 'shop.relay_jobs(uuid, uuid[], json[])', 'EXECUTE')::integer;
ROLLBACK;

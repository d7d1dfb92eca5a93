-- Verify shop:webhook on pg
BEGIN;
SELECT merchant_id, id, url, secret FROM shop.webhook_endpoint WHERE false;
SELECT merchant_id, endpoint_id, id, body FROM shop.webhook_delivery WHERE false;
SELECT merchant_id, endpoint_id, delivery_id, n FROM shop.webhook_attempt WHERE false;
SELECT merchant_id, endpoint_id, sku_id FROM shop.webhook_low_stock WHERE false;
SELECT 1 / (shop.webhook_pause(9) = '5 s' AND shop.webhook_pause(1) = '24 h' AND shop.webhook_pause(0) IS NULL)::integer;
SELECT has_function_privilege(f, 'EXECUTE') FROM unnest(ARRAY['shop.enqueue_all(text, text[], jsonb[], timestamptz[])', 'shop.webhook_key(uuid)',
    'shop.webhook_payload(bigint, bigint, uuid)', 'shop.make_deliveries(bigint[], bigint[], text[], text[], text[], integer)',
    'shop.disable_endpoint(bigint, bigint, text)', 'shop.redeliver(bigint, bigint, uuid)', 'shop.purge_deliveries(integer)']) AS f;
SELECT 1 / has_function_privilege('shop_worker', f, 'EXECUTE')::integer
FROM unnest(ARRAY['shop.delivery_details(uuid, uuid[])', 'shop.record_deliveries(uuid, uuid[], json[])']) AS f;
SELECT 1 / (count(*) = 2)::integer FROM shop.problem WHERE code BETWEEN 'HS601' AND 'HS602';
ROLLBACK;

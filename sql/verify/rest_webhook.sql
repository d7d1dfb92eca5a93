-- Verify shop:rest_webhook on pg
BEGIN;
SELECT has_function_privilege(f, 'EXECUTE') FROM unnest(ARRAY['shop.url_field(jsonb, text)',
    'shop.events_field(jsonb)',
    'shop.new_webhook_secret()',
    'shop.endpoint_json(shop.webhook_endpoint, text)',
    'shop.own_endpoint(bigint, bigint, boolean)',
    'shop.endpoint_reply(bigint, bigint, integer, text)',
    'rest.webhook_endpoint_create(bigint, jsonb)',
    'rest.webhook_endpoint_list(bigint, jsonb)',
    'rest.webhook_endpoint_get(bigint, bigint)',
    'rest.webhook_endpoint_update(bigint, bigint, jsonb, text)',
    'rest.webhook_endpoint_delete(bigint, bigint, text)',
    'rest.webhook_endpoint_rotate_secret(bigint, bigint)',
    'shop.delivery_json(shop.webhook_delivery)',
    'shop.delivery_reply(bigint, bigint, uuid, integer)',
    'rest.webhook_endpoint_test(bigint, bigint)',
    'rest.webhook_delivery_list(bigint, bigint, jsonb)',
    'rest.webhook_delivery_get(bigint, bigint, uuid)',
    'rest.webhook_delivery_redeliver(bigint, bigint, uuid)']) AS f;
ROLLBACK;

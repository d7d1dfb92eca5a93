-- Verify shop:rest_sale on pg
BEGIN;
SELECT has_function_privilege(f, 'EXECUTE') FROM unnest(ARRAY['shop.sales_json(bigint[])', 'shop.sale_reply(bigint, integer)', 'shop.own_sale(bigint, bigint)',
    'shop.sale_is_visible(bigint, bigint, timestamptz)', 'rest.sale_create(bigint, jsonb)',
    'rest.sale_update(bigint, bigint, text, jsonb)', 'rest.sale_list(bigint, jsonb)', 'rest.sale_get(bigint, bigint)', 'rest.sale_live(bigint, bigint)', 'rest.sale_buyers(bigint, bigint)',
    'rest.sale_preheat(bigint, bigint)', 'rest.sale_close(bigint, bigint)', 'rest.tickets_note(bigint, bigint[], bigint[])',
    'rest.sale_purchase(bigint, bigint, text, jsonb)', 'rest.sale_purchase_batch(bigint[], text[], bigint[], bigint[])']) AS f;
ROLLBACK;

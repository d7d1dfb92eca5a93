-- Revert shop:rest_sale from pg
BEGIN;
DROP FUNCTION rest.sale_purchase_batch(bigint[], text[], bigint[], bigint[]);
DROP FUNCTION rest.sale_purchase(bigint, bigint, text, jsonb);
DROP FUNCTION rest.tickets_note(bigint, bigint[], bigint[]);
DROP FUNCTION rest.sale_close(bigint, bigint);
DROP FUNCTION rest.sale_preheat(bigint, bigint);
DROP FUNCTION rest.sale_buyers(bigint, bigint);
DROP FUNCTION rest.sale_live(bigint, bigint);
DROP FUNCTION rest.sale_get(bigint, bigint);
DROP FUNCTION rest.sale_list(bigint, jsonb);
DROP FUNCTION rest.sale_update(bigint, bigint, text, jsonb);
DROP FUNCTION rest.sale_create(bigint, jsonb);
DROP FUNCTION shop.sale_is_visible(bigint, bigint, timestamptz);
DROP FUNCTION shop.own_sale(bigint, bigint);
DROP FUNCTION shop.sale_reply(bigint, integer);
DROP FUNCTION shop.sales_json(bigint[]);
COMMIT;

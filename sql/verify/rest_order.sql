-- Verify shop:rest_order on pg
BEGIN;
SELECT p::regprocedure FROM unnest('{"shop.orders_json(bigint, uuid[])", "shop.order_reply(bigint, uuid, integer)", "shop.find_order(bigint, uuid, text)",
    "shop.key_by(text, bigint, text)", "shop.payment_reply(bigint, uuid, integer)", "shop.find_payment(bigint, uuid, text)",
    "rest.order_place(bigint, text, jsonb)", "rest.order_place_batch(bigint, text, jsonb)", "rest.order_list(bigint, jsonb)", "rest.order_get(bigint, uuid)",
    "rest.order_cancel(bigint, uuid, text)", "rest.order_ship(bigint, uuid, text)", "rest.order_complete(bigint, uuid, text)",
    "rest.order_return(bigint, uuid, text, jsonb)", "rest.payment_create(bigint, uuid, text, jsonb)", "rest.payment_get(bigint, uuid)",
    "rest.payment_refund(bigint, uuid, text, jsonb)", "rest.webhook_receive(bigint, text, bytea, text, text, text)"}'::text[]) AS p;
ROLLBACK;

-- Revert shop:sale_purchase from pg
BEGIN;
DROP FUNCTION shop.note_tickets(bigint[], bigint[]);
DROP TABLE shop.sale_counter;
DROP FUNCTION shop.purchase(bigint, text, bigint, bigint);
DROP FUNCTION shop.purchase_batch(bigint[], text[], bigint[], bigint[]);
DROP FUNCTION shop.purchase_body(text[], uuid, bigint, bigint), shop.purchase_frame(bigint, bigint, bigint, bigint, text, text, bigint, text, timestamptz, timestamptz);
DROP FUNCTION shop.settle_buyers(bigint[], bigint[]), shop.busy_buyers(bigint[], bigint), shop.lapsed_orders(bigint[], bigint[]);
CREATE OR REPLACE FUNCTION shop.take_buyers(p_accounts bigint[], p_orders uuid[]) RETURNS uuid[]
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT p_orders;
    END;
COMMENT ON FUNCTION shop.take_buyers(bigint[], uuid[]) IS 'Called with orders of sales that are locked: those whose buyers nobody else has in hand, who are locked now. All of them until sales are there.';
CREATE OR REPLACE FUNCTION shop.orders_ended(p_accounts bigint[], p_orders uuid[]) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT;
    END;
COMMENT ON FUNCTION shop.orders_ended(bigint[], uuid[]) IS 'Called with orders of sales that end without having been paid. Empty until sales are there.';
DROP TABLE shop.sale_buyer;
COMMIT;

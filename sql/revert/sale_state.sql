-- Revert shop:sale_state from pg
BEGIN;
CREATE OR REPLACE FUNCTION shop.units_returned(p_stocks bigint[], p_quantities bigint[]) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT;
    END;
COMMENT ON FUNCTION shop.units_returned(bigint[], bigint[]) IS 'Called with units that came back to slices of sales. Empty until sales are there.';
DROP FUNCTION shop.close_sales(integer, boolean);
DROP FUNCTION shop.close_sale(bigint);
DROP FUNCTION shop.sales_ended(bigint[]);
DROP FUNCTION shop.return_leftovers(bigint[]);
DROP FUNCTION shop.preheat_sale(bigint);
DROP FUNCTION shop.sale_checks(bigint);
DROP FUNCTION shop.sale_lanes(bigint);
DROP FUNCTION shop.update_sale(bigint, integer, bigint, bigint, timestamptz, timestamptz, bigint, integer);
DROP FUNCTION shop.create_sale(bigint, bigint, bigint, bigint, timestamptz, timestamptz, bigint, integer);
DROP FUNCTION shop.check_sale(bigint, bigint, timestamptz, timestamptz, bigint);
DROP FUNCTION shop.sale_refusal(text);
DROP VIEW shop.sale_now;
DROP FUNCTION shop.sale_state(timestamptz, timestamptz, timestamptz, timestamptz, timestamptz, bigint);
DELETE FROM shop.problem WHERE code BETWEEN 'HS401' AND 'HS406';
DROP INDEX shop.sale_merchant_ends_idx;
DROP INDEX shop.sale_unsettled_idx;
ALTER TABLE shop.sale DROP CONSTRAINT sale_settled_check, DROP COLUMN settled_at, DROP COLUMN swept_at;
COMMENT ON COLUMN shop.sale.closed_at IS 'When it was closed and its leftover stock went back; NULL until somebody did that.';
COMMIT;

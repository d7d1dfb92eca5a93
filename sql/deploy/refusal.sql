-- Deploy shop:refusal to pg
-- requires: sale
--
-- How often buyers were refused for lack of stock. A refusal that is raised undoes its transaction, so it is counted after
-- the fact, by whoever has refused, a set at a time: by batches, whose verdicts raise nothing, and by the web application.
--
-- Locks: rows of one thing are spread over slots, so that counting does not make a queue where selling does not. They are
-- written last in a transaction.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE TABLE shop.refusal (
    stock_id bigint   NOT NULL,
    day      date     NOT NULL,
    slot     smallint NOT NULL,
    refusals bigint   NOT NULL,
    CONSTRAINT refusal_pkey PRIMARY KEY (stock_id, day, slot),
    CONSTRAINT refusal_refusals_check CHECK (refusals > 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE shop.refusal IS 'How often somebody was refused for lack of stock. The sum over the slots counts.';
COMMENT ON COLUMN shop.refusal.stock_id IS 'What was short: a SKU, or the slice of a sale (then the id of the sale).';
COMMENT ON COLUMN shop.refusal.day IS 'The day in UTC.';
COMMENT ON COLUMN shop.refusal.slot IS 'Follows from the server process that counts.';

CREATE FUNCTION shop.note_refusals(p_skus bigint[], p_counts bigint[]) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_skus = '{}' THEN
        RETURN;
    END IF;
    INSERT INTO shop.refusal AS r (stock_id, day, slot, refusals)
    SELECT n.sku, timezone('UTC', clock_timestamp())::date, pg_backend_pid() % 64, sum(n.refusals)
    FROM unnest(p_skus, p_counts) AS n (sku, refusals)
    WHERE n.refusals > 0
      AND (EXISTS (SELECT FROM shop.sku AS k WHERE k.id = n.sku) OR EXISTS (SELECT FROM shop.sale AS s WHERE s.id = n.sku))
    GROUP BY n.sku
    ORDER BY n.sku
    ON CONFLICT ON CONSTRAINT refusal_pkey DO UPDATE SET refusals = r.refusals + EXCLUDED.refusals;
END $$;
COMMENT ON FUNCTION shop.note_refusals(bigint[], bigint[]) IS
'Counts refusals for lack of stock: p_counts of each of p_skus, which are SKUs or sales. What is neither, and counts that are not positive, are passed over. To be called last in a transaction: its rows stay locked until the end.';

CREATE FUNCTION shop.check_counts(p_actor bigint, p_things bigint[], p_counts bigint[]) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_actor IS NOT NULL THEN
        PERFORM shop.require_actor(p_actor, 'admin');
    END IF;
    IF p_things IS NULL OR p_counts IS NULL OR cardinality(p_things) <> cardinality(p_counts) OR cardinality(p_things) > 10000
       OR greatest(array_ndims(p_things), array_ndims(p_counts)) > 1 THEN
        PERFORM shop.refuse('HS012', '/counts', 'wanted: a count for each, at most 10000');
    ELSIF EXISTS (SELECT FROM unnest(p_things, p_counts) AS n (thing, times) WHERE n.thing IS NULL OR n.times IS NULL OR n.times NOT BETWEEN 1 AND 1000000000) THEN
        PERFORM shop.refuse('HS014', '/counts', 'wanted: 1 to 1000000000');
    END IF;
END $$;
COMMENT ON FUNCTION shop.check_counts(bigint, bigint[], bigint[]) IS
'Passes what may be counted in bulk: p_counts of each of p_things, by the application itself (p_actor is NULL) or an admin. Errors: HS001 to HS003, HS012 arrays, HS014 counts.';

CREATE FUNCTION rest.refusals_note(p_actor bigint, p_skus bigint[], p_counts bigint[]) RETURNS rest.reply
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.check_counts(p_actor, p_skus, p_counts);
    PERFORM shop.note_refusals(p_skus, p_counts);
    RETURN ROW(204, NULL, NULL, false, NULL)::rest.reply;
END $$;
COMMENT ON FUNCTION rest.refusals_note(bigint, bigint[], bigint[]) IS
'Counts refusals that the web application has given by itself or whose transactions were rolled back, in bulk: p_counts of each of p_skus (SKUs or sales; others are passed over). p_actor: NULL, the application itself, or an admin. Definer''s rights: it writes on behalf of the application. Errors: HS001 to HS003, HS012 arrays, HS014 counts.';

COMMIT;

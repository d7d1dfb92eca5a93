-- Deploy shop:tend to pg
-- requires: account_login
-- requires: sale_state
-- requires: search
-- requires: webhook
--
-- What the clock has to do. Nothing is wrong without it: an order is cancelled, a sale is closed and a token is void at
-- their time; this writes it down, returns leftover stock, and makes periodic jobs.
--
-- Locks: those of each part, which waits for nobody who is at an order or a sale. Any number may run at once.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE FUNCTION shop.tend(p_limit integer DEFAULT 1000) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_done bigint := 0;
BEGIN
    -- What one part cannot do, because somebody else is at it for long, is no matter of the others. Locks last to the end,
    -- so what waits comes before the orders, whose buyers may be back; and the queue is last: its slots may be locked.
    BEGIN
        v_done := v_done + shop.close_sales(p_limit);
    EXCEPTION WHEN lock_not_available OR deadlock_detected OR serialization_failure THEN
        NULL;
    END;
    v_done := v_done + shop.purge_tokens(p_limit);
    BEGIN
        v_done := v_done + shop.cancel_expired_orders(p_limit);
    EXCEPTION WHEN lock_not_available OR deadlock_detected OR serialization_failure THEN
        NULL;
    END;
    RETURN v_done + shop.run_periodic();
END $$;
COMMENT ON FUNCTION shop.tend(integer) IS
'Does what the clock has to do: enqueues the periodic jobs that are due, writes down which orders have expired, returns the leftovers of closed sales, deletes void tokens; up to p_limit of each. Returns how much that was, in things and units: 0 when nothing is left to do. For anybody''s clock, once a minute or more often. Definer''s rights: the clock has none of its own. What somebody else has locked for long is left to the next time.';
GRANT EXECUTE ON FUNCTION shop.tend(integer) TO shop_worker;

CREATE FUNCTION shop.purge(p_limit integer DEFAULT 10000) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN shop.purge_tokens(p_limit) + shop.purge_deliveries(p_limit) + shop.refuse_lost_pictures() + holdfast.purge_holds('30 days', p_limit);
END $$;
COMMENT ON FUNCTION shop.purge(integer) IS
'Deletes what nobody asks for any more, up to p_limit of each: void tokens, the log of old deliveries of webhooks, holds that ended without a sale a month ago; and refuses pictures whose job is dead. Returns how much that was. Dead jobs and the history of the queue are forgotten by whoever tends it (tend_jobs()).';

CREATE FUNCTION shop.refresh_reports() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN shop.count_words() + shop.count_bought_together();
END $$;
COMMENT ON FUNCTION shop.refresh_reports() IS
'Counts how frequent words are and what is bought together, at a quiet time: it reads all orders of 90 days. Returns the number of rows.';

CREATE FUNCTION shop.tend_partitions() RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_keys CONSTANT boolean := holdfast.rotate_keys();
BEGIN
    -- Last, because it keeps its locks on the queue to the end.
    RETURN shop.tend_jobs() OR v_keys;
END $$;
COMMENT ON FUNCTION shop.tend_partitions() IS
'Upkeep of what is stored in parts that are dropped as a whole: the slots of the queue, and the halves of the idempotency keys. Those who claim jobs and the extension''s worker do it too; this is for when they are not there. Call it in a transaction of its own, which keeps its locks to its end. True if either was looked at.';

CREATE FUNCTION shop.tend_daily() RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.refresh_reports(), shop.close_sales(10000, true), shop.purge(1000000);
END $$;
COMMENT ON FUNCTION shop.tend_daily() IS
'What is to be done once a day, at a quiet time, for a clock that knows no schedules (shop.schedule): counts for reports and search, a look at sales that were settled, what is old. Definer''s rights: the clock has none of its own.';
GRANT EXECUTE ON FUNCTION shop.tend_daily() TO shop_worker;

COMMIT;

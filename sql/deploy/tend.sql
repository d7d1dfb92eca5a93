-- Deploy shop:tend to pg
-- requires: account_login
-- requires: sale_state
-- requires: search
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
    -- What one part cannot do, because somebody else is at it for long, is no matter of the others. The queue comes last:
    -- its slots may be locked until the end.
    BEGIN
        v_done := v_done + shop.cancel_expired_orders(p_limit);
    EXCEPTION WHEN lock_not_available OR deadlock_detected OR serialization_failure THEN
        NULL;
    END;
    BEGIN
        v_done := v_done + shop.close_sales(p_limit);
    EXCEPTION WHEN lock_not_available OR deadlock_detected OR serialization_failure THEN
        NULL;
    END;
    RETURN v_done + shop.purge_tokens(p_limit) + shop.run_periodic();
END $$;
COMMENT ON FUNCTION shop.tend(integer) IS
'Does what the clock has to do: enqueues the periodic jobs that are due, writes down which orders have expired, returns the leftovers of closed sales, deletes void tokens; up to p_limit of each. Returns how much that was, in things and units: 0 when nothing is left to do. For anybody''s clock, once a minute or more often. Definer''s rights: the clock has none of its own. What somebody else has locked for long is left to the next time.';
GRANT EXECUTE ON FUNCTION shop.tend(integer) TO shop_worker;

CREATE FUNCTION shop.tend_daily() RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM shop.count_words(), shop.count_bought_together();
    PERFORM shop.close_sales(10000, true);
    PERFORM holdfast.purge_holds('30 days', 1000000);
END $$;
COMMENT ON FUNCTION shop.tend_daily() IS
'What is to be done once a day, at a quiet time: counts how frequent words are and what is bought together, looks once more at sales that were settled, forgets holds that ended without a sale a month ago. Reads all orders of 90 days. Definer''s rights: the clock has none of its own.';
GRANT EXECUTE ON FUNCTION shop.tend_daily() TO shop_worker;

CREATE FUNCTION shop.schedule_tending() RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_extension AS e WHERE e.extname = 'pg_cron') THEN
            EXECUTE 'CREATE EXTENSION pg_cron';
        END IF;
    EXCEPTION WHEN OTHERS THEN
        RAISE NOTICE 'pg_cron cannot be used here: %; let another clock call shop.tend() and shop.tend_daily(), such as the worker', SQLERRM;
        RETURN false;
    END;
    EXECUTE format('SELECT %1$s(''shop.tend'', ''* * * * *'', ''SELECT shop.tend(10000)''), '
                   '%1$s(''shop.tend_daily'', ''17 3 * * *'', ''SELECT shop.tend_daily()'')', 'cron.schedule');
    RETURN true;
END $$;
COMMENT ON FUNCTION shop.schedule_tending() IS
'Lets pg_cron call shop.tend() every minute and shop.tend_daily() every night, in the name of its caller, who can create that extension. False, with a notice, if the server has no pg_cron or it belongs to another database.';

COMMIT;

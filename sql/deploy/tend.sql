-- Deploy shop:tend to pg
-- requires: account_login
-- requires: sale_state
--
-- What the clock has to do. Nothing is wrong without it: an order is cancelled, a sale is closed and a token is void at
-- their time; this writes it down, returns leftover stock, and makes periodic jobs.
--
-- Locks: those of each part, which waits for nobody who is at an order or a sale. Any number may run at once.

BEGIN;
SET LOCAL ROLE shop_owner;

CREATE FUNCTION shop.tend(p_limit integer DEFAULT 1000) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN shop.run_periodic() + shop.cancel_expired_orders(p_limit) + shop.close_sales(p_limit) + shop.purge_tokens(p_limit);
END $$;
COMMENT ON FUNCTION shop.tend(integer) IS
'Does what the clock has to do: enqueues the periodic jobs that are due, writes down which orders have expired, returns the leftovers of closed sales, deletes void tokens; up to p_limit of each. Returns how much that was: as long as it is p_limit or more there may be more to do. For anybody''s clock, once a minute or more often. Definer''s rights: the clock has none of its own. Errors: 40001 try again.';
GRANT EXECUTE ON FUNCTION shop.tend(integer) TO shop_worker;

CREATE FUNCTION shop.schedule_tending() RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_extension AS e WHERE e.extname = 'pg_cron') THEN
            EXECUTE 'CREATE EXTENSION pg_cron';
        END IF;
    EXCEPTION WHEN OTHERS THEN
        RAISE NOTICE 'pg_cron cannot be used here: %; let another clock call shop.tend(), such as the worker', SQLERRM;
        RETURN false;
    END;
    EXECUTE format('SELECT %s(%L, %L, %L)', 'cron.schedule', 'shop.tend', '* * * * *', 'SELECT shop.tend(10000)');
    RETURN true;
END $$;
COMMENT ON FUNCTION shop.schedule_tending() IS
'Lets pg_cron call shop.tend() every minute, in the name of its caller, who can create that extension. False, with a notice, if the server has no pg_cron or it belongs to another database.';

COMMIT;

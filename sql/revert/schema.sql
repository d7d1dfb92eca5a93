-- Revert shop:schema from pg
--
-- The extensions stay: they may have been there before, and holdfast holds the stock.

BEGIN;
ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner IN SCHEMA rest REVOKE EXECUTE ON FUNCTIONS FROM shop_api;
DROP TYPE rest.reply;
DROP SCHEMA rest;
DROP SCHEMA shop;
ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner GRANT EXECUTE ON FUNCTIONS TO PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA holdfast FROM shop_owner;
REVOKE ALL ON ALL TABLES IN SCHEMA holdfast FROM shop_owner;
REVOKE ALL ON SCHEMA holdfast FROM shop_owner;

DO $$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY ARRAY['shop_owner', 'shop_api', 'shop_worker', 'shop_reporter', 'shop_report'] LOOP
        BEGIN
            EXECUTE format('DROP ROLE %I', v_role);
        EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN
            RAISE NOTICE 'role % stays: something else needs it', v_role;
        END;
    END LOOP;
END $$;
COMMIT;

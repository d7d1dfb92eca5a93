-- Deploy shop:schema to pg
--
-- Roles, schemas and extensions. Everything of the shop belongs to shop_owner, who cannot log in; the functions that run
-- with their definer's rights run as him, never as a superuser. Roles are the cluster's: two shops in one cluster share
-- them, and revert leaves them as long as another database needs them.

BEGIN;

DO $$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY ARRAY['shop_owner NOLOGIN', 'shop_api LOGIN', 'shop_worker LOGIN', 'shop_reporter NOLOGIN', 'shop_report NOLOGIN'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = split_part(v_role, ' ', 1)) THEN
            EXECUTE 'CREATE ROLE ' || v_role;
        END IF;
    END LOOP;
END $$;
COMMENT ON ROLE shop_owner IS 'Owns the shop.';
COMMENT ON ROLE shop_api IS 'May execute rest.*, and nothing else: what the web application connects as.';
COMMENT ON ROLE shop_worker IS 'May claim jobs and provider calls and say how they went: what the worker connects as.';
COMMENT ON ROLE shop_reporter IS 'Owns the report views, and sees through row-level security what their reader may see.';
COMMENT ON ROLE shop_report IS 'May read the report views: grant it to the logins of BI tools.';

CREATE EXTENSION IF NOT EXISTS holdfast;
CREATE EXTENSION IF NOT EXISTS pg_trgm;

GRANT USAGE ON SCHEMA holdfast TO shop_owner;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA holdfast TO shop_owner;
GRANT SELECT ON ALL TABLES IN SCHEMA holdfast TO shop_owner;

CREATE SCHEMA shop AUTHORIZATION shop_owner;
CREATE SCHEMA rest AUTHORIZATION shop_owner;
COMMENT ON SCHEMA shop IS 'The shop: tables, business functions, report views.';
COMMENT ON SCHEMA rest IS 'One function per route of the REST API: actor first, status, headers and JSON out.';
GRANT USAGE ON SCHEMA rest TO shop_api;
GRANT USAGE ON SCHEMA shop TO shop_worker, shop_reporter, shop_report;

-- Functions are nobody's but the owner's until they are granted; those of rest are the web application's.
ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner IN SCHEMA rest GRANT EXECUTE ON FUNCTIONS TO shop_api;

SET LOCAL ROLE shop_owner;

CREATE TYPE rest.reply AS (
    status   integer,
    etag     text,
    location text,
    replayed boolean,
    body     json
);
COMMENT ON TYPE rest.reply IS 'The answer of a route: HTTP status, ETag (quoted, ready to send) and Location or NULL, whether an answer to the same Idempotency-Key was repeated, and the JSON for the client, NULL for none.';

COMMIT;

-- Schemas and the worker's role.
--
-- holdfast   what callers use: functions, views. Created by CREATE EXTENSION (holdfast.control).
-- _holdfast  what the extension stores: tables, and functions that only it calls. Nobody but the
--            extension's owner is granted anything here; the C functions reach the tables without
--            the SQL layer, so EXECUTE on a function is the privilege to do what it does.

-- CREATE EXTENSION takes schema holdfast as it finds it. Its owner could put his own objects in the
-- place of ours, which run with our rights: so it must be somebody who has them already.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner
               WHERE n.nspname = 'holdfast' AND NOT r.rolsuper) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'duplicate_schema',
            MESSAGE = 'schema "holdfast" belongs to a role that is no superuser',
            HINT = 'Drop or rename it, then run CREATE EXTENSION again.';
    END IF;
END
$$;

CREATE SCHEMA _holdfast;
COMMENT ON SCHEMA _holdfast IS 'Storage of the extension holdfast. Read it through the views of schema holdfast.';
COMMENT ON SCHEMA holdfast IS 'Stock holds that cannot oversell: functions and views of the extension holdfast.';

-- The role background workers connect as (setting holdfast.worker_role). It owns nothing, may read
-- nothing, and has no password; the worker's rights are those of the C code it runs.
-- Two databases may create the extension at once: the loser of that race finds the role made.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'holdfast_worker') THEN
        CREATE ROLE holdfast_worker LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOINHERIT;
        COMMENT ON ROLE holdfast_worker IS 'Background workers of the extension holdfast connect as this role.';
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

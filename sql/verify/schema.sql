-- Verify shop:schema on pg
BEGIN;
SELECT 1 / count(*) FROM pg_roles WHERE rolname = 'shop_api' AND NOT rolsuper AND NOT rolcreaterole AND NOT rolbypassrls;
SELECT 1 / count(*) FROM pg_extension WHERE extname = 'holdfast';
SELECT 'shop'::regnamespace, 'rest.reply'::regtype, holdfast.new_id();
ROLLBACK;

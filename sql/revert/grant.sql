-- Revert shop:grant from pg
BEGIN;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA rest FROM shop_api;
COMMIT;

-- Revert shop:rest_admin from pg
BEGIN;
DROP FUNCTION rest.admin_invariants(bigint);
DROP FUNCTION rest.admin_cache(bigint);
DROP FUNCTION rest.admin_locks(bigint);
DROP FUNCTION shop.verify();
COMMIT;

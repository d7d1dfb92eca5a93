-- Verify shop:rest_admin on pg
BEGIN;
SELECT 'shop.verify()'::regprocedure, 'rest.admin_locks(bigint)'::regprocedure, 'rest.admin_cache(bigint)'::regprocedure, 'rest.admin_invariants(bigint)'::regprocedure;
ROLLBACK;

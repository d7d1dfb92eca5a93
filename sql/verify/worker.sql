-- Verify shop:worker on pg
BEGIN;
SELECT name, started_at, seen_at, stopped_at, pid, host, version, kinds, work FROM shop.worker WHERE false;
SELECT 'shop.is_alive(shop.worker)'::regprocedure;
SELECT 1 / has_function_privilege('shop_worker', 'shop.beat(text, json)', 'EXECUTE')::integer;
ROLLBACK;

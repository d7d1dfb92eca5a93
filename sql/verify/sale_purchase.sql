-- Verify shop:sale_purchase on pg
BEGIN;
SELECT account_id, sale_id, bought, allowed, quantities, order_ids, keys FROM shop.sale_buyer WHERE false;
SELECT account_id, sale_id, id, expires_at FROM shop.sale_ticket WHERE false;
SELECT sale_id, tickets, live, recount_at FROM shop.sale_counter WHERE false;
SELECT has_function_privilege('shop.settle_buyers(bigint[], bigint[])', 'EXECUTE');
SELECT has_function_privilege('shop.purchase_batch(bigint[], text[], bigint[], bigint[])', 'EXECUTE');
SELECT has_function_privilege('shop.purchase(bigint, text, bigint, bigint)', 'EXECUTE');
SELECT has_function_privilege('shop.note_tickets(bigint, bigint)', 'EXECUTE'), has_function_privilege('shop.issue_tickets(bigint, bigint[], interval)', 'EXECUTE');
SELECT 1 / (position('sale_buyer' IN prosrc) > 0)::integer FROM pg_proc WHERE oid = 'shop.orders_ended(bigint[], uuid[])'::regprocedure;
ROLLBACK;

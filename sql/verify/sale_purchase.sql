-- Verify shop:sale_purchase on pg
BEGIN;
SELECT account_id, sale_id, bought, allowed, quantities, order_ids, keys FROM shop.sale_buyer WHERE false;
SELECT sale_id, tickets FROM shop.sale_counter WHERE false;
SELECT has_function_privilege('shop.lapsed_orders(bigint[], bigint[])', 'EXECUTE'), has_function_privilege('shop.settle_buyers(bigint[], bigint[])', 'EXECUTE'),
       has_function_privilege('shop.busy_buyers(bigint[], bigint)', 'EXECUTE');
SELECT has_function_privilege('shop.purchase_frame(bigint, bigint, bigint, bigint, text, text, bigint, text, timestamptz, timestamptz)', 'EXECUTE'), has_function_privilege('shop.purchase_body(text[], uuid, bigint, bigint)', 'EXECUTE');
SELECT has_function_privilege('shop.purchase_batch(bigint[], text[], bigint[], bigint[])', 'EXECUTE');
SELECT has_function_privilege('shop.purchase(bigint, text, bigint, bigint)', 'EXECUTE');
SELECT has_function_privilege('shop.note_tickets(bigint[], bigint[])', 'EXECUTE');
SELECT 1 / (position('sale_buyer' IN prosrc) > 0)::integer FROM pg_proc WHERE oid = 'shop.orders_ended(bigint[], uuid[])'::regprocedure;
ROLLBACK;

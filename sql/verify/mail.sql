-- Verify shop:mail on pg
BEGIN;
SELECT 1 / (count(*) = 2)::integer FROM shop.job_kind WHERE kind IN ('mail', 'order_expiring');
SELECT before, looked_until FROM shop.order_reminder WHERE false;
SELECT 'shop.mails_of(text, jsonb)'::regprocedure, 'shop.mail_order(bigint, uuid)'::regprocedure, 'shop.remind_orders(integer)'::regprocedure;
SELECT 1 / has_function_privilege('shop_worker', 'shop.mail_details(uuid, uuid[])', 'EXECUTE')::integer;
ROLLBACK;

-- Revert shop:mail from pg
BEGIN;
DROP FUNCTION shop.remind_orders(integer);
DROP FUNCTION shop.mail_details(uuid, uuid[]);
DROP FUNCTION shop.mail_order(bigint, uuid);
DROP FUNCTION shop.mails_of(text, jsonb);
DROP TABLE shop.order_reminder;
DELETE FROM shop.job_kind WHERE kind IN ('mail', 'order_expiring');
COMMIT;

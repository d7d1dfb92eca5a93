-- Verify shop:account on pg
BEGIN;
SELECT id, email, name, password_hash, roles, locale, avatar, version, created_at, suspended_at FROM shop.account WHERE false;
SELECT email, account_id FROM shop.login WHERE false;
SELECT id, account_id, name, version, created_at FROM shop.merchant WHERE false;
ROLLBACK;

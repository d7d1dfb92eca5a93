-- Revert shop:account from pg
BEGIN;
DROP FUNCTION shop.require_merchant_of(bigint, bigint);
DROP FUNCTION shop.require_merchant(bigint);
DROP FUNCTION shop.require_actor(bigint, text);
DROP TABLE shop.merchant;
DROP TABLE shop.login;
DROP TABLE shop.account;
COMMIT;

-- Verify shop:sale on pg
BEGIN;
SELECT id, merchant_id, sku_id, price, currency, quantity, starts_at, ends_at, per_account_limit, ticket_quota FROM shop.sale WHERE false;
ROLLBACK;

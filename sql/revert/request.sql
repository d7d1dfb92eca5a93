-- Revert shop:request from pg
BEGIN;
DROP FUNCTION shop.require_match(text, integer, boolean);
DROP FUNCTION shop.etag(integer);
DROP FUNCTION shop.complete_request(bigint, text, text, rest.reply);
DROP FUNCTION shop.claim_request(bigint, text, text, jsonb);
COMMIT;

-- Verify shop:request on pg
BEGIN;
SELECT 1 / (shop.etag(3) = '"3"')::integer;
SELECT has_function_privilege('shop.claim_request(bigint, text, text, jsonb)', 'EXECUTE');
ROLLBACK;

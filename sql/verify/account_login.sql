-- Verify shop:account_login on pg
BEGIN;
SELECT account_id, id, started_at, rotated_at, expires_at, ends_at, revoked_at, ttl, generation, spent_hash, reason FROM shop.refresh_family WHERE false;
SELECT account_id, token_hash, family_id, generation FROM shop.refresh_token WHERE false;
SELECT account_id, token_hash, expires_at FROM shop.password_reset WHERE false;
SELECT 1 / (count(*) = 6)::integer FROM shop.problem WHERE code BETWEEN 'HS101' AND 'HS106';
SELECT 1 / (shop.fold_email('Ä@Example.org') = 'ä@example.org')::integer;
SELECT has_function_privilege('shop.create_account(text, text, text, text)', 'EXECUTE'),
    has_function_privilege('shop.start_family(bigint, text, bytea, interval)', 'EXECUTE'),
    has_function_privilege('shop.rotate_token(bigint, bytea, bytea)', 'EXECUTE'),
    has_function_privilege('shop.revoke_token(bigint, bytea)', 'EXECUTE'),
    has_function_privilege('shop.revoke_families(bigint, text)', 'EXECUTE'),
    has_function_privilege('shop.request_password_reset(text, text, bytea)', 'EXECUTE'),
    has_function_privilege('shop.finish_password_reset(bigint, bytea, text)', 'EXECUTE'),
    has_function_privilege('shop.set_password(bigint, text, text)', 'EXECUTE'),
    has_function_privilege('shop.suspend_account(bigint, bigint)', 'EXECUTE'),
    has_function_privilege('shop.reinstate_account(bigint, bigint)', 'EXECUTE'),
    has_function_privilege('shop.set_roles(bigint, bigint, text[])', 'EXECUTE'),
    has_function_privilege('shop.update_account(bigint, text, text, text)', 'EXECUTE'),
    has_function_privilege('shop.set_avatar(bigint, text)', 'EXECUTE'),
    has_function_privilege('shop.create_merchant(bigint, text)', 'EXECUTE'),
    has_function_privilege('shop.update_merchant(bigint, bigint, text, text)', 'EXECUTE'),
    has_function_privilege('shop.purge_tokens(integer, interval)', 'EXECUTE');
ROLLBACK;

-- Verify shop:rest_account on pg
BEGIN;
SELECT has_function_privilege('rest.account_create(bigint, jsonb, text)', 'EXECUTE'),
    has_function_privilege('rest.login_find(bigint, text)', 'EXECUTE'),
    has_function_privilege('rest.token_issue(bigint, bigint, text, bytea, interval)', 'EXECUTE'),
    has_function_privilege('rest.token_refresh(bigint, bigint, bytea, bytea)', 'EXECUTE'),
    has_function_privilege('rest.token_revoke(bigint, bigint, bytea)', 'EXECUTE'),
    has_function_privilege('rest.password_reset_request(bigint, jsonb, text, bytea)', 'EXECUTE'),
    has_function_privilege('rest.password_reset_finish(bigint, bigint, bytea, text)', 'EXECUTE'),
    has_function_privilege('rest.me_get(bigint)', 'EXECUTE'),
    has_function_privilege('rest.me_update(bigint, jsonb, text)', 'EXECUTE'),
    has_function_privilege('rest.me_password_set(bigint, text, text)', 'EXECUTE'),
    has_function_privilege('rest.me_logout(bigint)', 'EXECUTE'),
    has_function_privilege('rest.me_avatar_set(bigint, text)', 'EXECUTE'),
    has_function_privilege('rest.merchant_create(bigint, jsonb)', 'EXECUTE'),
    has_function_privilege('rest.merchant_get(bigint, bigint)', 'EXECUTE'),
    has_function_privilege('rest.merchant_update(bigint, bigint, jsonb, text)', 'EXECUTE'),
    has_function_privilege('rest.admin_account_get(bigint, bigint)', 'EXECUTE'),
    has_function_privilege('rest.admin_account_suspend(bigint, bigint)', 'EXECUTE'),
    has_function_privilege('rest.admin_account_reinstate(bigint, bigint)', 'EXECUTE'),
    has_function_privilege('rest.admin_account_roles_set(bigint, bigint, jsonb)', 'EXECUTE'),
    has_function_privilege('rest.problems(bigint)', 'EXECUTE');
ROLLBACK;

-- Verify shop:tend on pg
BEGIN;
SELECT has_function_privilege('shop.tend_daily()', 'EXECUTE'), has_function_privilege('shop.tend(integer)', 'EXECUTE'), has_function_privilege('shop.schedule_tending()', 'EXECUTE');
ROLLBACK;

-- Verify shop:refusal on pg
BEGIN;
SELECT stock_id, day, slot, refusals FROM shop.refusal WHERE false;
SELECT has_function_privilege('shop.note_refusals(bigint[], bigint[])', 'EXECUTE'), has_function_privilege('shop.check_counts(bigint, bigint[], bigint[])', 'EXECUTE'),
       has_function_privilege('rest.refusals_note(bigint, bigint[], bigint[])', 'EXECUTE');
ROLLBACK;

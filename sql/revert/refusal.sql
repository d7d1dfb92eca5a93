-- Revert shop:refusal from pg
BEGIN;
DROP FUNCTION rest.refusals_note(bigint, bigint[], bigint[]);
DROP FUNCTION shop.check_counts(bigint, bigint[], bigint[]);
DROP FUNCTION shop.note_refusals(bigint[], bigint[]);
DROP TABLE shop.refusal;
COMMIT;

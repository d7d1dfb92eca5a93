-- Revert shop:problem from pg
BEGIN;
DROP FUNCTION shop.problem_json(text, text, text);
DROP FUNCTION shop.refuse(text, text, text);
DROP TABLE shop.problem;
COMMIT;

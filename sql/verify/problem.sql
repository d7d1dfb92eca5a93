-- Verify shop:problem on pg
BEGIN;
SELECT code, status, name, title FROM shop.problem WHERE false;
SELECT 1 / (shop.problem_json('HS004') ->> 'status' = '404')::integer;
ROLLBACK;

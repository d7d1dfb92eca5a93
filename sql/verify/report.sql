-- Verify shop:report on pg
BEGIN;
SELECT role_name, merchant_id FROM shop.report_reader WHERE false;
SELECT pg_catalog.has_function_privilege('shop.add_report_reader(name, bigint)', 'EXECUTE'),
       pg_catalog.has_function_privilege('shop.remove_report_reader(name, bigint)', 'EXECUTE');
-- All views are the reporter's, barriers, readable for readers, and every column has its comment.
SELECT 1 / (count(*) = 11 AND bool_and(c.relowner = 'shop_reporter'::regrole AND 'security_barrier=true' = ANY (c.reloptions)
            AND pg_catalog.has_table_privilege('shop_report', c.oid, 'SELECT')))::integer
FROM pg_catalog.pg_class AS c WHERE c.relnamespace = 'shop'::regnamespace AND c.relkind = 'v' AND c.relname ~ '^report_(order|sale|best_sellers|stock_value|refusals)';
SELECT 1 / (count(*) = 0)::integer
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'shop'::regnamespace AND c.relkind = 'v' AND c.relname ~ '^report_(order|sale|best_sellers|stock_value|refusals)' AND pg_catalog.col_description(c.oid, a.attnum) IS NULL;
SELECT 1 / (count(*) = 5)::integer
FROM pg_catalog.pg_policy AS p JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid
WHERE c.relnamespace = 'shop'::regnamespace AND c.relrowsecurity AND p.polroles = ARRAY['shop_reporter'::regrole::oid];
ROLLBACK;

-- Deploy shop:grant to pg
-- requires: rest_account
-- requires: rest_catalogue
-- requires: rest_order
-- requires: rest_sale
-- requires: rest_admin
-- requires: report
--
-- The web application may execute the functions of rest, and nothing else.

BEGIN;
SET LOCAL ROLE shop_owner;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA rest TO shop_api;
COMMIT;

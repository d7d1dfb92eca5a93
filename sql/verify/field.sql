-- Verify shop:field on pg
BEGIN;
SELECT 1 / (shop.text_field('{"a": "b"}', 'a', 10) = 'b')::integer;
SELECT 1 / (shop.read_cursor(shop.cursor_of('new', '7'), 'new', '{bigint}') = '{7}')::integer;
ROLLBACK;

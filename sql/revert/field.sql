-- Revert shop:field from pg
BEGIN;
DROP FUNCTION shop.read_cursor(text, text, regtype[]);
DROP FUNCTION shop.cursor_of(text, text[]);
DROP FUNCTION shop.page_cursor(jsonb);
DROP FUNCTION shop.page_limit(jsonb);
DROP FUNCTION shop.json_time(timestamptz);
DROP FUNCTION shop.time_field(jsonb, text, boolean, text);
DROP FUNCTION shop.choice_field(jsonb, text, text[], boolean, text);
DROP FUNCTION shop.boolean_field(jsonb, text, boolean, text);
DROP FUNCTION shop.id_field(jsonb, text, boolean, text);
DROP FUNCTION shop.integer_field(jsonb, text, bigint, bigint, boolean, text);
DROP FUNCTION shop.text_field(jsonb, text, integer, boolean, text, integer);
DROP FUNCTION shop.field(jsonb, text, text, boolean, text);
DROP FUNCTION shop.check_fields(jsonb, text[], text);
DROP FUNCTION shop.field_pointer(text, text);
COMMIT;

-- Reading JSON that a stranger has sent.
\ir include/begin.sql
SELECT plan(41);

SELECT lives_ok($$SELECT shop.check_fields('{"a": 1}', '{a,b}')$$, 'fields that are known may be there');
SELECT refuses($$SELECT shop.check_fields('{"a": 1, "x/y": 1}', '{a,b}')$$, 'HS009', 'others may not', '/x~1y');
SELECT refuses($$SELECT shop.check_fields('{"a": 1, "x": 1}', '{a,b}', '?')$$, 'HS009', 'nor parameters', '?x');
SELECT refuses($$SELECT shop.check_fields('[1]', '{a}')$$, 'HS008', 'a body is an object', '');
SELECT refuses($$SELECT shop.check_fields(NULL, '{a}')$$, 'HS008', 'and there', '');
SELECT refuses($$SELECT shop.check_fields('3', '{a}', '/items/0')$$, 'HS011', 'so is an element', '/items/0');

SELECT is(shop.text_field('{"a": "b"}', 'a', 10), 'b', 'text');
SELECT is(shop.text_field('{"a": null}', 'a', 10, false), NULL, 'null is nothing');
SELECT refuses($$SELECT shop.text_field('{"a": null}', 'a', 10)$$, 'HS010', 'nothing is refused where something is wanted', '/a');
SELECT refuses($$SELECT shop.text_field('{"a": 7}', 'a', 10, true, '/items/2')$$, 'HS011', 'a number is no text', '/items/2/a');
SELECT refuses($$SELECT shop.text_field('{"a": "12345678901"}', 'a', 10)$$, 'HS012', 'text has a greatest length', '/a');
SELECT refuses($$SELECT shop.text_field('{"a": "  \u3000"}', 'a', 10)$$, 'HS012', 'blanks are nothing', '/a');
SELECT refuses(format($$SELECT shop.text_field('{"a": "%s"}', 'a', 10)$$, c), 'HS012', format('so is what shows nothing: %s', c), '/a')
FROM unnest('{\\u200b,\\u2003,\\ufeff \\u200d,\\u3164,\\u2800\\u00ad}'::text[]) AS c;
SELECT is(shop.text_field('{"a": "\u200bb\u2003"}', 'a', 10), U&'\200Bb\2003', 'around text it stays');
SELECT is(shop.text_field('{"a": "\u200b"}', 'a', 10, true, '', 0), U&'\200B', 'and where nothing may be');
SELECT refuses($$SELECT shop.text_field('{"a": "x\u0007"}', 'a', 10)$$, 'HS013', 'control characters are refused', '/a');
SELECT is(shop.text_field('{"a": "x\ny\tz"}', 'a', 10), E'x\ny\tz', 'lines and tabs are not');

SELECT is(shop.integer_field('{"a": 7}', 'a', 1, 10), 7::bigint, 'an integer');
SELECT is(shop.integer_field('{"a": 7.0}', 'a', 1, 10), 7::bigint, 'written as one likes');
SELECT refuses($$SELECT shop.integer_field('{"a": 7.5}', 'a', 1, 10)$$, 'HS011', 'a fraction is none', '/a');
SELECT refuses($$SELECT shop.integer_field('{"a": 11}', 'a', 1, 10)$$, 'HS014', 'it has a range', '/a');
SELECT refuses($$SELECT shop.integer_field('{"a": 1e400}', 'a', 1, 10)$$, 'HS014', 'however large it is', '/a');
SELECT refuses($$SELECT shop.integer_field('{"a": "7"}', 'a', 1, 10)$$, 'HS011', 'text is no number', '/a');
SELECT is(shop.integer_field('{"a": "7"}', 'a', 1, 10, true, '?'), 7::bigint, 'but in a query');
SELECT refuses($$SELECT shop.integer_field('{"a": "7e0"}', 'a', 1, 10, true, '?')$$, 'HS011', 'if it is digits', '?a');

SELECT is(shop.id_field('{"a": "9223372036854775807"}', 'a'), 9223372036854775807, 'an id');
SELECT refuses($$SELECT shop.id_field('{"a": "9223372036854775808"}', 'a')$$, 'HS015', 'a number of 64 bits', '/a');
SELECT refuses($$SELECT shop.id_field('{"a": 7}', 'a')$$, 'HS011', 'as a string', '/a');
SELECT is(shop.boolean_field('{"a": false}', 'a'), false, 'false');
SELECT refuses($$SELECT shop.boolean_field('{"a": "yes"}', 'a', true, '?')$$, 'HS011', 'yes is not true', '?a');
SELECT refuses($$SELECT shop.choice_field('{"a": "c"}', 'a', '{a,b}')$$, 'HS015', 'a word that is not among the choices', '/a');
SELECT is(shop.time_field('{"a": "2026-11-27T20:00:00.5+01:00"}', 'a'), timestamptz '2026-11-27 19:00:00.5+00', 'a time');
SELECT refuses($$SELECT shop.time_field('{"a": "2026-02-30T20:00:00Z"}', 'a')$$, 'HS015', 'that does not exist', '/a');
SELECT refuses($$SELECT shop.time_field('{"a": "tomorrow"}', 'a')$$, 'HS015', 'or is not written as RFC 3339 wants it', '/a');

SELECT is(shop.read_cursor(shop.cursor_of('new', '7', 'é?'), 'new', '{bigint,text}'), '{7,é?}', 'a cursor can be read');
SELECT refuses(format('SELECT shop.read_cursor(%L, ''new'', ''{bigint}'')', c), 'HS016', format('%s is none of this list', left(c, 20)), '?cursor')
FROM unnest(ARRAY[shop.cursor_of('old', '7'), shop.cursor_of('new', 'seven')]) AS c;
SELECT finish();
ROLLBACK;

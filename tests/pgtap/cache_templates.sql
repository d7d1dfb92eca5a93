-- Templates of cache keys: which there are, and how each of the others is refused.
\ir include/cache.sql
SELECT plan(97);

ALTER TABLE product ADD "Größe" text, ADD "two words" integer, ADD "LOUD" integer, ADD "it's ""so"" a\b" integer, ADD gone integer,
    ADD "a234567890b234567890c234567890d234567890e234567890f234567890xyz" integer;
ALTER TABLE product DROP gone;

-- Good
SELECT is(watched_as('product', template), template, what || ' is a template')
FROM (VALUES ('product:{id}', 'text with a column'), ('{id}', 'a column alone'), ('tag:products', 'text alone'), ('k', 'a letter'), ('{id}{title}', 'a column behind another'),
             ('{id}{id}', 'the same column twice'), ('k:{price}:{title}:{id}:', 'text between columns'), (':{id}', 'a colon first'), ('{Größe}', 'a column that is not in ASCII'),
             ('{two words}', 'a column with a blank'), ('{LOUD}', 'a column in capitals'), ('{it''s "so" a\b}', 'a column with quotes and a backslash'),
             ('{a234567890b234567890c234567890d234567890e234567890f234567890xyz}', 'a column with the longest name'),
             ('!"#$&''()*+,-./0189:;<=>?@AZ[]^_`az|~', 'every sign but blank, braces, percent and backslash'),
             (repeat('k', 250), 'text of 250 bytes'), (repeat('{id}', 62) || 'ab', 'a key of 250 bytes as it is written'),
             ('sha256', 'the beginning of a digest, without its colon'), ('SHA256:k', 'that in capitals'), ('k:sha256:', 'that further on'), ('tag:', 'a tag without a name'),
             ('product:{id} ON price', 'one with a column that counts'), ('product:{id} ON price,title', 'with two'), ('product:{id} ON  price , title', 'with blanks between them'),
             ('k ON Größe,two words,LOUD', 'with odd ones'), ('k ON price,price', 'with the same twice'), ('ON ON id', 'one with ON as the key'),
             ('ON', 'ON alone'), ('k:ON', 'ON without blanks')) AS t (template, what) ORDER BY what;
SELECT is(watched_as('product', 'k ON ' || (SELECT string_agg('price', ',') FROM generate_series(1, 1000))) = 'k ON price' || repeat(',price', 999), true,
    'the list of columns that count may be long');
SELECT is(watched_as('product', 'b', 'a', 'b'), 'b; a; b', 'templates keep their order, and may be given twice');
SELECT is(length(watched_as('product', VARIADIC (SELECT array_agg('k:' || g) FROM generate_series(11, 74) AS g))), 64 * 4 + 63 * 2, '64 templates are good');

-- Refused as text
SELECT refuses(format('SELECT holdfast.watch(%L, %L)', 'product', template), 'HF043', 'watch() refuses ' || what, detail, 'product:\{id\}')
FROM (VALUES ('', 'an empty template', '"": the key is empty'), (' ON price', 'one without a key', 'the key is empty'), (' ', 'a blank', 'only printable'),
             ('a b', 'a blank within', '"a b": only printable'), (' k', 'a blank before', 'only printable'), ('k ', 'a blank behind', 'only printable'),
             ('k on price', 'on in small letters', 'only printable'), ('k ON', 'ON without anything', 'only printable'), (E'k ON\tprice', 'a tab behind ON', 'only printable'),
             (E'k\tON price', 'a tab before ON', 'only printable'), ('k%', 'a percent sign', 'only printable'), ('k%7B{id}', 'an escape', 'only printable'),
             ('k\', 'a backslash', 'only printable'), ('k\000', 'a written zero byte', 'only printable'), ('k:{a\000b}', 'a column with a written zero byte', 'cannot be used'), ('{id}:', 'a column before the first colon', 'before the first colon'), ('{id}:{title}', 'one before another', 'before the first colon'),
             ('k{id}k:{title}', 'one amid the text before it', 'before the first colon'), (E'k\n', 'a line feed', 'only printable'),
             (E'\x01', 'a control character', 'only printable'), (E'k\x7f', 'DEL', 'only printable'), ('ключ', 'text that is not in ASCII', 'only printable'), ('k:{id}é', 'an accent', 'only printable'),
             ('{', 'an open brace', '"}" is missing'), ('k:{id', 'a brace that stays open', '"}" is missing'), ('k:{ ON price', 'one that ON comes in between', '"}" is missing'),
             ('}', 'a closing brace', 'only printable'), ('k:{id}}', 'one too many', 'only printable'), ('k:{}', 'nothing in braces', 'a column is missing'),
             ('sha256:', 'the beginning of a digest', 'sha256'), ('sha256:{id}', 'and what follows it', 'sha256'), (repeat('k', 251), 'text of 251 bytes', 'too long'),
             (repeat('{id}', 63), 'columns of 252 bytes', 'too long'), (repeat('k', 1000000), 'a very long one', 'too long'),
             ('k ON ', 'no columns behind ON', 'behind ON'), ('k ON   ', 'blanks behind ON', 'behind ON'), ('k ON ,price', 'a comma first', 'behind ON'),
             ('k ON price,', 'a comma last', 'behind ON'), ('k ON price, ,title', 'two commas', 'behind ON')) AS t (template, what, detail) ORDER BY what;
SELECT refuses($$SELECT holdfast.watch('product', VARIADIC (SELECT array_agg('k:' || g) FROM generate_series(1, 65) AS g))$$, 'HF043', 'and 65 templates', 'are 65; 64');

-- Refused for the table
SELECT refuses(format('SELECT holdfast.watch(%L, %L)', 'product', template), '42703', 'watch() does not find ' || what, NULL, 'unwatch\(\)')
FROM (VALUES ('{nothing}', 'a column that does not exist'), ('{ID}', 'one in capitals'), ('{größe}', 'one in small letters'), ('{id }', 'one with a blank behind'), ('{ id}', 'or before'),
             ('{"id"}', 'one in quotes'), ('{{id}', 'one behind two braces'), ('{ctid}', 'a system column'), ('{tableoid}', 'another one'), ('{gone}', 'one that was dropped'),
             ('{........pg.dropped.8........}', 'what is left of it'), ('{a234567890b234567890c234567890d234567890e234567890f234567890xyz4}', 'one whose name is too long'),
             ('{product.id}', 'one with its table'), ('k ON nothing', 'one behind ON'), ('k ON price title', 'two without a comma'), ('k ON price ON title', 'two with another ON'),
             ('k ON "price"', 'one in quotes behind ON'), ('k ON {price}', 'one in braces behind ON'), ('k ON xmin', 'a system column behind ON')) AS t (template, what) ORDER BY what;
SELECT refuses($$SELECT holdfast.watch('product', 'product:{id}', 'k:{nothing}', 'tag:products')$$, '42703', 'one bad template spoils all', 'k:\{nothing\}');

-- No templates
SELECT refuses($$SELECT holdfast.watch('product', VARIADIC '{}')$$, 'HF005', 'watch() needs a template');
SELECT refuses($$SELECT holdfast.watch('product', VARIADIC '{{a,b},{c,d}}')$$, 'HF005', 'not a table of them');
SELECT refuses($$SELECT holdfast.watch('product', VARIADIC array_fill('k'::text, '{100001}'))$$, 'HF005', 'and not very many', '100001');
SELECT refuses($$SELECT holdfast.watch('product', VARIADIC NULL)$$, '22004', 'NULL is none');
SELECT refuses($$SELECT holdfast.watch('product', 'a', NULL)$$, '22004', 'also among others', '2');
SELECT is((SELECT count(*) FROM holdfast.watched), 0::bigint, 'nothing is watched now');

SELECT * FROM finish();
ROLLBACK;

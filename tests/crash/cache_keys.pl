#!/usr/bin/perl
# Whatever changes rows of watched tables, exactly the keys of the old rows and the new ones are deleted and
# published, and all others stay.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Digest::SHA qw(sha256_hex);
use Test::More;

stack('--fast');
require CacheKeys;
CacheKeys->import;

# Runs a statement after which these keys are gone.
sub changes
{
	my ($statement, $keys, $name) = @_;
	is(gone($statement), $keys, $name);
}

sql(<<'END');
CREATE TABLE product (id integer PRIMARY KEY, title text, price integer, note text, twice integer GENERATED ALWAYS AS (price * 2) STORED);
INSERT INTO product SELECT g, 'title' || g, g * 100 FROM generate_series(1, 9) AS g;
CREATE TABLE other (id integer PRIMARY KEY, product integer REFERENCES product ON DELETE SET NULL ON UPDATE CASCADE);
INSERT INTO other VALUES (1, 7), (2, 8), (3, NULL);
CREATE TABLE variant (id integer PRIMARY KEY, product integer REFERENCES product ON DELETE CASCADE ON UPDATE CASCADE);
INSERT INTO variant VALUES (71, 7), (72, 7), (81, 8);
CREATE TABLE unwatched (id integer);
SELECT holdfast.watch('product', 'product:{id}', 'title:{title}', 'tag:products ON price,title');
SELECT holdfast.watch('variant', 'variant:{id}', 'tag:variants-of:{product}');
SELECT holdfast.watch('other', 'other:{id}:{product}');
END
ok(cache_is_on(), 'the cache is on');
ok(wait_for(60, sub { heartbeat() eq status('generation') }), 'the heartbeat is the generation');
cached((map { ("product:$_", "title:title$_") } 1 .. 12), (map { "tag:variants-of:$_" } 1 .. 12), qw(product:1003 product: product:%00 product:1x xproduct:1 product:12: title:new title:%00
	title: title:Title1 tag:products tag:product tag:variants-of:%00 variant:7 variant:71 variant:72 variant:73 variant:81 variant:99 other:1:7 other:1:12 other:2:8 other:2:%00 other:3:%00 other:3:1));

# Statements
changes('SELECT', '', 'nothing happens by itself');
changes('SELECT * FROM product FOR UPDATE', '', 'rows are locked');
changes("INSERT INTO product VALUES (10, 'title10', 1)", 'product:10 tag:products title:title10', 'INSERT');
changes("INSERT INTO product VALUES (11, 'title11', 1), (12, NULL, 1)", 'product:11 product:12 tag:products title:%00 title:title11', 'of two rows');
changes("UPDATE product SET note = 'new' WHERE id = 1", 'product:1 title:title1', 'UPDATE of a column that does not count for the tag');
changes('UPDATE product SET price = price, title = title WHERE id = 1', 'product:1 title:title1', 'of those that do, to the same');
changes('UPDATE product SET price = 1 WHERE id = 1', 'product:1 tag:products title:title1', 'to something else');
changes('UPDATE product SET price = NULL WHERE id = 1', 'product:1 tag:products title:title1', 'to NULL');
changes('UPDATE product SET price = NULL WHERE id = 1', 'product:1 title:title1', 'from NULL to NULL');
changes('UPDATE product SET price = 1 WHERE id = 1', 'product:1 tag:products title:title1', 'and back');
changes("UPDATE product SET title = 'new' WHERE id = 1", 'product:1 tag:products title:new title:title1', 'of a key: the old one and the new one');
changes("UPDATE product SET title = 'title1' WHERE id = 1", 'product:1 tag:products title:new title:title1', 'both ways');
changes('UPDATE product SET title = NULL WHERE id = 2', 'product:2 tag:products title:%00 title:title2', 'of a key to NULL');
changes("UPDATE product SET title = '' WHERE id = 2", 'product:2 tag:products title: title:%00', 'from NULL to nothing');
changes("UPDATE product SET title = 'title2' WHERE id = 2", 'product:2 tag:products title: title:title2', 'from nothing to something');
changes('UPDATE product SET price = 5 WHERE id = 99', '', 'of no row');
changes('DELETE FROM product WHERE id = 12', 'product:12 tag:products title:%00', 'DELETE');
changes('DELETE FROM product WHERE id = 99', '', 'of no row');
changes("INSERT INTO unwatched VALUES (1)", '', 'another table changes');
changes(q{COPY product (id, title, price) FROM PROGRAM 'printf "12\ttitle12\t1\n"'}, 'product:12 tag:products title:title12', 'COPY');
changes('MERGE INTO product AS p USING (VALUES (10), (12), (4)) AS v (id) ON p.id = v.id WHEN MATCHED AND v.id = 4 THEN DO NOTHING WHEN MATCHED AND v.id = 10 THEN DELETE '
	. "WHEN MATCHED THEN UPDATE SET note = 'merged'", 'product:10 product:12 tag:products title:title10 title:title12', 'MERGE');
changes("MERGE INTO product AS p USING (VALUES (10)) AS v (id) ON p.id = v.id WHEN NOT MATCHED THEN INSERT VALUES (10, 'title10')", 'product:10 tag:products title:title10', 'that inserts');
changes("INSERT INTO product VALUES (3, 'new') ON CONFLICT DO NOTHING", '', 'INSERT of a row that is there');
changes("INSERT INTO product VALUES (3, 'new') ON CONFLICT (id) DO UPDATE SET note = 'again'", 'product:3 title:title3', 'that updates it instead');
changes("INSERT INTO product VALUES (3, 'new') ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title", 'product:3 tag:products title:new title:title3', 'its key as well');
changes("INSERT INTO product VALUES (3, 'x') ON CONFLICT (id) DO UPDATE SET title = 'title3' WHERE product.title = 'other'", '', 'or does not');
changes("WITH gone AS (DELETE FROM product WHERE id = 3 RETURNING *), come AS (INSERT INTO product SELECT id + 1000, title FROM gone RETURNING 1) UPDATE product SET note = 'cte' WHERE id = 4",
	'product:1003 product:3 product:4 tag:products title:new title:title4', 'three statements in one');
changes("UPDATE product SET id = 3, title = 'title3' WHERE id = 1003", 'product:1003 product:3 tag:products title:new title:title3', 'and back');
changes("DELETE FROM product USING unwatched WHERE product.id = 12 AND unwatched.id = 1", 'product:12 tag:products title:title12', 'DELETE USING');
changes("PREPARE p AS UPDATE product SET note = 'prepared' WHERE id = \$1; EXECUTE p(4); EXECUTE p(5)", 'product:4 product:5 title:title4 title:title5', 'a prepared statement');
changes('BEGIN; DECLARE c CURSOR FOR SELECT * FROM product WHERE id = 6 FOR UPDATE; FETCH c; DELETE FROM product WHERE CURRENT OF c; COMMIT', 'product:6 tag:products title:title6', 'a cursor');
changes("DO 'BEGIN INSERT INTO product VALUES (6, ''title6''); UPDATE product SET note = ''do'' WHERE id = 6; END'", 'product:6 tag:products title:title6', 'a DO block');
changes("SET session_replication_role = replica; UPDATE product SET note = 'replica' WHERE id = 6", 'product:6 title:title6', 'session_replication_role = replica');
changes("ALTER TABLE unwatched ADD note text; UPDATE product SET note = 'ddl' WHERE id = 6", 'product:6 title:title6', 'in a transaction with DDL on another table');

# Statements of others
changes('UPDATE product SET id = 12 WHERE id = 7', 'other:1:12 other:1:7 product:12 product:7 tag:variants-of:12 tag:variants-of:7 title:title7 variant:71 variant:72', 'a cascade of UPDATE');
changes('UPDATE product SET id = 7 WHERE id = 12', 'other:1:12 other:1:7 product:12 product:7 tag:variants-of:12 tag:variants-of:7 title:title7 variant:71 variant:72', 'and back');
changes('DELETE FROM product WHERE id = 8', 'other:2:%00 other:2:8 product:8 tag:products tag:variants-of:8 title:title8 variant:81', 'a cascade of DELETE, and one of SET NULL');
sql(<<'END');
CREATE VIEW cheap AS SELECT id, title, price FROM product WHERE price < 1000;
CREATE VIEW titles AS SELECT id, title FROM product;
CREATE RULE titles AS ON UPDATE TO titles DO INSTEAD UPDATE product SET title = NEW.title WHERE id = OLD.id;
CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE product SET note = ''followed'' WHERE id = NEW.id; RETURN NULL; END';
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.title := NEW.title || ''0''; RETURN NEW; END';
CREATE CONSTRAINT TRIGGER follow AFTER INSERT ON unwatched DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION follow();
END
changes('UPDATE cheap SET price = 7 WHERE id = 4', 'product:4 tag:products title:title4', 'a view');
changes("UPDATE titles SET title = 'new' WHERE id = 4", 'product:4 tag:products title:new title:title4', 'a rule');
changes("UPDATE titles SET title = 'title4' WHERE id = 4", 'product:4 tag:products title:new title:title4', 'and back');
changes('INSERT INTO unwatched VALUES (5)', 'product:5 title:title5', 'a trigger that waits for the commit');
sql("CREATE TRIGGER shout BEFORE INSERT ON product FOR EACH ROW EXECUTE FUNCTION shout()");
changes("INSERT INTO product VALUES (12, 'title1', 2)", 'product:12 tag:products title:title10', 'a trigger that changes the row before');
sql('DROP TRIGGER shout ON product');
changes("UPDATE product SET title = 'title12' WHERE id = 12", 'product:12 tag:products title:title10 title:title12', 'and back');

# The extension's own tables, which it writes without SQL
sql("SELECT holdfast.watch('_holdfast.stock_lane', 'lane:{sku}'), holdfast.watch('_holdfast.hold', 'hold:{sku}:{state}')");
cached(qw(lane:7 lane:8 hold:7:h hold:7:c hold:7:r));
my $owner = new_owner();
is(gone('SELECT holdfast.receive(7, 10)'), 'lane:7', 'units are received');
is(gone("SELECT holdfast.reserve('$owner', 7, 2)"), 'hold:7:h lane:7', 'held');
is(gone("SELECT holdfast.confirm('$owner')"), 'hold:7:c hold:7:h', 'and sold');
is(gone("BEGIN; SELECT holdfast.reserve('" . new_owner() . "', 7, 2); ROLLBACK"), '', 'or not');
sql("SELECT holdfast.unwatch('_holdfast.stock_lane'), holdfast.unwatch('_holdfast.hold')");

# Names
sql("CREATE TABLE tagged (id text); SELECT holdfast.watch('tagged', 'tag:{id}', 'TAG:{id}', 'tagged', 'x\"y''{id}''')");
cached(qw(tag: tag:%00 tag:a TAG: TAG:a TAG:%00 tagged), qw(x"y'' x"y'a' x"y'%00'));
is(gone("INSERT INTO tagged VALUES ('a')"), q(TAG:a tag:a tagged x"y'a'), 'a key is a tag if it begins like one');
is(gone("INSERT INTO tagged VALUES ('')"), q(TAG: tag: tagged x"y''), 'also if that is all of it');
is(gone("INSERT INTO tagged VALUES (NULL)"), q(TAG:%00 tag:%00 tagged x"y'%00'), 'and with NULL');
sql("SELECT holdfast.unwatch('tagged')");
synced();

# Columns that count
sql("CREATE TABLE stock (sku integer, size text, units integer, note text); INSERT INTO stock VALUES (1, 'L', 5), (2, 'M', 5)");
sql("SELECT holdfast.watch('stock', 'stock:{sku}{size} ON units', 'all ON units', 'sized:{size} ON note')");
cached((map { ("stock:${_}L", "stock:${_}M", "stock:${_}%00") } 1 .. 5), "all", map { "sized:$_" } "L", "M", "%00");
is(gone("UPDATE stock SET note = 'new' WHERE sku = 1"), 'sized:L', 'a column that does not count');
is(gone('UPDATE stock SET units = 6 WHERE sku = 1'), 'all stock:1L', 'one that does');
is(gone('UPDATE stock SET sku = 3 WHERE sku = 1'), 'stock:1L stock:3L', 'a column of the key counts always');
is(gone('UPDATE stock SET size = NULL WHERE sku = 3'), 'sized:%00 sized:L stock:3%00 stock:3L', 'and each of them does');
is(gone('DELETE FROM stock WHERE sku = 2'), 'all sized:M stock:2M', 'a row that goes counts in any case');
is(gone('UPDATE stock SET sku = sku, size = size, units = units, note = note'), '', 'one that stays what it is does not');
sql('DROP TABLE stock');

# Long keys
sub digest
{
	return 'sha256:' . sha256_hex($_[0]);
}

sql("CREATE TABLE long (a text, b text); SELECT holdfast.watch('long', 'l:{a}', 'tag:{b}')");
my ($longest, $longer, $escaped, $longest_tag, $longer_tag) = ('l:' . 'a' x 248, 'l:' . 'a' x 249, 'l:' . '%25' x 1000, 'tag:' . 'b' x 246, 'tag:' . 'b' x 247);
cached('l:', 'l:%00', $longest, $longest_tag, 'tag:b', 'tag:' . digest($longer_tag), map { digest($_) } $longest, $longer, $escaped, $longer_tag, 'a' x 249);
is(gone("INSERT INTO long VALUES (repeat('a', 248), repeat('b', 246))"), keys_of($longest, $longest_tag), 'keys of 250 bytes are as they are');
is(gone("UPDATE long SET a = a || 'a', b = 'b'"), keys_of($longest, digest($longer), $longest_tag, 'tag:b'), 'one of 251 is the digest of what it would be');
is(gone("UPDATE long SET a = repeat('%', 1000)"), keys_of(digest($longer), digest($escaped), 'tag:b'), 'with all its escapes');
is(gone('UPDATE long SET a = NULL'), keys_of(digest($escaped), 'l:%00', 'tag:b'), 'and may become short again');
is(gone("UPDATE long SET b = repeat('b', 247)"), keys_of('l:%00', 'tag:b', 'tag:' . digest($longer_tag)), 'a tag that is too long remains one');
sql("DROP TABLE long");

# TRUNCATE
sql("CREATE TABLE news (id integer); CREATE TABLE comment (news integer); INSERT INTO news VALUES (1); SELECT holdfast.watch('news', 'tag:news', 'front', 'front ON id')");
synced();
cached(qw(tag:news front news:1 product:1));
is(gone('TRUNCATE news'), 'front tag:news', 'TRUNCATE deletes the keys of templates without columns');
is(gone('TRUNCATE news'), 'front tag:news', 'also of an empty table');
is(gone('TRUNCATE comment, news RESTART IDENTITY CASCADE'), 'front tag:news', 'together with others');
is(gone('TRUNCATE comment'), '', 'a table that is not watched is another thing');
like(gone('TRUNCATE product CASCADE'), qr/^everything: TRUNCATE (product|variant|other)$/, 'with columns in a template it abandons the whole cache');
like(gone('BEGIN; INSERT INTO product VALUES (1); TRUNCATE variant; COMMIT'), qr/^everything: TRUNCATE variant$/, 'whatever else the transaction does');
is(gone('TRUNCATE news'), 'front tag:news', 'the cache goes on');

# Names of others
my $generation = status('generation');
my @others = (map { "holdfast:$ENV{PGDATABASE}:" . ($generation + $_) . ':value:{product:1}' } -1, 1);
push @others, "holdfast:other:$generation:value:{product:1}", "holdfast:$ENV{PGDATABASE}:value:{product:1}", 'value:{product:1}', 'product:1';
redis('mset', map { ($_, 'kept') } @others);
is(gone("UPDATE product SET note = 'news' WHERE id = 1"), 'product:1 title:%00 (title:%00 was not cached)', 'a key is deleted');
ok(wait_for(60, sub { heartbeat() ne '' }), 'there is a heartbeat');
is(join(' ', redis('exists', @others), redis('get', "holdfast:$ENV{PGDATABASE}:generation")), "6 $generation", 'in its database and generation only');
ok(cache_is_on(), 'the cache is on');
done_testing();

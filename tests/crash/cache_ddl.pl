#!/usr/bin/perl
# DDL on watched tables abandons the cache, triggers that somebody has switched off switch it off, and other DDL
# does neither.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;

stack('--fast');
require CacheKeys;
CacheKeys->import;

# Runs a statement after which these keys are gone, or the cache is abandoned for this reason.
sub changes
{
	my ($statement, $keys, $name) = @_;
	is(gone($statement), $keys, $name // $statement);
}

# Waits until the cache is in the state, with a heartbeat or without one.
sub becomes
{
	my ($state, $name) = @_;
	my $beats = $state eq 'on';
	ok(wait_for(60, sub { status('state') eq $state && (heartbeat() ne '') == $beats }), $name) or diag(status('*') . ', heartbeat ' . heartbeat());
}

sql(<<'SQL');
CREATE TABLE product (id integer PRIMARY KEY, title text, price integer);
INSERT INTO product SELECT generate_series(1, 5), 'title';
CREATE TABLE sale (id integer, region text) PARTITION BY LIST (region);
CREATE TABLE sale_eu PARTITION OF sale FOR VALUES IN ('eu');
CREATE TABLE unwatched (id integer);
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TYPE pair AS (a integer, b integer);
SELECT holdfast.watch('product', 'p:{id}', 'tag:products ON price');
SQL
ok(cache_is_on(), 'the cache is on');
cached(map { ("p:$_", "s:$_", "m:$_", "m:sad", "m:glum") } 1 .. 5);

# watch() and unwatch()
changes("SELECT holdfast.watch('sale', 's:{id}')", 'everything: watch of sale');
changes("SELECT holdfast.watch('sale', 's:{id}', 'tag:sales')", 'everything: watch of sale', 'watch() again');
changes("SELECT holdfast.unwatch('sale')", 'everything: unwatch of sale');
changes("INSERT INTO sale VALUES (1, 'eu')", '', 'an unwatched table is unwatched');
changes("BEGIN; SELECT holdfast.watch('sale', 's:{id}'); ROLLBACK", '', 'watch() that is rolled back');
changes("BEGIN; INSERT INTO sale VALUES (2, 'eu'); SELECT holdfast.watch('sale', 's:{id}'); COMMIT", 'everything: watch of sale', 'watch() after a change in the same transaction');
changes("INSERT INTO sale VALUES (3, 'eu')", 's:3', 'and from then on');
changes("BEGIN; SELECT holdfast.unwatch('sale'); ALTER TABLE sale RENAME id TO number; SELECT holdfast.watch('sale', 's:{number}'); UPDATE sale SET number = 4 WHERE number = 3; COMMIT",
	'everything: unwatch of sale', 'a column that is named changes its name');
changes('UPDATE sale SET number = 3 WHERE number = 4', 's:3 s:4', 'and is named by it');

# DDL on watched tables
changes($_, 'everything: ALTER TABLE public.product') foreach 'ALTER TABLE product ADD stock integer DEFAULT 7', 'ALTER TABLE product ALTER price TYPE numeric',
	'ALTER TABLE product ALTER price SET DEFAULT 5', 'ALTER TABLE product SET UNLOGGED';
changes('ALTER TABLE product RENAME stock TO units', 'everything: ALTER TABLE public.product.units');
changes('ALTER TABLE product DROP units', 'everything: ALTER TABLE public.product.units');
changes('BEGIN; ALTER TABLE product ADD units integer; ROLLBACK', '', 'DDL that is rolled back');
changes('BEGIN; SAVEPOINT a; ALTER TABLE product ADD units integer; ROLLBACK TO a; UPDATE product SET price = 3 WHERE id = 3; COMMIT', 'p:3 tag:products (tag:products was not cached)', 'to a savepoint');
changes("ALTER TABLE product ALTER id TYPE text USING 'number ' || id", 'everything: ALTER TABLE public.product', 'the type of a column that is named changes');
cached('p:number%203', 'p:3', 'tag:products');
changes("UPDATE product SET price = 4 WHERE id = 'number 3'", 'p:number%203 tag:products', 'and so do its keys');
my $session = Session->new;
$session->status("UPDATE product SET price = 5 WHERE id = 'number 3'");
changes("ALTER TABLE product ALTER id TYPE integer USING substr(id, 8)::integer", 'everything: ALTER TABLE public.product', 'it changes back');
is(gone_after(sub { $session->status('UPDATE product SET price = 6 WHERE id = 3') }), 'p:3 tag:products', 'a session that knew the old type uses the new one');
$session->close;
changes('ALTER TABLE product RENAME TO goods', 'everything: ALTER TABLE public.goods');
changes('UPDATE goods SET price = 7 WHERE id = 3', 'p:3 tag:products', 'the table has another name');
changes('ALTER TABLE goods RENAME TO product', 'everything: ALTER TABLE public.product');

# Types
sql("ALTER TABLE product ADD mood mood; UPDATE product SET mood = 'sad'; SELECT holdfast.watch('product', 'p:{id}', 'm:{mood}')");
synced();
cached(qw(p:1 m:sad m:glum m:happy m:%00));
changes("UPDATE product SET price = 1 WHERE id = 1", 'm:sad p:1', 'a value of an enumeration');
$session = Session->new;
$session->status("UPDATE product SET price = 1 WHERE id = 1");
changes("ALTER TYPE mood RENAME VALUE 'sad' TO 'glum'", 'everything: ALTER TYPE', 'it is renamed');
is(gone_after(sub { $session->status('UPDATE product SET price = 2 WHERE id = 1') }), 'm:glum p:1', 'keys have its new name, also in a session that knew the old one');
$session->close;
changes("ALTER TYPE mood ADD VALUE 'neither'", 'everything: ALTER TYPE', 'another value is added');
sql('CREATE DOMAIN short AS text; ALTER TABLE product ALTER title TYPE short');
synced();
changes('ALTER DOMAIN short ADD CHECK (length(VALUE) < 10)', 'everything: ALTER DOMAIN');
sql("CREATE TABLE typed OF pair; INSERT INTO typed VALUES (1, 2); SELECT holdfast.watch('typed', 't:{a}')");
synced();
changes('ALTER TYPE pair ADD ATTRIBUTE d text CASCADE', 'everything: ALTER TYPE', 'the type of a typed table changes');
changes('ALTER TYPE pair RENAME ATTRIBUTE a TO c CASCADE', 'everything: ALTER TYPE', 'a typed table loses a column that is named');
changes('UPDATE typed SET b = 3', 'everything: a template does not fit table typed', 'then every change of it abandons the cache');
sql("SELECT holdfast.unwatch('typed')");
synced();

# DDL on other things
changes($_, '') foreach 'CREATE TABLE another (id integer)', 'ALTER TABLE another ADD name text', 'CREATE TABLE heir () INHERITS (another)', 'DROP TABLE another CASCADE', 'CREATE TEMPORARY TABLE t AS SELECT 1',
	'CREATE VIEW v AS SELECT * FROM product', 'DROP VIEW v', 'CREATE INDEX i ON product (title)', 'REINDEX INDEX i', 'DROP INDEX i', 'CREATE TYPE t AS (id integer)', 'DROP TYPE t',
	"COMMENT ON TABLE product IS 'goods'", 'GRANT SELECT ON product TO PUBLIC', 'ANALYZE product', 'VACUUM product', 'CLUSTER product USING product_pkey', 'VACUUM FULL product', 'CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS \'SELECT 1\'',
	"CREATE TABLE sale_us PARTITION OF sale FOR VALUES IN ('us')", 'CREATE TRIGGER t BEFORE UPDATE ON unwatched FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()', 'DROP TRIGGER t ON unwatched',
	'BEGIN; LOCK TABLE product; COMMIT', 'CREATE STATISTICS st ON id, price FROM product', 'CREATE SCHEMA s CREATE TABLE t (id integer)', 'DROP SCHEMA s CASCADE';

# Reasons are text, however long names are.
my ($schema, $table) = ('ü' x 31, 'ö' x 31);
sql(qq(CREATE SCHEMA "$schema"; CREATE TABLE "$schema"."$table" (id integer); SELECT holdfast.watch('"$schema"."$table"', 'k')));
synced();
foreach my $name ("a$table", substr($table, 0, -2), 'b' . substr($table, 0, -2))
{
	my $now = sql("SELECT relname FROM pg_class WHERE oid = (SELECT table_name FROM holdfast.watched WHERE template = 'k')");
	like(gone(qq(ALTER TABLE "$schema"."$now" RENAME TO "$name")), qr/^everything: ALTER TABLE "$schema"\."/, 'a long name in a reason');
	is(sql("SELECT octet_length(convert_to(generation_reason, 'UTF8')) BETWEEN 120 AND 127 FROM holdfast.cache_status"), 't', 'is cut off between letters');
}
changes(qq(DROP SCHEMA "$schema" CASCADE), 'everything: DROP SCHEMA of a watched table', 'a schema is dropped with a watched table');

# Triggers that are switched off
my $generation = status('generation');
sql('ALTER TABLE product DISABLE TRIGGER holdfast_cache');
becomes('trigger off', 'when a trigger is switched off, the cache is');
like(status('last_error'), qr/trigger holdfast_cache of table product/, 'the status tells which one');
is(sql('SELECT DISTINCT table_name, fires_always FROM holdfast.watched WHERE NOT fires_always'), 'product|f', 'and so does watched');
is(sql_status("SELECT holdfast.cache_sync('60 s')"), '00000', 'cache_sync() works');
sql("UPDATE product SET title = 'unseen' WHERE id = 1");
sql("SELECT holdfast.watch('product', 'p:{id}')");
becomes('on', 'when the table is watched again, the cache is on');
cmp_ok(heartbeat(), '>', $generation, 'under another generation');
changes('UPDATE product SET price = 3 WHERE id = 1', 'p:1', 'and keys are deleted');
foreach my $off ('ALTER TABLE product DISABLE TRIGGER ALL', 'ALTER TABLE product DISABLE TRIGGER holdfast_cache_truncate', 'ALTER TABLE product ENABLE REPLICA TRIGGER holdfast_cache',
	'BEGIN; ALTER TABLE product DISABLE TRIGGER ALL; COPY product (id) FROM PROGRAM \'echo 77\'; ALTER TABLE product ENABLE TRIGGER ALL; COMMIT', 'ALTER TABLE sale_eu DISABLE TRIGGER ALL',
	'ALTER TABLE sale_us DISABLE TRIGGER holdfast_cache_truncate')
{
	sql($off);
	becomes('trigger off', "the cache is off after $off");
	like(sql("SELECT string_agg(DISTINCT table_name::text, ' ') FROM holdfast.watched WHERE NOT fires_always"), $off =~ /sale/ ? qr/^sale$/ : qr/^product$/, 'watched tells of which table');
	sql("SELECT holdfast.watch('product', 'p:{id}'), holdfast.watch('sale', 's:{number}')");
	becomes('on', 'it is on when they are watched again');
}
sql('BEGIN; ALTER TABLE product DISABLE TRIGGER ALL; ROLLBACK');
synced();
becomes('on', 'it stays on if that is rolled back');

# Tables that go
changes('DROP TABLE sale_eu', 'everything: DROP TABLE of a watched table');
changes('BEGIN; DROP TABLE product; ROLLBACK', '', 'a table is dropped, which is rolled back');
changes('DROP TABLE product', 'everything: DROP TABLE of a watched table');
$generation = heartbeat();
sql("SELECT holdfast.unwatch('sale')");
becomes('nothing watched', 'when nothing is watched any more, there is no heartbeat');
is(sql_status("SELECT holdfast.cache_sync('100 ms')"), '00000', 'nor anything that cache_sync() would wait for');
sql("SELECT holdfast.watch('sale', 's:{number}')");
becomes('on', 'when something is, there is');
cmp_ok(heartbeat(), '>', $generation, 'under another generation');
sql('DROP TABLE sale');
becomes('nothing watched', 'the last table is dropped');
sql("SELECT holdfast.watch('unwatched', 'u')");
becomes('on', 'and another one is watched');
changes('INSERT INTO unwatched VALUES (1)', 'u (u was not cached)', 'its keys are deleted');
is(sql_status("DROP EXTENSION holdfast"), '2BP01', 'the extension is not dropped');
sql('DROP EXTENSION holdfast CASCADE');
ok(wait_for(60, sub { heartbeat() eq '' }), 'with CASCADE it is, and the heartbeat goes');
sql("CREATE EXTENSION holdfast; SELECT holdfast.watch('unwatched', 'u')");
becomes('on', 'it can be made and used again');
changes('INSERT INTO unwatched VALUES (1)', 'u (u was not cached)', 'then keys are deleted');
sql('BEGIN; DROP EXTENSION holdfast CASCADE; CREATE EXTENSION holdfast; COMMIT');
ok(wait_for(60, sub { heartbeat() eq '' }), 'when it is made anew in one transaction, the heartbeat goes, too');
sql("SELECT holdfast.watch('unwatched', 'u')");
becomes('on', 'until something is watched');
unlike(log_text(), qr/PANIC|TRAP:|terminated by signal/, 'no PANIC and no signal in the log');
done_testing();

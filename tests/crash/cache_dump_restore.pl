#!/usr/bin/perl
# Watched tables are dumped and restored as watched tables, and the cache of the new database is its own.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;

stack('--fast', '--conf', 'max_prepared_transactions=5', '--conf', 'max_worker_processes=20');
require CacheKeys;
CacheKeys->import;
plan tests => 28;

sql(<<'SQL');
CREATE TABLE product (id integer PRIMARY KEY, "Größe" text);
CREATE TABLE sale (id integer, region text) PARTITION BY LIST (region);
CREATE TABLE sale_eu PARTITION OF sale FOR VALUES IN ('eu');
CREATE TABLE sale_us PARTITION OF sale FOR VALUES IN ('us') PARTITION BY RANGE (id);
CREATE TABLE sale_us_1 PARTITION OF sale_us FOR VALUES FROM (1) TO (10);
INSERT INTO product VALUES (1, 'L'), (2, NULL);
INSERT INTO sale VALUES (1, 'eu'), (2, 'us');
SELECT holdfast.watch('product', 'p:{id}', 'size:{Größe} ON Größe,id');
SELECT holdfast.watch('sale', 's:{id}', '"sale''s":{region}');
SQL
ok(cache_is_on(), 'the cache is on');
my $watched = "SELECT string_agg(w::text, ' ' ORDER BY w::text) FROM holdfast.watched AS w";
my $triggers = "SELECT string_agg(format('%s %s %s', tgrelid::regclass, pg_get_triggerdef(oid), tgenabled), '; ' ORDER BY tgrelid::regclass::text, tgname) "
	. "FROM pg_trigger WHERE tgfoid = 'holdfast.invalidate_cache()'::regprocedure";
is(sql("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'holdfast%' AND tgenabled = 'A'"), 10, 'five tables have two triggers each');

# A transaction that is prepared has its keys in a table.
sql("BEGIN; UPDATE product SET id = 3 WHERE id = 2; PREPARE TRANSACTION 'one'");

my $dir = server_dir();
my %ways = (
	script => [["pg_dump -f $dir/script.sql $ENV{PGDATABASE}"], ["psql -Xq -v ON_ERROR_STOP=1 -d DB -f $dir/script.sql"]],
	single => [["pg_dump -f $dir/single.sql $ENV{PGDATABASE}"], ["psql -Xq1 -v ON_ERROR_STOP=1 -d DB -f $dir/single.sql"]],
	archive => [["pg_dump -Fc -f $dir/archive $ENV{PGDATABASE}"], ["pg_restore --exit-on-error -j 2 -d DB $dir/archive"]],
);
foreach my $way (sort keys %ways)
{
	my $db = "as_$way";
	my ($dump, $restore) = map { s/DB/$db/r } map { @$_ } @{$ways{$way}};
	ok(as_server(split(/ /, $dump)), "$way: the dump succeeds");
	sql("CREATE DATABASE $db", db => 'postgres');
	ok(as_server(split(/ /, $restore)), "$way: the restore succeeds");
	is(sql($watched, db => $db), sql($watched), "$way: the same is watched");
	is(sql($triggers, db => $db), sql($triggers), "$way: by the same triggers");
	is(sql('SELECT (SELECT count(*) FROM _holdfast.cache_prepared), (SELECT count(*) FROM product)', db => $db), '0|2', "$way: what is prepared stays where it is");
	ok(wait_for(70, sub { status('state', db => $db) eq 'on' }), "$way: the cache of the new database is on");
	my $generation = status('generation', db => $db);
	ok(wait_for(60, sub { redis('get', "holdfast:$db:heartbeat") eq $generation }), "$way: it has a heartbeat of its own");
	redis('mset', map { ("holdfast:$_:value:{p:1}", 'cached') } "$db:$generation", "$ENV{PGDATABASE}:" . status('generation'));
	sql('UPDATE product SET id = 1 WHERE id = 1; UPDATE sale SET id = 3 WHERE id = 2', db => $db);
	synced(db => $db);
	is(redis('mget', map { "holdfast:$_:value:{p:1}" } "$db:$generation", "$ENV{PGDATABASE}:" . status('generation')), "\ncached", "$way: its keys are deleted, and no others");
}
cached(qw(p:2 p:3 size:%00));
is(gone("COMMIT PREPARED 'one'"), 'p:2 p:3 size:%00', 'what is prepared in the original deletes keys when it is committed');
is(sql('SELECT count(*) FROM _holdfast.cache_prepared'), 0, 'and leaves nothing behind');


#!/usr/bin/perl
# What logical replication applies to watched tables deletes keys, as everybody's changes do.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;

stack('--fast', '--conf', 'wal_level=logical', '--conf', 'max_prepared_transactions=10', '--conf', 'max_worker_processes=16',
	'--conf', 'logical_decoding_work_mem=64kB', '--conf', 'wal_retrieve_retry_interval=200ms');
require CacheKeys;
CacheKeys->import;
plan tests => 19;

my @source = (db => 'source');
my $tables = <<'SQL';
CREATE TABLE product (id integer PRIMARY KEY, title text, price integer);
CREATE TABLE news (id integer PRIMARY KEY);
CREATE TABLE sale (id integer, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE sale_eu PARTITION OF sale FOR VALUES IN ('eu');
CREATE TABLE sale_us PARTITION OF sale FOR VALUES IN ('us');
CREATE TABLE mark (id integer PRIMARY KEY);
SQL
sql('CREATE DATABASE source', db => 'postgres');
sql($tables, @source);
sql($tables);
sql(<<'SQL');
SELECT holdfast.watch('product', 'product:{id}', 'title:{title} ON title', 'tag:prices ON price');
SELECT holdfast.watch('news', 'tag:news');
SELECT holdfast.watch('sale', 'sale:{id}:{region}');
SQL
ok(cache_is_on(), 'the cache of the subscriber is on');
cached((map { ("product:$_", "title:t$_") } 1 .. 9), qw(tag:prices tag:news title:%00), map { ("sale:$_:eu", "sale:$_:us") } 1 .. 5);

my $marks = 0;

# Waits until everything that the publisher has committed is applied: a last row tells.
sub applied
{
	my $mark = ++$marks;
	sql("INSERT INTO mark VALUES ($mark)", @source);
	wait_for(60, sub { sql("SELECT count(*) FROM mark WHERE id = $mark") == 1 }) or diag('not applied in time');
}

# Runs a statement, or several, at the publisher, after which these keys are gone at the subscriber.
sub changes
{
	my ($statements, $keys, $name) = @_;
	is(gone_after(sub { sql($_, @source) foreach ref $statements ? @$statements : $statements; applied() }), $keys, $name);
}

sql("INSERT INTO product VALUES (1, 't1', 1), (2, 't2', 2)", @source);
sql('CREATE PUBLICATION everything FOR ALL TABLES WITH (publish_via_partition_root = true)', @source);
sql("SELECT pg_create_logical_replication_slot('shop', 'pgoutput', false, true)", @source);
is(gone_after(sub {
	sql("CREATE SUBSCRIPTION shop CONNECTION 'host=$ENV{PGHOST} dbname=source user=postgres' PUBLICATION everything WITH (create_slot = false, slot_name = 'shop', two_phase = true, streaming = true)");
	wait_for(60, sub { sql("SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'") == 0 });
}), 'product:1 product:2 tag:prices title:t1 title:t2', 'rows that are copied in the beginning');

changes("INSERT INTO product VALUES (3, 't3', 3)", 'product:3 tag:prices title:t3', 'INSERT');
changes("UPDATE product SET price = 4 WHERE id = 3", 'product:3 tag:prices', 'UPDATE of what counts for the tag');
changes("UPDATE product SET title = 't4' WHERE id = 3", 'product:3 title:t3 title:t4', 'of a key: the old one and the new one');
changes("UPDATE product SET id = 4, title = NULL WHERE id = 3", 'product:3 product:4 title:%00 title:t4', 'of the primary key');
changes("BEGIN; UPDATE product SET price = 7; SAVEPOINT a; DELETE FROM product; ROLLBACK TO a; COMMIT", 'product:1 product:2 product:4 tag:prices', 'of all rows');
changes('BEGIN; UPDATE product SET price = 8; ROLLBACK', '', 'that is rolled back');
changes('DELETE FROM product WHERE id = 4', 'product:4 tag:prices title:%00', 'DELETE');
changes('TRUNCATE news', 'tag:news', 'TRUNCATE of a table whose templates have no columns');
changes('TRUNCATE product', 'everything: TRUNCATE product', 'of one whose templates have some');
changes("INSERT INTO sale VALUES (1, 'eu'), (2, 'us')", 'sale:1:eu sale:2:us', 'rows of partitions');
changes("UPDATE sale SET region = 'us' WHERE id = 1", 'sale:1:eu sale:1:us', 'one moves');
like(gone_after(sub { sql('TRUNCATE sale', @source); applied() }), qr/^everything: TRUNCATE sale/, 'TRUNCATE of all of them');
changes(["BEGIN; INSERT INTO product VALUES (5, 't5', 1); PREPARE TRANSACTION 'one'"], '', 'a transaction that is prepared');
changes("COMMIT PREPARED 'one'", 'product:5 tag:prices title:t5', 'and committed');
changes(["BEGIN; UPDATE product SET price = 2; PREPARE TRANSACTION 'one'", "ROLLBACK PREPARED 'one'"], '', 'or rolled back');
changes("BEGIN; SAVEPOINT a; INSERT INTO product SELECT g, 't' || g FROM generate_series(100, 3000) AS g; ROLLBACK TO a; INSERT INTO product VALUES (6, 't6'); COMMIT",
	'product:6 tag:prices title:t6', 'a large one that is streamed, of which little is kept');
ok(cache_is_on(), 'the cache is on');
sql('ALTER SUBSCRIPTION shop DISABLE');
sql('ALTER SUBSCRIPTION shop SET (slot_name = NONE)');
sql('DROP SUBSCRIPTION shop');

#!/usr/bin/perl
# Many clients at once hand their keys over: each key arrives, no block of the ring is lost, in a ring
# that is large enough and in one that is full all the time.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;

stack('--fast', '--conf', 'holdfast.cache_ring_size=32MB', '--conf', 'max_prepared_transactions=10');
plan tests => 12;

my $seconds = $ENV{HF_SECONDS} // 6;

sub status
{
	my ($column) = @_;
	return sql("SELECT $column FROM holdfast.cache_status");
}

# Changes rows from 24 connections; the number of transactions that were committed.
sub crowd
{
	my ($script) = @_;
	my $file = server_dir() . '/crowd.sql';
	open(my $out, '>', $file) or die "$file: $!\n";
	print $out $script;
	close($out);
	my $output = `pgbench -n -M prepared -c 24 -j 2 -T $seconds -f $file 2>&1`;
	my ($count) = $output =~ /transactions actually processed: (\d+)/;
	diag($output) unless $count;
	return $count // 0;
}

sql('CREATE TABLE item (id int PRIMARY KEY, version int NOT NULL DEFAULT 0) WITH (fillfactor = 50)');
sql('INSERT INTO item SELECT generate_series(1, 100000)');
sql("SELECT holdfast.watch('item', 'item:{id}', 'tag:items')");
sql("SELECT holdfast.cache_sync('60 s')");
my $worker = sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'holdfast cache'");

my $before = status('published + coalesced');
my $count = crowd("\\set id random(1, 100000)\nUPDATE item SET version = version + 1 WHERE id = :id;\n");
sql("SELECT holdfast.cache_sync('60 s')");
note("$count transactions");
ok($count > 200, 'many transactions hand over two keys each');
is(status('published + coalesced') - $before, 2 * $count, 'every key of each has arrived');
is(status('backlog'), 0, 'nothing is left');
is(status('ring_used'), '0.0000', 'nor is a block of the ring');
is(status('lost'), 0, 'nothing was lost');

# Long keys, some of which roll back: the ring is full again and again while Redis is frozen.
sql("SELECT holdfast.watch('item', 'item:{id}:" . 'x' x 200 . "', 'tag:items', 'other:{version}:" . 'y' x 200 . "')");
sql("SELECT holdfast.cache_sync('60 s')");
stop();
my $script = <<~'SQL';
	\set id random(1, 100000)
	\set some random(1, 10)
	BEGIN;
	UPDATE item SET version = version + 1 WHERE id BETWEEN :id AND :id + 5;
	SAVEPOINT a;
	UPDATE item SET version = version + 1 WHERE id BETWEEN :id + 6 AND :id + 9;
	ROLLBACK TO a;
	\if :some = 1
	ROLLBACK;
	\else
	COMMIT;
	\endif
	SQL
$count = 0;
for my $try (1 .. 10)
{
	$count += crowd($script);
	last if status('lost') > 0;
}
ok($count > 20, 'with Redis frozen they go on');
cmp_ok(status('lost'), '>', 0, 'the ring was full');
cmp_ok(status('ring_used'), '<=', 0.7501, 'though one database leaves room for others');
my $generation = status('generation');
cont();
sql("SELECT holdfast.cache_sync('60 s')");
cmp_ok(status('generation'), '>', $generation, 'then the whole cache is abandoned');
is(status('ring_used'), '0.0000', 'and every block is free again');
ok(wait_for(60, sub { status('state') eq 'on' }), 'the cache is on');
is(sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'holdfast cache'"), $worker, 'by the same worker');

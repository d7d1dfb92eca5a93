#!/usr/bin/perl
# Redis is frozen or gone: no commit waits for it, the server stops, starts and drops what it is
# told to, the log stays short, cache_status says what is wrong, and soon after Redis is back so is the cache.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;
use Time::HiRes qw(sleep time);

# So slow to give up on Redis that a commit that waited for it could not be missed.
my $timeout = 1;
my $outage = 10;
stack('--fast', '--conf', 'max_prepared_transactions=10', '--conf', 'holdfast.cache_ring_size=64kB',
	'--conf', "holdfast.redis_timeout=${timeout}s", '--conf', 'holdfast.reaper_interval=1h');
plan tests => 48;

my $db = $ENV{PGDATABASE};
my $prefix = "holdfast:$db:";
my $rows = 200;

sub status
{
	my ($column) = @_;
	return sql("SELECT $column FROM holdfast.cache_status");
}

sub becomes
{
	my ($state, $when) = @_;
	my $start = time;
	my $good = wait_for(60, sub { status('state') eq $state });
	ok($good, sprintf('%s the state is "%s" (after %.1f s)', $when, $state, time - $start))
		or diag(status('state'));
}

sub worker_pid
{
	my ($name) = @_;
	return sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'holdfast cache' AND datname = '$name'", db => 'postgres');
}

sub log_lines
{
	return scalar(() = log_text() =~ /\n/g);
}

my $session;
my $next = 0;

# Commits so many times; how long each took, in seconds.
sub commit
{
	my ($count) = @_;
	my @took;
	for (1 .. $count)
	{
		my $id = 1 + $next++ % $rows;
		my $start = time;
		my $status = $session->status("UPDATE item SET version = version + 1 WHERE id = $id");
		push @took, time - $start;
		die "commit: $status\n" if $status ne '00000';
	}
	return @took;
}

# Commits for some seconds, evenly.
sub commit_for
{
	my ($seconds) = @_;
	my $end = time + $seconds;
	my @took;
	while (time < $end)
	{
		push @took, commit(20);
		sleep(0.1);
	}
	return @took;
}

sub median
{
	my @sorted = sort { $a <=> $b } @_;
	return $sorted[$#sorted / 2];
}

# The statuses of one statement after the other.
sub statuses
{
	return join(' ', map { $session->status($_) } @_);
}

# Neither the usual commit nor the slow ones may show that Redis is away; the machine may stand still once or twice.
sub is_undelayed
{
	my ($name, $usual, @took) = @_;
	my ($median, $longest) = (median(@took), (sort { $a <=> $b } @took)[-3]);
	cmp_ok($median, '<', 10 * $usual + $timeout / 5, sprintf('%s: the usual commit is not slower (%.2f ms, else %.2f ms)', $name, 1e3 * $median, 1e3 * $usual));
	cmp_ok($longest, '<', $timeout, sprintf('%s: no commit waits as long as the worker does (all but two within %.0f ms)', $name, 1e3 * $longest));
}

# Clients that write until the server stops; to be closed.
sub writers
{
	my $script = server_dir() . '/writers.sql';
	open(my $file, '>', $script) or die "$script: $!\n";
	print $file "\\set id random(1, $rows)\nUPDATE item SET version = version + 1 WHERE id = :id;\n";
	close($file);
	open(my $output, '-|', "pgbench -n -c 8 -T 60 -f $script 2>&1") or die "pgbench: $!\n";
	return $output;
}

sub stop_fast
{
	my $start = time;
	my $good = as_server('pg_ctl', '-s', '-m', 'fast', '-t', '50', '-D', $ENV{HF_DATA}, 'stop');
	return $good ? time - $start : 60;
}

# Is what was put into the cache of the generation gone, or out of reach?
sub is_abandoned
{
	my ($generation, $key) = @_;
	return redis('get', "${prefix}heartbeat") ne $generation || redis('get', "$prefix$generation:value:{$key}") eq '';
}

sub cache
{
	my ($key) = @_;
	my $generation = redis('get', "${prefix}heartbeat");
	redis('set', "$prefix$generation:value:{$key}", "\nold", 'px', 600_000);
	return $generation;
}

# --- Redis well

sql("CREATE TABLE item (id int PRIMARY KEY, version int NOT NULL DEFAULT 0)");
sql("INSERT INTO item SELECT generate_series(1, $rows)");
sql("SELECT holdfast.watch('item', 'item:{id}')");
$session = Session->new;
becomes('on', 'after watch()');
commit(50);
my $usual = median(commit(300));

# --- Redis frozen

my $generation = cache('item:1');
my $lost = status('lost');
stop();
$next = 0;
is_undelayed('Redis has just been frozen', $usual, commit(20));
becomes('no redis', 'when Redis is frozen');
is(sql_status("SELECT holdfast.cache_sync('300 ms')"), 'HF045', 'cache_sync() gives up in time');
cmp_ok(status('backlog'), '>=', 20, 'keys wait');
cont();
becomes('on', 'when Redis goes on');
ok(wait_for(60, sub { is_abandoned($generation, 'item:1') }), 'what was changed meanwhile is gone');
is(status('lost'), $lost, 'and nothing was lost');

# --- The ring is full

my $before = log_lines();
$generation = cache('item:1');
stop();
is_undelayed('Redis is frozen for long', $usual, commit_for($outage));
is(status('state'), 'no redis', 'all the time');
cmp_ok(status('lost'), '>', $lost, 'the ring has been full');
cmp_ok(log_lines() - $before, '<=', 5, sprintf('the log has grown by %d lines in %d s', log_lines() - $before, $outage));
cont();
becomes('on', 'when Redis goes on');
cmp_ok(status('generation'), '>', $generation, 'the whole cache is abandoned');
is(status('generation_reason'), 'the ring was full', 'and the status says why');
ok(is_abandoned($generation, 'item:1'), 'nothing of before is served');

# --- Redis gone

$before = log_lines();
$generation = cache('item:1');
kill_redis();
becomes('no redis', 'when Redis is gone');
is_undelayed('Redis is gone', $usual, commit_for($outage));
cmp_ok(log_lines() - $before, '<=', 5, sprintf('the log has grown by %d lines in %d s', log_lines() - $before, $outage));
ok(start_redis(), 'Redis starts again');
becomes('on', 'when Redis is back');
cmp_ok(status('generation'), '>', $generation, 'another Redis is another generation');
ok(wait_for(60, sub { redis('get', "${prefix}heartbeat") eq status('generation') }), 'the heartbeat has it');

# --- Other states

my $worker = worker_pid($db);
stop($worker);
becomes('behind', 'when the worker is frozen');
ok(wait_for(60, sub { redis('get', "${prefix}heartbeat") eq '' }), 'and there is no heartbeat');
cont($worker);
becomes('on', 'when it goes on');
sql('ALTER TABLE item DISABLE TRIGGER holdfast_cache');
becomes('trigger off', 'when a trigger is switched off');
ok(wait_for(60, sub { redis('get', "${prefix}heartbeat") eq '' }), 'and there is no heartbeat');
$generation = status('generation');
sql('ALTER TABLE item ENABLE ALWAYS TRIGGER holdfast_cache');
becomes('on', 'when it is switched on');
cmp_ok(status('generation'), '>', $generation, 'in another generation');

# --- What a DBA does meanwhile

sql('CREATE DATABASE shop', db => 'postgres');
sql('CREATE EXTENSION holdfast', db => 'shop');
sql("CREATE TABLE item (id int PRIMARY KEY); SELECT holdfast.watch('item', 'item:{id}')", db => 'shop');
wait_for(60, sub { worker_pid('shop') ne '' });
stop();
sql('INSERT INTO item SELECT generate_series(1, 10)', db => 'shop');
my $start = time;
is(sql_status('DROP DATABASE shop', db => 'postgres'), '00000', 'with Redis frozen a watched database is dropped without FORCE');
cmp_ok(time - $start, '<', 30, sprintf('and nobody waits for it (%.1f s)', time - $start));
my $writers = writers();
wait_for(60, sub { sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'") == 8 });
sleep(0.5);
my $stopped = stop_fast();
cmp_ok($stopped, '<', 50, sprintf('with Redis frozen and clients writing, the server stops (%.1f s)', $stopped));
close($writers);
$session->close;
ok(start_server($ENV{HF_DATA}), 'and starts again');
$session = Session->new;
is($session->status('UPDATE item SET version = 0'), '00000', 'and takes writes');
cont();
becomes('on', 'when Redis goes on');

# --- The extension goes, with keys under way

my $drop = 'DROP EXTENSION holdfast CASCADE';
is(statuses('BEGIN', 'UPDATE item SET version = 1', $drop, 'ROLLBACK'), '00000 00000 00000 00000',
	'DROP EXTENSION CASCADE with keys under way, rolled back');
is(statuses('BEGIN', 'UPDATE item SET version = 2', 'DROP TABLE item', 'ROLLBACK'), '00000 00000 00000 00000', 'DROP TABLE as well');
becomes('on', 'afterwards');
like(statuses('BEGIN', 'UPDATE item SET version = 3', $drop, "PREPARE TRANSACTION 'dropped'"),
	qr/^00000 00000 00000 (00000|55000)$/, 'PREPARE TRANSACTION after DROP EXTENSION is refused at worst');
statuses("ROLLBACK PREPARED 'dropped'", 'ROLLBACK');
is(statuses('BEGIN', 'UPDATE item SET version = 4', $drop, 'COMMIT'), '00000 00000 00000 00000',
	'DROP EXTENSION CASCADE commits with keys under way');
is(sql('SELECT count(*) FROM item WHERE version = 4'), $rows, 'and the rows are changed');
ok(wait_for(60, sub { worker_pid($db) eq '' }), 'the worker leaves');
ok(wait_for(60, sub { redis('get', "${prefix}heartbeat") eq '' }), 'and no reader trusts the cache');
$session->close;
unlike(log_text(), qr/PANIC|TRAP:|terminated by signal (?!15)/, 'no PANIC and no signal in the log');

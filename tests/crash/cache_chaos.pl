#!/usr/bin/perl
# Processes are killed, frozen and restarted, Redis forgets and remembers, tables are emptied,
# dumped and restored, a standby takes over: nobody is served what was replaced a while
# before, and in the end the cache has nothing that the database has not.
use strict;
use warnings;
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use FindBin;
use IPC::Open2 qw(open2);
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;
use Time::HiRes qw(sleep time);

my $rounds = $ENV{HF_ROUNDS} // 1;
stack('--expect-crash', '--conf', 'max_prepared_transactions=50', '--conf', 'deadlock_timeout=100ms',
	'--conf', 'holdfast.reaper_interval=10s', '--conf', 'holdfast.cache_ring_size=256kB',
	'--redis-conf', 'enable-debug-command yes');

my $prefix = "holdfast:$ENV{PGDATABASE}:";
my $dump = dirname($ENV{HF_REDIS_LOG}) . '/dump.rdb';
my $table_dump = server_dir() . '/item.dump';
my $standby = server_dir() . '/standby';
my $dir = tempdir(CLEANUP => 1);
my @port;

# The checker runs in the background, with whoever is the primary, and is told what happens.
system("$FindBin::Bin/../checker/build", "$dir/checker") == 0 or BAIL_OUT('the checker does not compile');
my ($from, $to, $checker);
{
	local $ENV{PGHOST} = "$ENV{PGHOST},$ENV{PGHOST}";
	local $ENV{PGPORT} = "$ENV{PGPORT},5433";
	local $ENV{PGTARGETSESSIONATTRS} = 'read-write';
	$checker = open2($from, $to, "$dir/checker", '--redis', $ENV{HF_REDIS}, '--prefix', $prefix,
		'--writes', 10_000 * $rounds, '--late', 3000, '--hits', 10, '--seed', int(time));
}

# Tells the checker something; returns how often readers have been served so far.
sub order
{
	my ($command) = @_;
	print $to "$command\n";
	my $answer = <$from> // BAIL_OUT('the checker has gone');
	$answer =~ /^done: writes \d+ hits (\d+)/ or die "$command: $answer";
	return $1;
}

sub worker_pid
{
	return sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'holdfast cache'", @port);
}

# Is the cache on, and are readers served?
sub cache_is_on
{
	return 0 unless (eval { sql('SELECT state FROM holdfast.cache_status', @port) } // '') eq 'on';
	return 0 unless redis('get', "${prefix}heartbeat");
	my $hits = order('status');
	return wait_for(0.5, sub { order('status') > $hits + 10 });
}

# Breaks something and mends it; then the cache has to be on again. How many seconds are meant is printed beside how many it took.
sub trouble
{
	my ($name, $seconds, $break) = @_;
	order("fault $name");
	$break->();
	my $mended = time;
	my $on = wait_for(60, \&cache_is_on);
	ok($on, sprintf('%s; the cache is on again (after %.1f s, %d are meant)', $name, time - $mended, $seconds));
	sleep(0.3);
	order('healthy');
	sleep(1.7);
}

sub kill_postmaster
{
	kill('KILL', postmaster_pid($ENV{HF_DATA}));
	wait_for(60, sub { server_gone($ENV{HF_DATA}) });
	wait_for(60, sub { start_server($ENV{HF_DATA}) });
}

sub freeze
{
	my ($pid, $seconds) = @_;
	stop($pid);
	sleep($seconds);
	cont($pid);
}

# Where nothing else is to be told, the command that waits in the queue is the heartbeat.
sub freeze_heartbeat
{
	order('rest');
	sleep(0.2);
	stop();
	sleep(0.7);
	order('work');
	sleep(2);
	cont();
}

# Each command of the cache worker has to wait a while, and it has many to send.
sub slow_down
{
	stop(my $worker = worker_pid());
	sleep(2);
	open(my $sleeps, '-|', "for i in 1 2 3; do redis-cli -s $ENV{HF_REDIS} -r 70 debug sleep 0.02 & done; wait") or die "sh: $!\n";
	sleep(0.3);
	cont($worker);
	my @done = <$sleeps>;
	close($sleeps);
}

sub evict
{
	redis('config', 'set', 'maxmemory-policy', 'allkeys-lru');
	my ($used) = redis('info', 'memory') =~ /used_memory:(\d+)/;
	redis('config', 'set', 'maxmemory', int($used * 0.7));
	sleep(2);
	redis('config', 'set', 'maxmemory', 0);
}

# Transactions that are prepared before a crash and committed after it, when readers are served again.
sub prepare_and_crash
{
	my $change = "BEGIN; UPDATE item SET version = nextval('item_version') WHERE id BETWEEN %d AND %d; PREPARE TRANSACTION '%s'";
	wait_for(60, sub { sql_status(sprintf($change, 101, 110, 'kept')) eq '00000' });
	wait_for(60, sub { sql_status(sprintf($change, 201, 210, 'given up')) eq '00000' });
	kill_postmaster();
	wait_for(60, \&cache_is_on);
	sleep(1);
	sql("ROLLBACK PREPARED 'given up'");
	sql("COMMIT PREPARED 'kept'");
}

# Old rows come back, while people read.
sub restore
{
	ok(as_server('pg_dump', '-Fc', '-t', 'item', '-f', $table_dump, $ENV{PGDATABASE}), 'pg_dump succeeds');
	sleep(1);
	order($_) foreach qw(rest blind);
	ok(as_server('pg_restore', '--clean', '--exit-on-error', '-d', $ENV{PGDATABASE}, $table_dump), 'pg_restore succeeds');
	order($_) foreach qw(see work);
}

sub promote
{
	my $start = time;
	as_server('pg_ctl', '-s', '-m', 'fast', '-t', '60', '-D', $ENV{HF_DATA}, 'stop');
	cmp_ok(time - $start, '<', 50, 'the primary stops');
	@port = (port => 5433);
	sql('SELECT pg_promote()', @port);
}

my @troubles = (
	['a backend is killed', 5, sub {
		kill_one("application_name = 'checker'");
		wait_for(60, sub { sql_status('SELECT') eq '00000' });
	}],
	['the cache worker is killed', 5, sub { kill_one("backend_type = 'holdfast cache'"); wait_for(60, sub { sql_status('SELECT') eq '00000' }) }],
	['the postmaster is killed', 5, \&kill_postmaster],
	['transactions are prepared before a crash', 2, \&prepare_and_crash],
	['Redis is killed', 2, sub { kill_redis(); as_server('rm', '-f', $dump); start_redis() }],
	['Redis comes back with an old dump', 2, sub { redis('save'); sleep(2); kill_redis(); start_redis() }],
	['Redis is frozen for half a second', 2, sub { freeze(redis_pid(), 0.5) }],
	['Redis is frozen for three seconds', 2, sub { freeze(redis_pid(), 3) }],
	['a heartbeat is on its way to a frozen Redis', 2, \&freeze_heartbeat],
	['Redis is slow, and the cache worker is behind', 2, \&slow_down],
	['the cache worker is frozen', 2, sub { freeze(worker_pid(), 3) }],
	['the cache worker is sent away', 5, sub { kill('TERM', worker_pid()) }],
	['all connections to Redis are cut', 2, sub { redis('client', 'kill', 'type', 'normal') }],
	['FLUSHALL', 2, sub { redis('flushall') }],
	['FLUSHDB', 2, sub { redis('flushdb') }],
	['Redis evicts', 2, \&evict],
	['TRUNCATE', 2, sub { order('truncate'); sleep(0.5) }],
	['the table is restored from a dump', 5, \&restore],
);

plan tests => $rounds * (@troubles + 2) + 13;
ok(wait_for(60, \&cache_is_on), 'the cache is on');
sleep(3);
for my $round (1 .. $rounds)
{
	trouble(@$_) foreach @troubles;
}
ok(as_server('pg_basebackup', '-R', '-X', 'stream', '-c', 'fast', '-D', $standby), 'a base backup is taken');
ok(start_server($standby, '-p', 5433), 'a standby starts from it');
wait_for(60, sub { sql('SELECT count(*) FROM pg_stat_replication') == 1 });
trouble('a standby takes over', 5, \&promote);

print $to "finish\n";
while (my $line = <$from>)
{
	if ($line =~ /^(not )?ok - (.*)/) { ok(!$1, $2) }
	else { $line =~ s/^# //; chomp $line; diag($line) }
}
waitpid($checker, 0);
unlike(log_text(), qr/PANIC|TRAP:|terminated by signal (?!9:)/, 'no PANIC and no signal but ours in the log');

#!/usr/bin/perl
# Whatever fails in the extension's cache, once, at any place, the server lives and no key is lost.
#
# A library that is loaded before all others (tests/faults) lets the Nth call to hiredis fail, or
# the Nth allocation, for N = 1, 2, 3 and so on until a scenario runs through without having met
# the fault. By default long sweeps are thinned out; with HF_ALL=1 they are not.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use IO::Socket::UNIX;
use Test::More;
use Time::HiRes qw(sleep time);

stack('--fast', '--conf', 'holdfast.reaper_interval=1h', '--conf', 'max_prepared_transactions=10');

# As in tests/faults/faults.h.
my %kinds = (call => 1, answer => 2, hiredis => 3, malloc => 4, palloc => 5);
my %what = (
	call => 'calls to hiredis',
	answer => 'answers of Redis',
	hiredis => 'allocations of hiredis',
	malloc => 'allocations of the server',
	palloc => 'allocations of the extension',
);

# The last row is for what a session does after its fault.
my $spare = 101;
$SIG{PIPE} = 'IGNORE';

# --- The switch of the library

my $library = server_dir() . '/faults.so';
my $file = server_dir() . '/faults';
my $switch;

sub load_library
{
	system("$FindBin::Bin/../faults/build", $library) == 0 or BAIL_OUT('the faults do not compile');
	open($switch, '+>', $file) or die "$file: $!\n";
	binmode($switch);
	syswrite($switch, "\0" x 4096);
	chmod(0666, $file);
	as_server('pg_ctl', '-s', '-m', 'fast', '-t', '30', '-D', $ENV{HF_DATA}, 'stop');
	local $ENV{HF_FAULTS} = $file;
	local $ENV{LD_PRELOAD} = $library;
	return start_server($ENV{HF_DATA});
}

# The process is named last.
sub arm
{
	my ($kind, $pid, $n) = @_;
	sysseek($switch, 4, 0);
	syswrite($switch, pack('lll', $kinds{$kind}, $n, 0) . "\0" x 1024);
	sysseek($switch, 0, 0);
	syswrite($switch, pack('l', $pid));
}

# Returns how often a fault has happened, and who had called.
sub disarm
{
	sysseek($switch, 0, 0);
	syswrite($switch, pack('l', 0));
	sysseek($switch, 12, 0);
	sysread($switch, my $seen, 4 + 1024);
	return unpack('lZ*', $seen);
}

# --- The database

# A session, and the process that serves it. After a crash it takes the server a moment.
sub new_session
{
	for my $try (1 .. 100)
	{
		my $session = Session->new;
		$session->send('SELECT pg_backend_pid()');
		my ($status, $pid) = $session->receive;
		return ($session, $pid) if $status eq '00000';
		$session->close;
		sleep(0.1);
	}
	die "the server does not come back\n";
}

my $control;

# A statement that must succeed, in a session that stays open until the server crashes.
sub ask
{
	my ($statement) = @_;
	($control) = new_session() unless $control;
	$control->send($statement);
	my ($status, $text) = $control->receive;
	chomp $text;
	die "$statement: $status $text\n" if $status ne '00000';
	return $text;
}

sub worker
{
	return ask("SELECT pid FROM pg_stat_activity WHERE backend_type = 'holdfast cache' AND datname = current_database()");
}

# Makes the launcher start the worker now, which it does later and later if it keeps failing. A
# database that was closed for a moment is new to it: it starts a reaper, who wants a cache worker.
sub revive
{
	for my $try (1 .. 20)
	{
		my $reaper = reaper_pid($ENV{PGDATABASE});
		ask("SELECT pg_terminate_backend($reaper)") if $reaper ne '';
		wait_for(1, sub { reaper_pid($ENV{PGDATABASE}) ne $reaper }) if $reaper ne '';
		foreach my $open ('false', 'true')
		{
			ask("BEGIN \\; UPDATE pg_database SET datallowconn = $open WHERE datname = current_database() \\; "
				. 'SELECT _holdfast.wake_workers() \; COMMIT');
			sleep(0.05);
		}
		return if wait_for(1, sub { worker() ne '' });
	}
}

# Waits until Redis has everything; the worker may have to be brought back. Returns whether it has.
sub synced
{
	my $end = time + 60;
	until (ask("DO \$\$ BEGIN PERFORM holdfast.cache_sync('100 ms'); PERFORM set_config('hf.synced', 'yes', false); "
		. "EXCEPTION WHEN SQLSTATE 'HF045' THEN PERFORM set_config('hf.synced', 'no', false); END \$\$ \\; "
		. "SELECT current_setting('hf.synced')") eq 'yes')
	{
		return 0 if time > $end;
		revive() if worker() eq '';
	}
	return 1;
}

# --- Redis

my $prefix = "holdfast:$ENV{PGDATABASE}:";
my ($redis, $channel);
my $heard = '';

# Two connections that stay open, of which one hears what is published.
sub connect_to_redis
{
	($redis, $channel) = map { IO::Socket::UNIX->new(Peer => $ENV{HF_REDIS}) or die "Redis: $!\n" } 1, 2;
	syswrite($channel, "SUBSCRIBE ${prefix}invalidations\r\n");
	$channel->blocking(0);
}

# The answer to a command; a list if Redis answers one, in which nothing is ''.
sub command
{
	print $redis '*' . @_ . "\r\n", map { '$' . length($_) . "\r\n$_\r\n" } @_;
	$redis->flush;
	return answer();
}

sub answer
{
	my ($type, $text) = readline($redis) =~ /^(.)(.*?)\r\n/ or die "Redis does not answer\n";
	return map { answer() } 1 .. $text if $type eq '*';
	die "Redis: $text\n" if $type eq '-';
	return $text if $type ne '$';
	return '' if $text < 0;
	read($redis, my $value, $text + 2);
	return substr($value, 0, $text);
}

sub hear
{
	1 while sysread($channel, $heard, 65536, length $heard);
	return $heard;
}

sub generation
{
	my ($generation) = command('GET', "${prefix}generation");
	return $generation;
}

# The names of all that a reader can have cached of the rows.
sub cached_names
{
	my ($generation, @ids) = @_;
	return ("$prefix$generation:tag:{tag:products}",
		map { ("$prefix$generation:value:{product:$_}", "$prefix$generation:lease:{product:$_}") } @ids);
}

# Fills the cache as readers do. Returns the generation.
sub fill
{
	my (@ids) = @_;
	my $generation = generation();
	command('MSET', map { ($_, 'old') } cached_names($generation, @ids));
	hear();
	$heard = '';
	return $generation;
}

# Of these rows, which have changed, what is not told in the end: neither has it left Redis and
# been published, nor is the generation another one.
sub untold
{
	my ($generation, @ids) = @_;
	return 'not in Redis within 60 s' unless synced();
	my @names = cached_names($generation, @ids);
	my ($now, @values) = command('MGET', "${prefix}generation", @names);
	my @lost;
	return if !@ids || $now > $generation;
	@lost = map { "$names[$_] is there" } grep { $values[$_] ne '' } 0 .. $#names;
	my @silent = ('tag:products', map { "product:$_" } @ids);
	wait_for(60, sub {
		my %heard = map { $_ => 1 } split(/\r?\n/, hear());
		return !(@silent = grep { !$heard{$_} } @silent);
	});
	push @lost, map { "$_ was not published" } @silent;
	return @lost;
}

# --- What is tried

my $price = 0;

sub update
{
	my ($from, $to) = @_;
	return "UPDATE product SET price = $price WHERE id BETWEEN $from AND $to";
}

sub prepare
{
	return join(' \; ', 'BEGIN', update(1, 12), "PREPARE TRANSACTION 'p'");
}

# Not where faults are: PostgreSQL's own part of it, once it has committed, may fail.
sub commit_prepared
{
	return ask("COMMIT PREPARED 'p'");
}

# What a session does, and the rows that it changes if it succeeds.
my %statements = (
	'few keys' => sub { (update(1, 3), 1 .. 3) },
	'100 keys' => sub { (update(1, 100), 1 .. 100) },
	'a savepoint' => sub {
		my @parts = ('BEGIN', update(1, 1), 'SAVEPOINT s', update(2, 20), 'ROLLBACK TO s', update(21, 30), 'COMMIT');
		return (join(' \; ', @parts), 1, 21 .. 30);
	},
	'caught errors' => sub {
		my @parts = map { 'BEGIN ' . update(@$_) . '; EXCEPTION WHEN OTHERS THEN NULL; END;' } [1, 1], [2, 30], [31, 50];
		return ("DO \$\$ BEGIN @parts " . update(51, 60) . '; END $$', 51 .. 60);
	},
	'two phases' => sub { (prepare(), 1 .. 12) },
);

my @complaints;
my $log_read = 0;

sub complain
{
	push @complaints, @_;
}

# Notices crashes in what the server has logged since the last call. They end all sessions.
sub look_for_crashes
{
	open(my $log, '<', server_dir() . '/second.log') or die "log: $!\n";
	seek($log, $log_read, 0);
	my @bad = grep { /PANIC:|TRAP:|terminated by signal|exited with exit code ([2-9]|\d\d)/ } <$log>;
	$log_read = tell($log);
	return 0 unless @bad;
	chomp @bad;
	complain(@bad);
	$control->close if $control;
	undef $control;
	return 1;
}

# What has become of the rows: told, if they have changed, and all of those expected or none.
sub judge
{
	my ($generation, $status, @expected) = @_;
	my %changed = map { $_ => 1 } split(' ', ask("SELECT coalesce(string_agg(id::text, ' '), '') FROM product WHERE price = $price"));
	my $done = grep { $changed{$_} } @expected;
	complain(untold($generation, sort { $a <=> $b } keys %changed));
	complain("status $status, and $done of " . @expected . ' rows are changed')
		if $status ne '08000' && $done != ($status eq '00000' ? @expected : 0);
	return 1;
}

# A fault in a session, which is then to be as good as new if it lives.
sub try_session
{
	my ($kind, $scenario, $n) = @_;
	my ($session, $pid) = new_session();
	$price++;
	my $generation = fill(1 .. $spare);
	my ($statement, @expected) = $statements{$scenario}->();
	arm($kind, $pid, $n);
	my $status = $session->status($statement);
	disarm();
	commit_prepared() if ask('SELECT count(*) FROM pg_prepared_xacts');
	judge($generation, $status, @expected);
	try_session_again($session);
	$session->close;
	return 1;
}

sub try_session_again
{
	my ($session) = @_;
	$session->send('ROLLBACK');
	return if ($session->receive)[0] eq '08000';
	my $generation = fill($spare);
	my $status = $session->status(update($spare, $spare));
	complain("afterwards: status $status") if $status ne '00000';
	complain(map { "afterwards: $_" } untold($generation, $spare));
	complain('afterwards: the session raises the generation') if generation() > $generation;
}

# What the worker is to do while a fault waits for it.
my %work = (
	'a round' => sub { ask(update(1, 12)) },
	'reconnecting' => sub { command('CLIENT', 'KILL', 'TYPE', 'normal'); ask(update(1, 12)) },
	'raising' => sub { ask(join(' \; ', 'BEGIN', update(1, 12), "SELECT holdfast.cache_flush('test')", 'COMMIT')) },
	'two phases' => sub { ask(prepare()); commit_prepared() },
);

sub try_worker
{
	my ($kind, $scenario, $n) = @_;
	revive() if worker() eq '';
	wait_for(60, sub { ask('SELECT state FROM holdfast.cache_status') eq 'on' }) or die "the cache is not on\n";
	$price++;
	my $generation = fill(1 .. 12);
	arm($kind, worker(), $n);
	$work{$scenario}->();
	judge($generation, '00000', 1 .. 12);
}

# Tries one N after the other; where that takes long, beyond `close` only every so many.
sub sweep
{
	my ($try, $kind, $scenario, $close) = @_;
	my ($n, $faults, $bad) = (0, 0, 0);
	my $start = time;
	while ($bad < 3)
	{
		$n += $ENV{HF_ALL} || $n < $close ? 1 : 1 + int($n / $close * 4);
		my $good = eval { $try->($kind, $scenario, $n) };
		my $error = $@;
		my ($fired, $where) = disarm();
		$good ? look_for_crashes() : wait_for(60, \&look_for_crashes) || complain($error);
		last unless $fired || @complaints;
		$faults++;
		next unless @complaints;
		diag("fault $n, $where:", map { "\n  $_" } splice(@complaints, 0, 6));
		@complaints = ();
		$bad++;
	}
	my $who = $try == \&try_worker ? 'the worker' : 'a session';
	ok($faults > 0 && $bad == 0, "$who, $scenario: nothing is lost when $what{$kind} fail");
	note(sprintf('%d faults, the last of %d, in %.1f s', $faults, $n, time - $start));
	return $faults;
}

ok(load_library(), 'the server runs with the library that injects faults');
my $postmaster = postmaster_pid($ENV{HF_DATA});
ask('CREATE TABLE product (id int PRIMARY KEY, price int)');
ask("INSERT INTO product SELECT i, 0 FROM generate_series(1, $spare) i");
ask("SELECT holdfast.watch('product', 'product:{id}', 'tag:products ON price')");
connect_to_redis();
ok(wait_for(60, sub { ask('SELECT state FROM holdfast.cache_status') eq 'on' }), 'a table is watched');

my %faults;

# A worker that has not got memory starts anew, which takes a moment.
foreach my $scenario ('a round', 'reconnecting', 'raising', 'two phases')
{
	$faults{$_} += sweep(\&try_worker, $_, $scenario, 1e9) foreach 'call', 'answer', 'hiredis';
	$faults{$_} += sweep(\&try_worker, $_, $scenario, 10) foreach 'malloc', 'palloc';
}
foreach my $scenario ('few keys', '100 keys', 'a savepoint', 'caught errors', 'two phases')
{
	$faults{malloc} += sweep(\&try_session, 'malloc', $scenario, 20);
	$faults{palloc} += sweep(\&try_session, 'palloc', $scenario, 1e9);
}
note("$faults{$_} faults: $what{$_}") foreach sort keys %faults;
is(postmaster_pid($ENV{HF_DATA}), $postmaster, 'the server is the one that was started');
is(ask('SELECT ring_used FROM _holdfast.cache_report()'), 0, 'nothing is left in the ring');
done_testing();

# What the crash tests share: private servers, SQL, sessions that stay open, killing, waiting.
#
# A test calls stack() first, which runs it again under tools/with-stack; so each test has a
# PostgreSQL and a Redis of its own, and nothing is left of them afterwards.
package Crash;
use strict;
use warnings;
use Exporter 'import';
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use IPC::Open3 qw(open3);
use POSIX qw(:sys_wait_h setsid);
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(stack sql sql_status wait_for as_server server_dir server_gone postmaster_pid
	start_server log_text reaper_pid kill_one build_hammer storm check_storm new_owner
	redis redis_pid kill_redis start_redis stop cont);

my $root = dirname(__FILE__) . '/../../..';

# Runs the test again inside a private server with these options of tools/with-stack. The words of
# `wrapper` go before it.
sub stack
{
	my ($wrapper, @options) = ref $_[0] ? @_ : ([], @_);
	return if delete $ENV{HF_INSIDE};
	$ENV{HF_INSIDE} = 1;
	exec(@$wrapper, "$root/tools/with-stack", @options, '--', $^X, $0) or die "with-stack: $!\n";
}

# Runs a command; returns its status and all that it prints.
sub run_command
{
	my $pid = open3(my $in, my $out, undef, @_);
	close($in);
	my $text = join('', <$out>);
	waitpid($pid, 0);
	chomp $text;
	return ($?, $text);
}

sub psql
{
	my ($statement, %where) = @_;
	my @command = ('psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=sqlstate');
	push @command, '-d', $where{db} if defined $where{db};
	push @command, '-p', $where{port} if defined $where{port};
	return run_command(@command, '-c', $statement);
}

# The output of a statement, which must succeed; "a|b" lines. Options: db, port.
sub sql
{
	my ($status, $text) = psql(@_);
	die "$_[0]: $text\n" if $status;
	return $text;
}

# The SQLSTATE of a statement: 00000 if it succeeded, 08000 if there was no server.
sub sql_status
{
	my ($status, $text) = psql(@_);
	return '00000' unless $status;
	return $text =~ /(?:ERROR|FATAL):\s+([0-9A-Z]{5})\b/ ? $1 : '08000';
}

# Tries until the condition is true; returns whether it became true in time.
sub wait_for
{
	my ($seconds, $condition) = @_;
	my $end = time + $seconds;
	until ($condition->())
	{
		return 0 if time > $end;
		sleep(0.05);
	}
	return 1;
}

# Starts a command as the server's user; its output goes to a log file. Returns its pid.
sub spawn
{
	my @command = (split(' ', $ENV{HF_RUNAS}), @_);
	my $pid = fork() // die "fork: $!\n";
	return $pid if $pid;
	setsid();
	open(STDIN, '<', '/dev/null');
	open(STDOUT, '>>', server_dir() . '/second.log');
	open(STDERR, '>&', \*STDOUT);
	exec(@command) or die "$command[0]: $!\n";
}

# Runs a command as the server's user; true if it succeeded.
sub as_server
{
	waitpid(spawn(@_), 0);
	return $? == 0;
}

# The directory that the server's user may write to; removed after the test.
sub server_dir
{
	return dirname($ENV{HF_DATA});
}

# The processes of a server, told by their working directory; orphans as well.
sub server_pids
{
	my ($data) = @_;
	my @pids = `$ENV{HF_RUNAS} sh -c 'for p in /proc/[0-9]*; do [ "\$p/cwd" -ef "$data" ] && echo "\${p##*/}"; done' 2>/dev/null`;
	chomp @pids;
	return @pids;
}

sub postmaster_pid
{
	my ($data) = @_;
	open(my $file, '<', "$data/postmaster.pid") or return;
	my $pid = <$file>;
	chomp $pid;
	return $pid;
}

my %started;

# Starts a server that was stopped or killed, as a child of the test; options as for postgres.
sub start_server
{
	my ($data, @options) = @_;
	my $port = @options ? $options[-1] : $ENV{PGPORT};
	my $pid = spawn('postgres', '-D', $data, @options);
	$started{$data} = $pid;
	return wait_for(60, sub { system('pg_isready', '-q', '-d', 'postgres', '-p', $port) == 0
		|| waitpid($pid, WNOHANG) == $pid }) && kill(0, $pid);
}

# Are all processes of the server gone? A postmaster that we started we have to bury ourselves.
sub server_gone
{
	my ($data) = @_;
	return 0 if $started{$data} && waitpid($started{$data}, WNOHANG) == 0;
	return !server_pids($data);
}

# Whatever a test started elsewhere than in the data directory of with-stack ends with it.
END
{
	foreach my $data (grep { $_ ne $ENV{HF_DATA} } keys %started)
	{
		my $status = $?;
		kill('QUIT', $started{$data}) if waitpid($started{$data}, WNOHANG) == 0;
		waitpid($started{$data}, 0);
		$? = $status;
	}
}

# What the server has logged since it was started the first time.
sub log_text
{
	my $text = '';
	foreach my $name ($ENV{HF_LOG}, server_dir() . '/second.log')
	{
		open(my $file, '<', $name) or next;
		local $/ = undef;
		$text .= <$file> // '';
	}
	return $text;
}

# The pid of the reaper that works in the database, or ''.
sub reaper_pid
{
	my ($db, %where) = @_;
	return sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'holdfast reaper' AND datname = '$db'",
		db => 'postgres', %where);
}

# Kills one of the server's processes that the condition on pg_stat_activity names, and waits until the postmaster has
# buried it: from then on nobody is served before all is put right again. Returns its backend_type.
sub kill_one
{
	my ($condition) = @_;
	my ($pid, $type);
	wait_for(60, sub {
		my $found = eval { sql("SELECT pid, backend_type FROM pg_stat_activity WHERE $condition ORDER BY random() LIMIT 1") } // '';
		($pid, $type) = split(/\|/, $found);
		return $pid && kill('KILL', $pid);
	}) or die "nobody to be killed\n";
	wait_for(60, sub { !kill(0, $pid) });
	return $type;
}

# What Redis answers to a command, as redis-cli prints it; '' if it does not answer within 60 s.
sub redis
{
	my ($status, $text) = run_command('timeout', 60, 'redis-cli', '-s', $ENV{HF_REDIS}, @_);
	return $status ? '' : $text;
}

# The pid of Redis, or nothing if it does not run.
sub redis_pid
{
	open(my $file, '<', $ENV{HF_REDIS_PID}) or return;
	my $pid = <$file> // return;
	chomp $pid;
	return (grep { $_ == $pid } server_pids(dirname($ENV{HF_REDIS_LOG})))[0];
}

my $redis;

# Ends Redis by a signal, KILL by default; returns whether it is gone. Without --expect-crash the
# test has to start it again before it ends. One that we started we have to bury ourselves.
sub kill_redis
{
	my ($signal) = @_;
	my $pid = redis_pid() // return 0;
	kill($signal // 'KILL', $pid);
	return wait_for(60, sub { (!$redis || waitpid($redis, WNOHANG)) && !defined redis_pid() });
}

# Starts Redis, which is not running; options as for redis-server. Returns whether it answers.
sub start_redis
{
	$redis = spawn('redis-server', $ENV{HF_REDIS_CONF}, @_);
	return wait_for(60, sub { redis('ping') =~ /^(PONG|NOAUTH)/ || waitpid($redis, WNOHANG) })
		&& defined redis_pid();
}

sub is_stopped
{
	my ($pid) = @_;
	open(my $file, '<', "/proc/$pid/stat") or return 0;
	return <$file> =~ /\) T /;
}

# Freezes a process, Redis by default; returns whether it stands still.
sub stop
{
	my ($pid) = @_;
	$pid //= redis_pid() // return 0;
	kill('STOP', $pid);
	return wait_for(60, sub { is_stopped($pid) });
}

# Lets it go on.
sub cont
{
	my ($pid) = @_;
	return kill('CONT', $pid // redis_pid() // return 0);
}

my $owners = 0;

sub new_owner
{
	return sprintf('ffffffff-0000-4000-8000-%012x', ++$owners);
}

my $hammer;

sub build_hammer
{
	my $dir = tempdir(CLEANUP => 1);
	$hammer = "$dir/hammer";
	system("$root/tests/hammer/build", $hammer) == 0 or BAIL_OUT('the hammer does not compile');
}

# Lets clients storm in the background, ready for lost connections, which they go on for until there were some. Waits until
# all of them, and the one who looks at the invariants, are there. For check_storm().
sub storm
{
	my ($seconds, $seed) = @_;
	my $pid = open(my $output, '-|', $hammer, 'storm', '--survive', '--clients', 8, '--skus', 4,
		'--seconds', $seconds, '--seed', $seed) // die "hammer: $!\n";
	wait_for(60, sub { sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hammer'") > 8 });
	return $output;
}

# Waits for the storm to end: the clients' journal must agree with the database.
sub check_storm
{
	my ($output, $name) = @_;
	my @lines = <$output>;
	my $good = close($output);
	my $lost = join('', @lines) =~ /connections lost (\d+)/ ? $1 : 0;
	my ($holds) = grep { /holds are there as acknowledged/ } @lines;
	ok($good && $lost > 0 && $holds, "$name: nothing acknowledged is lost, nothing doubled, nothing oversold")
		or diag(@lines, "connections lost: $lost");
}

package Session;
# A session that stays open between statements.

sub new
{
	my ($class, $db) = @_;
	my $self = bless {}, $class;
	$self->{pid} = IPC::Open3::open3($self->{in}, $self->{out}, undef, 'psql', '-XAtq', '-v',
		'VERBOSITY=sqlstate', '-d', $db // $ENV{PGDATABASE});
	return $self;
}

# Sends a statement without waiting for its answer.
sub send
{
	my ($self, $statement) = @_;
	syswrite($self->{in}, "$statement;\n\\echo :SQLSTATE done\n");
}

# The answer to what was sent, and the SQLSTATE.
sub receive
{
	my ($self) = @_;
	my $text = '';
	while (defined(my $line = readline($self->{out})))
	{
		return ($1 || '08000', $text) if $line =~ /^(\w{5}|) done$/;
		$text .= $line;
	}
	return ('08000', $text);
}

sub status
{
	my ($self, $statement) = @_;
	$self->send($statement);
	my ($status) = $self->receive;
	return $status;
}

sub close
{
	my ($self) = @_;
	close($self->{in});
	close($self->{out});
	waitpid($self->{pid}, 0);
}

1;

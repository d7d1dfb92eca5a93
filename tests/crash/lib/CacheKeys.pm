# What the tests of cache keys share: keys that are cached, and what became of them.
#
# All names of some keys are written to Redis as readers would. Then something is done, and of
# these names exactly those must be gone that the worker has published.
package CacheKeys;
use strict;
use warnings;
use Crash;
use Exporter 'import';

our @EXPORT = qw(cache_is_on cached gone gone_after status synced heartbeat);

# What the names begin with, and how redis-cli is told which Redis; tests may set both.
our $prefix = "holdfast:$ENV{PGDATABASE}:" if $ENV{PGDATABASE};
our @redis;

my (@keys, $messages, $marks);

# A column of holdfast.cache_status.
sub status
{
	my ($column, %where) = @_;
	return sql("SELECT $column FROM holdfast.cache_status", %where);
}

# Waits until Redis has all that was committed.
sub synced
{
	return sql("SELECT holdfast.cache_sync('10 s')", @_);
}

sub heartbeat
{
	return redis(@redis, 'get', $prefix . 'heartbeat');
}

# Waits for the worker to begin; returns whether it does its work.
sub cache_is_on
{
	return wait_for(20, sub { status('state', @_) eq 'on' }) && synced(@_) eq '';
}

# The keys that are cached from now on before each gone().
sub cached
{
	@keys = @_;
}

sub names
{
	my ($generation, $key) = @_;
	return map { "$prefix$generation:$_:{$key}" } $key =~ /^tag:/ ? ('tag') : ('value', 'lease');
}

# Those of the names that are in Redis.
sub present
{
	my @names = @_;
	my @values = split(/\n/, redis(@redis, 'mget', @names), -1);
	return map { ($values[$_] // '') ne '' ? $names[$_] : () } 0 .. $#names;
}

sub listen_to_redis
{
	open($messages, '-|', 'redis-cli', '-s', $ENV{HF_REDIS}, @redis, '--csv', 'subscribe', $prefix . 'invalidations')
		or die "redis-cli: $!\n";
	while (defined(my $line = <$messages>))
	{
		return if $line =~ /^"subscribe"/;
	}
	die "redis-cli: no answer\n";
}

# The keys that were published under the generation since the last call. A message of our own marks the end.
sub published
{
	my ($generation) = @_;
	my %keys;
	my $end = 'end of ' . ++$marks;
	redis(@redis, 'publish', $prefix . 'invalidations', $end);
	while (defined(my $line = <$messages>))
	{
		my ($text) = $line =~ /^"message","[^"]*","(.*)"$/ or next;
		last if $text eq $end;
		my ($number, @named) = split(/\\n/, $text);
		@keys{map { s/\\"/"/gr } @named} = () if $number eq $generation;
	}
	return sort keys %keys;
}

# The keys that are gone after the code has run, "everything" and why if the generation was raised,
# or what is wrong: names are gone that were not published, or the other way round.
sub gone_after
{
	my ($code) = @_;
	listen_to_redis() unless $messages;
	my $generation = status('generation');
	published($generation);
	my @names = map { names($generation, $_) } @keys;
	redis(@redis, 'mset', map { ($_, 'cached') } @names);
	$code->();
	synced();
	my ($now, $reason) = split(/\|/, status('generation, generation_reason'), 2);
	return "everything: $reason" if $now > $generation;
	return 'the generation has fallen' if $now < $generation;
	my @published = published($generation);
	my %left = map { $_ => 1 } present(@names);
	my %published = map { $_ => 1 } @published;
	my %cached = map { $_ => 1 } @keys;
	my @wrong = ((map { "$_ was not cached" } grep { !$cached{$_} } @published),
		(map { "$_ is left" } grep { $left{$_} } map { names($generation, $_) } grep { $cached{$_} } @published),
		(map { "$_ was deleted" } grep { !$left{$_} } map { names($generation, $_) } grep { !$published{$_} } @keys));
	return join(' ', @published, map { "($_)" } @wrong);
}

# The same after an SQL statement, which must succeed.
sub gone
{
	my ($statement, @where) = @_;
	return gone_after(sub { sql($statement, @where) });
}

1;

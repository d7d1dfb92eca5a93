# What the tests of cache keys share: keys that are cached, and what becomes of them.
#
# All names of some keys are written to Redis as readers would. Then something is done, and of
# these names exactly those must be gone that the worker has published.
package CacheKeys;
use strict;
use warnings;
use Crash;
use Exporter 'import';

our @EXPORT = qw(cache_at cache_is_on cached gone gone_after heartbeat keys_of status synced);

# What the names begin with, and more words for redis-cli.
my $prefix = 'holdfast:' . ($ENV{PGDATABASE} // '') . ':';
my @redis;

# Arguments: the prefix, what to publish, and what stands behind the generation in each name.
my $keep = <<'END';
local generation = redis.call('GET', ARGV[1] .. 'generation')
redis.call('PUBLISH', ARGV[1] .. 'invalidations', ARGV[2])
for i = 3, #ARGV do redis.call('SET', ARGV[1] .. generation .. ':' .. ARGV[i], 'cached') end
return generation
END

# The same, but behind the prefix comes the generation. Returns that of now, and which are there.
my $look = <<'END';
redis.call('PUBLISH', ARGV[1] .. 'invalidations', ARGV[3])
local left = { redis.call('GET', ARGV[1] .. 'generation') }
for i = 4, #ARGV do
	if redis.call('EXISTS', ARGV[1] .. ARGV[2] .. ':' .. ARGV[i]) == 1 then left[#left + 1] = ARGV[i] end
end
return left
END

my (@keys, $listener, $messages, $marks);

sub stop_listening
{
	return unless $listener;
	kill('TERM', $listener);
	close($messages);
	$listener = undef;
}

END
{
	my $status = $?;
	stop_listening();
	$? = $status;
}

# Looks from now on for names with this prefix in the Redis at this socket, which is told more words.
sub cache_at
{
	my ($socket, $begin, @words) = @_;
	stop_listening();
	$ENV{HF_REDIS} = $socket;
	$prefix = $begin;
	@redis = @words;
}

# A column of holdfast.cache_status.
sub status
{
	my ($column, %where) = @_;
	return sql("SELECT $column FROM holdfast.cache_status", %where);
}

# Waits until Redis has all that was committed.
sub synced
{
	return sql("SELECT holdfast.cache_sync('60 s')", @_);
}

sub heartbeat
{
	return redis(@redis, 'get', $prefix . 'heartbeat');
}

# Waits for the worker to begin, or to go on; returns whether it does its work. A worker that was held up for a second has no
# heartbeat for a moment.
sub cache_is_on
{
	return wait_for(60, sub { status('state', @_) eq 'on' }) && synced(@_) eq '';
}

# The keys that are cached from now on before each gone().
sub cached
{
	@keys = @_;
}

# Keys as gone() returns them.
sub keys_of
{
	return join(' ', sort { $a cmp $b } @_);
}

sub names
{
	my ($key) = @_;
	return map { "$_:{$key}" } $key =~ /^tag:/ ? ('tag') : ('value', 'lease');
}

sub listen_to_redis
{
	$listener = open($messages, '-|', 'redis-cli', '-s', $ENV{HF_REDIS}, @redis, '--csv', 'subscribe', $prefix . 'invalidations')
		or die "redis-cli: $!\n";
	while (defined(my $line = <$messages>))
	{
		return if $line =~ /^"subscribe"/;
	}
	die "redis-cli: no answer\n";
}

# The keys that were published under the generation, up to a message of our own.
sub published
{
	my ($generation, $end) = @_;
	my %keys;
	while (defined(my $line = <$messages>))
	{
		my ($text) = $line =~ /^"message","[^"]*","(.*)"$/ or next;
		last if $text eq $end;
		my ($number, @named) = split(/\\n/, $text);
		@keys{map { s/\\"/"/gr } @named} = () if $number eq $generation;
	}
	return sort { $a cmp $b } keys %keys;
}

# The keys that are gone after the code has run, or "everything" and why if the generation was raised;
# and in parentheses what is wrong: names that are gone and were not published, or the other way round.
sub gone_after
{
	my ($code) = @_;
	listen_to_redis() unless $listener;
	my ($begin, $end) = map { 'mark ' . ++$marks } 1, 2;
	my @names = map { names($_) } @keys;
	my $generation = redis(@redis, 'eval', $keep, 0, $prefix, $begin, @names);
	published($generation, $begin);
	$code->();
	synced();
	my ($now, @left) = split(/\n/, redis(@redis, 'eval', $look, 0, $prefix, $generation, $end, @names));
	my @published = published($generation, $end);
	return 'everything: ' . status('generation_reason') if $now > $generation;
	return 'the generation has fallen' if $now < $generation;
	my %left = map { $_ => 1 } @left;
	my %published = map { $_ => 1 } @published;
	my %cached = map { $_ => 1 } @keys;
	my @wrong = ((map { "$_ was not cached" } grep { !$cached{$_} } @published),
		(map { "$_ is left" } grep { $left{$_} } map { names($_) } grep { $cached{$_} } @published),
		(map { "$_ was deleted" } grep { !$left{$_} } map { names($_) } grep { !$published{$_} } @keys));
	return join(' ', @published, map { "($_)" } @wrong);
}

# The same after an SQL statement, which must succeed. Options as for sql().
sub gone
{
	my ($statement, @where) = @_;
	return gone_after(sub { sql($statement, @where) });
}

1;

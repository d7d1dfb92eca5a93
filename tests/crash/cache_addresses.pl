#!/usr/bin/perl
# The worker finds the Redis that the settings name, in whatever way they do, and a change of them abandons the
# cache. Where it finds none it says why, but never a password.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use IO::Socket::IP;
use Test::More;

stack('--fast');
require CacheKeys;
CacheKeys->import;

my $prefix = "holdfast:$ENV{PGDATABASE}:";
my $socket = $ENV{HF_REDIS};
my %pid;

# A TCP port on which nobody listens.
sub free_port
{
	my $listener = IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => 0, Listen => 1) or die "listen: $!\n";
	return $listener->sockport;
}

# Starts another Redis with these options. Returns its port and its socket.
sub more_redis
{
	my ($name, @options) = @_;
	my $dir = server_dir() . "/$name";
	my $port = free_port();
	as_server('mkdir', $dir);
	as_server('sh', '-c', "cat > $dir/conf <<END\n" . join("\n", "port $port", "unixsocket $dir/redis.sock", "pidfile $dir/pid", "logfile $dir/log", "dir $dir", 'daemonize yes', @options) . "\nEND\n");
	as_server('redis-server', "$dir/conf", $name =~ /^sentinel/ ? '--sentinel' : ());
	local $ENV{HF_REDIS} = "$dir/redis.sock";
	wait_for(60, sub { redis('ping') =~ /^(PONG|NOAUTH)/ }) or die "$name does not start\n";
	chomp($pid{$name} = as_text("$dir/pid"));
	return ($port, "$dir/redis.sock");
}

sub as_text
{
	open(my $file, '<', $_[0]) or die "$_[0]: $!\n";
	local $/ = undef;
	return <$file>;
}

END
{
	kill('KILL', values %pid);
}

# Changes settings.
sub set
{
	my %settings = @_;
	sql("ALTER SYSTEM SET holdfast.$_ = '$settings{$_}'") foreach sort keys %settings;
	sql('SELECT pg_reload_conf()');
}

my $generation = 0;

# The cache is where we look for it, under a higher generation than ever before, and keys are deleted there.
sub works
{
	my ($name, $reason) = @_;
	ok(wait_for(60, sub { status('state') eq 'on' && status('coalesce(generation, 0)') > $generation && heartbeat() eq status('generation') }), "$name: the cache is on") or diag(status('*'));
	$generation = status('generation');
	like(status('generation_reason'), $reason, "$name: under another generation");
	is(gone('UPDATE product SET price = price + 1 WHERE id = 1'), 'product:1', "$name: keys are deleted");
}

# There is no cache, and this is why.
sub fails
{
	my ($name, $error) = @_;
	ok(wait_for(60, sub { status('state') eq 'no redis' && status('last_error') =~ $error }), "$name: no redis") or diag(status('*'));
}

sql("CREATE TABLE product (id integer PRIMARY KEY, price integer); INSERT INTO product VALUES (1, 1); SELECT holdfast.watch('product', 'product:{id}')");
cached('product:1', 'product:2');
works('the path of a socket', qr/./);

# Names
set(cache_prefix => 'shop-%d/%%/%x:');
cache_at($socket, "shop-$ENV{PGDATABASE}/%/%x:");
works('another prefix', qr/settings were changed/);
cache_at($socket, $prefix);
ok(wait_for(60, sub { heartbeat() eq '' }), 'the old one has no heartbeat any more');
set(cache_prefix => '');
cache_at($socket, '');
works('no prefix', qr/settings were changed/);
set(cache_prefix => 'holdfast:%d:', redis_database => 3);
cache_at($socket, $prefix, '-n', 3);
works('another database', qr/settings were changed/);
cache_at($socket, $prefix);
ok(wait_for(60, sub { heartbeat() eq '' }), 'the first one has no heartbeat any more');
set(redis_database => 99);
fails('a database that does not exist', qr/DB index is out of range/);
set(redis_database => 0);
works('the first one again', qr/settings were changed/);

# Addresses
my ($port, $other) = more_redis('other', "save ''");
my ($replica_port, $replica) = more_redis('replica', "save ''", "replicaof 127.0.0.1 $port");
my $dead = '127.0.0.1:' . free_port();
my $silent = IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => 0, Listen => 5);
cache_at($other, $prefix);
set(redis_address => "127.0.0.1:$port");
works('an IPv4 address', qr/settings were changed/);
set(redis_address => "[::1]:$port");
SKIP:
{
	skip('there is no IPv6 here', 3) unless IO::Socket::IP->new(PeerHost => '::1', PeerPort => $port);
	works('an IPv6 address', qr/settings were changed/);
}
set(redis_address => "localhost:$port");
works('a name', qr/settings were changed/);
set(redis_address => $dead);
fails('nobody there', qr/Connection refused/);
set(redis_address => '127.0.0.1:' . $silent->sockport);
fails('nobody who answers', qr/no answer in time/);
set(redis_address => "127.0.0.1:$replica_port");
fails('a replica', qr/the server is a replica/);
set(redis_address => '');
fails('no address', qr/holdfast.redis_address is empty/);
set(redis_address => 'somewhere:else');
fails('no real one', qr/holdfast.redis_address has an item that is no address/);
set(redis_address => '/nowhere/redis.sock');
fails('no socket', qr/No such file/);
set(redis_address => " $dead , 127.0.0.1:$replica_port,/nowhere/redis.sock, 127.0.0.1:" . $silent->sockport . ",,[::1]:1, 127.0.0.1:$port ,$socket");
works('the seventh of eight addresses', qr/settings were changed/);

# Sentinels
my ($sentinel_port, $sentinel) = more_redis('sentinel', "sentinel monitor shop 127.0.0.1 $port 1", 'sentinel down-after-milliseconds shop 10000');
set(redis_address => "127.0.0.1:$sentinel_port");
fails('a sentinel that does not know us', qr/the sentinel does not know holdfast.redis_service/);
set(redis_address => "$dead,127.0.0.1:$sentinel_port", redis_service => 'shop');
works('a sentinel', qr/settings were changed/);
{
	local $ENV{HF_REDIS} = $sentinel;
	ok(wait_for(60, sub { redis('sentinel', 'replicas', 'shop') =~ /\b$replica_port\b/ }), 'the sentinel knows the replica');
	# A sentinel that has not yet heard all of the replica does not choose it; one that was held up does nothing for half a minute.
	ok(wait_for(60, sub { redis('sentinel', 'failover', 'shop') eq 'OK' }), 'the replica takes over');
	ok(wait_for(180, sub { redis('sentinel', 'get-master-addr-by-name', 'shop') =~ /^$replica_port$/m }), 'and the sentinel says so');
}
cache_at($replica, $prefix);
works('the one that has taken over', qr/another Redis/);
set(redis_service => 'mymaster');

# Passwords
my ($secret_port, $secret) = more_redis('secret', "save ''", 'requirepass open-sesame', 'user worker on >let-me-in ~holdfast:* resetchannels &holdfast:* -@all +role +info +time +eval +get +set +del +unlink +publish',
	'user idle on >let-me-in -@all');
cache_at($secret, $prefix, '--no-auth-warning', '-a', 'open-sesame');
set(redis_address => "127.0.0.1:$secret_port");
fails('no password', qr/NOAUTH/);
set(redis_password => 'wrong-open-sesame');
fails('a wrong password', qr/WRONGPASS/);
set(redis_password => 'open-sesame');
works('the right password', qr/settings were changed/);
set(redis_user => 'nobody');
fails('an unknown user', qr/WRONGPASS/);
set(redis_user => 'worker');
fails('a user with a wrong password', qr/WRONGPASS/);
set(redis_password => 'let-me-in');
works('a user who may do what is needed', qr/settings were changed/);
set(redis_user => 'idle');
fails('a user who may not', qr/NOPERM/);
unlike(status('*'), qr/open-sesame|let-me-in/, 'there is no password in the status');
ok(log_text() !~ /^(.*(?:open-sesame|let-me-in).*)$/m, 'nor in the log') or diag($1);
is(sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'holdfast%' AND query ~ 'open-sesame|let-me-in'"), 0, 'nor in the activity');

# Back
set(redis_address => $socket, redis_user => '', redis_password => '');
cache_at($socket, $prefix);
works('where it was in the beginning', qr/settings were changed/);
cmp_ok(scalar(() = log_text() =~ /cannot reach Redis/g), '<=', 2 + (time - $^T) / 60, 'the log was not filled with all that: a line a minute');
done_testing();

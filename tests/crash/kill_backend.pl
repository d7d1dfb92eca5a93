#!/usr/bin/perl
# A server process is killed under load: the cluster restarts, and nothing acknowledged is lost.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;
use Time::HiRes qw(sleep time);

my $rounds = $ENV{HF_ROUNDS} // 12;
stack('--expect-crash', '--conf', 'max_prepared_transactions=20', '--conf', 'deadlock_timeout=100ms',
	'--conf', 'holdfast.reaper_interval=50ms');
plan tests => 3 * $rounds + 2;

build_hammer();
sql('SELECT holdfast.receive(1, 1000000)');
my $seed = time;
my %digest;

sub digest
{
	my ($below) = @_;
	return sql("SELECT md5(string_agg(h::text, ',' ORDER BY owner, sku)) FROM _holdfast.hold h WHERE sku > 1 AND sku < $below");
}

for my $round (1 .. $rounds)
{
	my $storm = storm(0.7, $seed + $round);
	sleep(0.2 + rand(0.4));
	my $killed = time;
	my $type = kill_one("application_name = 'hammer' OR backend_type LIKE 'holdfast%'");
	my $owner = new_owner();
	ok(wait_for(60, sub { sql_status("SELECT holdfast.reserve('$owner', 1, 1)") eq '00000' }),
		sprintf('round %d: %s killed, reserve works again (after %.1f s)', $round, $type, time - $killed));
	check_storm($storm, "round $round");
	is(sql('SELECT count(*) FROM holdfast.verify()'), 0, "round $round: verify() is empty");
	my $next = ($round + 1) * 10000;
	$digest{$next} = digest($next) if $round == $rounds / 2;
}
my ($half) = keys %digest;
is(digest($half), $digest{$half}, 'what an earlier crash has left, later ones do not touch') if $half;
is(sql("SELECT sum(quantity) FROM holdfast.holds WHERE sku = 1"), $rounds, 'the buyer of each round has his unit');

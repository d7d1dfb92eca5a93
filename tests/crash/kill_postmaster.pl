#!/usr/bin/perl
# The postmaster is killed under load and started again: nothing acknowledged is lost.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;
use Time::HiRes qw(sleep time);

my $rounds = $ENV{HF_ROUNDS} // 10;
stack('--expect-crash', '--conf', 'max_prepared_transactions=20', '--conf', 'deadlock_timeout=100ms',
	'--conf', 'holdfast.reaper_interval=50ms');
plan tests => 4 * $rounds + 1;

build_hammer();
sql('SELECT holdfast.receive(1, 1000000)');
my $seed = time;

for my $round (1 .. $rounds)
{
	my $storm = storm(0.7, $seed + $round);
	sleep(0.2 + rand(0.4));
	my $killed = time;
	kill('KILL', postmaster_pid($ENV{HF_DATA}));
	wait_for(60, sub { server_gone($ENV{HF_DATA}) });
	ok(wait_for(60, sub { start_server($ENV{HF_DATA}) }), "round $round: the server starts again after its orphans have gone");
	my $owner = new_owner();
	ok(wait_for(60, sub { sql_status("SELECT holdfast.reserve('$owner', 1, 1)") eq '00000' }),
		sprintf('round %d: reserve works again (after %.1f s)', $round, time - $killed));
	check_storm($storm, "round $round");
	is(sql('SELECT count(*) FROM holdfast.verify()'), 0, "round $round: verify() is empty");
}
is(sql("SELECT sum(quantity) FROM holdfast.holds WHERE sku = 1"), $rounds, 'the buyer of each round has his unit');

#!/usr/bin/perl
# A server process or the postmaster is killed while people pay: nothing acknowledged is lost,
# nobody is charged twice, and the ledgers are equal in the end.
use strict;
use warnings;
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;
use Time::HiRes qw(sleep time);

my $rounds = $ENV{HF_ROUNDS} // 8;
stack('--expect-crash', '--conf', 'max_prepared_transactions=100', '--conf', 'deadlock_timeout=100ms',
	'--conf', 'holdfast.reaper_interval=50ms', '--conf', 'holdfast.ttl_default=1s');
plan tests => 4 * $rounds + 1;

my $dir = tempdir(CLEANUP => 1);
my $payments = "$dir/payments";
system("$FindBin::Bin/../payments/build", $payments) == 0 or BAIL_OUT('the test of payments does not compile');
my $seed = time;
my @digests;

# What the database has about payments of the rounds so far.
sub digest
{
	my ($accounts) = @_;
	return join(' ', map { sql("SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM _holdfast.$_ t WHERE account_id >= 1000 AND account_id < $accounts") }
		qw(payment payment_event ledger_entry provider_call provider_event));
}

# Lets buyers pay in the background, for a second or two.
sub pay
{
	my ($number) = @_;
	my $pid = open(my $output, '-|', $payments, 'storm', '--clients', 6, '--seconds', 2.5, '--seed', int($seed) + $number)
		// die "payments: $!\n";
	return $output;
}

# Kills somebody who serves a buyer, a worker or the provider; or one of ours.
sub kill_backend
{
	return kill_one("application_name = 'payments' OR backend_type LIKE 'holdfast%'");
}

sub kill_postmaster
{
	kill('KILL', postmaster_pid($ENV{HF_DATA}));
	wait_for(60, sub { server_gone($ENV{HF_DATA}) });
	start_server($ENV{HF_DATA});
	return 'postmaster';
}

for my $round (1 .. $rounds)
{
	my $buyers = pay($round);
	wait_for(60, sub { sql('SELECT count(*) FROM _holdfast.payment WHERE account_id >= ' . 1000 * $round) > 20 });
	sleep(rand(0.7));
	my $killed = time;
	my $what = $round % 2 ? kill_backend() : kill_postmaster();
	ok(wait_for(60, sub { sql_status("SELECT holdfast.create_payment($round, 'round no $round', 100, 'EUR', 'outside_1000', 'm')") eq '00000' }),
		sprintf('round %d: %s killed, payments are taken again (%.1f s)', $round, $what, time - $killed));
	my @lines = <$buyers>;
	my $good = close($buyers);
	my ($lost) = join('', @lines) =~ /answers lost (\d+)/;
	ok($good && $lost, "round $round: what was acknowledged is there, and both ledgers are equal")
		or diag(@lines);
	is(sql('SELECT count(*) FROM holdfast.verify()'), 0, "round $round: verify() is empty");
	is(sql("SELECT replayed FROM holdfast.create_payment($round, 'round no $round', 100, 'EUR', 'outside_1000', 'm')"), 't',
		"round $round: the buyer who came after the crash has his payment");
	push @digests, digest(1000 * ($round + 1));
}
is_deeply([map { digest(1000 * ($_ + 1)) } 1 .. $rounds - 1], [@digests[0 .. $rounds - 2]],
	'what earlier rounds have left, later crashes do not touch');

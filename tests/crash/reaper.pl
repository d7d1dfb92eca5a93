#!/usr/bin/perl
# The reaper tidies up by itself, comes back when it is sent away, and is never a superuser.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;

stack('--conf', 'holdfast.reaper_interval=100ms', '--conf', 'holdfast.lane_calm=4s');
plan tests => 13;

my $db = $ENV{PGDATABASE};

# Holds a unit for a moment; true if the reaper, and nobody else, ends the hold in time.
sub reaps
{
	my ($seconds) = @_;
	my $owner = new_owner();
	sql("SELECT holdfast.reserve('$owner', 1, 3, '100 ms')");
	return wait_for($seconds, sub { sql("SELECT state FROM _holdfast.hold WHERE owner = '$owner'") eq 'x' })
		&& sql('SELECT sum(available) FROM _holdfast.stock_lane WHERE sku = 1') == 10;
}

sub has_reaper
{
	return reaper_pid($db) ne '';
}

sql('SELECT holdfast.receive(1, 10)');
ok(wait_for(60, \&has_reaper), 'the reaper starts by itself');
is(sql("SELECT usename, rolsuper FROM pg_stat_activity JOIN pg_roles ON rolname = usename
	WHERE backend_type = 'holdfast reaper' AND datname = '$db'"), 'holdfast_worker|f', 'it runs as holdfast_worker, who is no superuser');
is(sql("SELECT count(*) FROM pg_stat_activity
	WHERE backend_type LIKE 'holdfast%' AND datname IS NOT NULL AND usesysid IN (SELECT oid FROM pg_roles WHERE rolsuper)"),
	0, 'no worker in a database has the session of a superuser');
ok(reaps(60), 'an expired hold goes back to stock without any caller');

my $pid = reaper_pid($db);
sql("SELECT pg_terminate_backend($pid)");
ok(wait_for(60, sub { my $now = reaper_pid($db); $now && $now != $pid }), 'terminated, it comes back');
ok(reaps(60), 'and goes on tidying up');

$pid = sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'holdfast launcher'");
sql("SELECT pg_terminate_backend($pid)");
ok(wait_for(60, sub { sql("SELECT count(*) FROM pg_stat_activity
	WHERE backend_type = 'holdfast launcher' AND pid <> $pid") == 1 }), 'the launcher comes back as well');
$pid = reaper_pid($db);
sql("SELECT pg_terminate_backend($pid)") if $pid;
ok(wait_for(60, sub { my $now = reaper_pid($db); $now && $now ne $pid }), 'and looks after the reaper as the first one did');
wait_for(70, \&has_reaper);

# Buyers who meet at one lane get more of them; nobody has to ask for it.
sql('SELECT holdfast.receive(2, 1000000)');
my $script = server_dir() . '/buy.sql';
open(my $file, '>', $script) or die "$script: $!\n";
print $file "BEGIN;\nSELECT holdfast.reserve(gen_random_uuid(), 2, 1);\nSELECT pg_sleep(0.002);\nCOMMIT;\n";
close($file);
my $buyers = open(my $output, '-|', "exec pgbench -n -c 8 -T 120 -f $script 2>&1") // die "pgbench: $!\n";
ok(wait_for(60, sub { sql('SELECT lanes FROM holdfast.stock WHERE sku = 2') > 1 }), 'contention gives a SKU more lanes');
kill('TERM', $buyers);
close($output);
ok(wait_for(60, sub { sql('SELECT lanes FROM holdfast.stock WHERE sku = 2') == 1 }), 'the reaper merges calm lanes');

sql("ALTER SYSTEM SET holdfast.worker_role = 'postgres'");
sql('SELECT pg_reload_conf()');
$pid = reaper_pid($db);
sql("SELECT pg_terminate_backend($pid)");
ok(wait_for(60, sub { log_text() =~ /holdfast workers do not run as a superuser/ }),
	'a superuser as holdfast.worker_role is refused, and the log says so');
ok(wait_for(60, sub { !has_reaper() }) && !wait_for(3, \&has_reaper), 'and no reaper runs');
sql('ALTER SYSTEM RESET holdfast.worker_role');
sql('SELECT pg_reload_conf()');
ok(wait_for(60, \&has_reaper), 'with the role put right the reaper is back');

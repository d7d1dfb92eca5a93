#!/usr/bin/perl
# What a DBA does all day works while the workers run, and the workers follow.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;
use Time::HiRes qw(time);

stack('--conf', 'holdfast.reaper_interval=50ms');
plan tests => 31;

my $db = $ENV{PGDATABASE};
my @admin = (db => 'postgres');

# Makes a database with the extension, and waits until its reaper is at work.
sub make_shop
{
	my ($name) = @_;
	sql("CREATE DATABASE $name", @admin);
	sql('CREATE EXTENSION holdfast', db => $name);
	return wait_for(60, sub { reaper_pid($name) ne '' });
}

sub reserves
{
	my ($where, $sku) = @_;
	my $owner = new_owner();
	return sql_status("SELECT holdfast.receive($sku, 1), holdfast.reserve('$owner', $sku, 1)", db => $where) eq '00000';
}

ok(wait_for(60, sub { reaper_pid($db) ne '' }), 'the first database has a reaper');

# Databases come and go.
ok(make_shop('shop'), 'a reaper starts in a new database as soon as it has the extension');
my $start = time;
is(sql_status('DROP DATABASE shop', @admin), '00000', 'DROP DATABASE needs no FORCE while the worker runs');
cmp_ok(time - $start, '<', 30, sprintf('and nobody waits for anything (%.1f s)', time - $start));
ok(make_shop('shop'), 'a database of the same name gets a reaper again');
is(sql_status('DROP DATABASE shop WITH (FORCE)', @admin), '00000', 'DROP DATABASE WITH (FORCE) works');

sql('SELECT holdfast.receive(1, 10)');
is(sql_status("CREATE DATABASE twin TEMPLATE $db", @admin), '00000', 'a database with the extension can be a template');
ok(reserves('twin', 1), 'the copy reserves');
is(sql('SELECT received FROM holdfast.stock WHERE sku = 1', db => 'twin'), 11, 'from the stock it was copied with');
ok(wait_for(70, sub { reaper_pid('twin') ne '' }), 'the copy gets a reaper');
ok(wait_for(60, sub { reaper_pid($db) ne '' }), 'and the original has one again');
is(sql_status('ALTER DATABASE twin RENAME TO brother', @admin), '00000', 'ALTER DATABASE RENAME works');
ok(wait_for(60, sub { reaper_pid('brother') ne '' }), 'the reaper follows to the new name');
ok(reserves('brother', 1), 'and the renamed database reserves');

# The extension comes and goes, in sessions that have cached what they know of it.
my $old = Session->new('brother');
$old->status('PREPARE buy AS SELECT holdfast.reserve(gen_random_uuid(), 1, 1)');
is($old->status('SELECT holdfast.receive(1, 5); EXECUTE buy'), '00000', 'a session that has cached the tables');
my $new = Session->new('brother');
$new->status('SELECT holdfast.available(1)');
is($new->status('DROP EXTENSION holdfast'), '00000', 'DROP EXTENSION works while the worker runs');
like($old->status('EXECUTE buy'), qr/^(42883|3F000|55000)$/, 'without the extension it is refused with an ordinary error');
is($new->status('CREATE EXTENSION holdfast; SELECT holdfast.receive(1, 5), holdfast.available(1)'), '00000',
	'CREATE EXTENSION again in the session that dropped it');
is($old->status('EXECUTE buy'), '00000', 'the other session finds the new tables');
is(sql('SELECT available, held, received FROM holdfast.stock', db => 'brother'), '4|1|5', 'and what it does is there');
ok(wait_for(60, sub { reaper_pid('brother') ne '' }), 'the reaper is back');

# DROP EXTENSION in a transaction that is still open.
$new->status('BEGIN');
is($new->status('DROP EXTENSION holdfast'), '00000', 'DROP EXTENSION in an open transaction');
$old->send('EXECUTE buy');
ok(wait_for(60, sub { sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'EXECUTE buy%' AND wait_event_type = 'Lock'") == 1 }),
	'others wait meanwhile');
$new->status('ROLLBACK');
my ($status) = $old->receive;
is($status, '00000', 'and go on when it is rolled back');
$new->status('BEGIN');
$new->status('DROP EXTENSION holdfast');
$old->send('EXECUTE buy');
$new->status('COMMIT');
($status) = $old->receive;
like($status, qr/^(42883|3F000|55000|42P01|XX000)$/, "when it commits they get an error ($status)");
ok(wait_for(60, sub { reaper_pid('brother') eq '' }), 'the reaper leaves the database');
$_->close foreach $old, $new;

# The server stops quickly with all its workers, and comes back.
make_shop('shop');
wait_for(60, sub { reaper_pid($db) ne '' });
$start = time;
ok(as_server('pg_ctl', '-s', '-m', 'fast', '-t', '60', '-D', $ENV{HF_DATA}, 'stop'), 'pg_ctl stop -m fast works');
cmp_ok(time - $start, '<', 30, sprintf('and nobody waits for anything (%.1f s)', time - $start));
ok(start_server($ENV{HF_DATA}), 'the server starts again');
ok(wait_for(60, sub { reaper_pid($db) ne '' && reaper_pid('shop') ne '' }), 'and so do its reapers');
unlike(log_text(), qr/PANIC|TRAP:|terminated by signal (?!15)/, 'no PANIC and no signal in the log');

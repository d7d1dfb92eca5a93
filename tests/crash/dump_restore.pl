#!/usr/bin/perl
# A database with the extension is dumped and restored: every row is there, and trade goes on.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;

my @tables = qw(hold lane_floor stock_lane stock_movement);

stack('--fast', '--conf', 'holdfast.reaper_interval=1h');
plan tests => @tables + 9;

# Holds in every state, several lanes, a floor, and all kinds of movements.
my @owners = map { new_owner() } 1 .. 6;
sql('SELECT holdfast.receive(sku, 100) FROM generate_series(1, 5) sku');
sql('SELECT holdfast.set_lanes(1, 7)');
sql("SELECT holdfast.adjust(2, -3, 'broken')");
sql("SELECT holdfast.reserve('$_', ARRAY[1, 2, 3], ARRAY[3, 2, 1])") foreach @owners;
sql("SELECT holdfast.confirm('$owners[0]')");
sql("SELECT holdfast.give_back('$owners[0]', 1, 2, 'wrong size')");
sql("SELECT holdfast.release('$owners[1]')");
sql("SELECT holdfast.pin('$owners[2]')");
sql("SELECT holdfast.reserve('$owners[3]', 4, 50, '10 ms')");
# The reaper of the new database starts with a sweep; there is to be nothing left for it to change.
wait_for(60, sub { sql('SELECT holdfast.reap()') == 1 });

my $dump = server_dir() . '/shop.dump';
ok(as_server('pg_dump', '-Fc', '-f', $dump, $ENV{PGDATABASE}), 'pg_dump succeeds');
# The reaper of a half-restored database looks at lanes, too.
is(join(' ', grep { /lane/ } `pg_restore -l $dump` =~ /TABLE DATA _holdfast (\w+) /g), 'lane_floor stock_lane', 'what keeps lanes from being merged comes before the lanes');
sql('CREATE DATABASE restored', db => 'postgres');
ok(as_server('pg_restore', '--exit-on-error', '-d', 'restored', $dump),
	'pg_restore succeeds, although the role of the workers is there already');

foreach my $table (@tables)
{
	my $all = "SELECT count(*) || ' rows, ' || md5(string_agg(t::text, ',' ORDER BY t::text)) FROM _holdfast.$table t";
	is(sql($all, db => 'restored'), sql($all), "_holdfast.$table is equal row by row");
}
is(sql('SELECT count(*) FROM holdfast.verify()', db => 'restored'), 0, 'verify() is empty after the restore');
my $stock = 'SELECT string_agg(s::text, \',\' ORDER BY sku) FROM holdfast.stock s';
is(sql($stock, db => 'restored'), sql($stock), 'the stock is the same');
is(sql_status("SELECT holdfast.reserve('$owners[0]', 5, 100)", db => 'restored'), '00000', 'reserve works');
is(sql_status("SELECT holdfast.reserve('$owners[1]', 5, 1)", db => 'restored'), 'HF001', 'and does not oversell');
is(sql_status('DELETE FROM _holdfast.stock_movement', db => 'restored'), 'HF018', 'the ledger is append-only');
ok(wait_for(70, sub { reaper_pid('restored') ne '' }), 'the reaper works in the new database');

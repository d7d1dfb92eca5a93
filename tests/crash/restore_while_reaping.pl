#!/usr/bin/perl
# A dump is restored while the reaper of the new database is at work: it ends no hold whose lanes are
# not there yet, so no unit is lost.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;

stack('--fast', '--conf', 'holdfast.reaper_interval=50ms');
plan tests => 15;

my @shop = (db => 'restored');
my ($due, $live, $more) = map { new_owner() } 1 .. 3;

# Waits until the reaper has made a sweep that began after this call: of the ends of sweeps that it
# sees, the first may be of one that was under way.
sub swept
{
	my ($start) = sql('SELECT clock_timestamp()', @shop);
	my %ends;
	return wait_for(60, sub {
		my $end = sql("SELECT state_change FROM pg_stat_activity WHERE backend_type = 'holdfast reaper'
			AND datname = 'restored' AND state = 'idle' AND state_change > '$start'", @shop);
		$ends{$end} = 1 if $end ne '';
		return keys %ends >= 3;
	});
}

sub state
{
	my ($owner) = @_;
	return sql("SELECT string_agg(state, '' ORDER BY sku) FROM _holdfast.hold WHERE owner = '$owner'", @shop);
}

sql('CREATE DATABASE restored', db => 'postgres');
sql('CREATE EXTENSION holdfast', @shop);
ok(wait_for(60, sub { reaper_pid('restored') ne '' }), 'the new database has a reaper before it has data');

# A dump holds the tables in order of their names.
sql("INSERT INTO _holdfast.hold VALUES
	('$due', 1, 3, 0, now() - interval '1 hour', now() - interval '1 minute'),
	('$due', 2, 4, 0, now() - interval '1 hour', now() - interval '1 minute'),
	('$live', 1, 2, 0, now(), now() + interval '1 hour'),
	('$more', 2, 1, 0, now() - interval '2 hours', now() - interval '1 hour')", @shop);
ok(swept(), 'the reaper sweeps when only the holds are there');
is(state($due), 'hh', 'and ends none of those that are due');
is(state($more), 'h', 'whatever their number');

# One SKU comes, the other one is still missing.
sql('INSERT INTO _holdfast.stock_lane VALUES (1, 0, 3), (1, 1, 2)', @shop);
ok(wait_for(60, sub { state($due) eq 'xh' }), 'it ends a hold as soon as its SKU has lanes');
ok(swept(), 'it goes on sweeping');
is(state($due), 'xh', 'and leaves the one whose SKU has none');
is(sql('SELECT sum(available) FROM _holdfast.stock_lane', @shop), 8, 'the units that it ended are in the lanes');
sql("INSERT INTO _holdfast.stock_lane VALUES (2, 0, 6)", @shop);
sql("INSERT INTO _holdfast.stock_movement SELECT sku, holdfast.uuid7(), units, now(), 'r'
	FROM (VALUES (1, 10), (2, 11)) AS t (sku, units)", @shop);
is(sql('SELECT count(*) FROM holdfast.verify()', @shop), 0, 'with all tables there verify() is empty');
is(sql('SELECT holdfast.available(1), holdfast.available(2)', @shop), '8|11', 'and available() right');
ok(wait_for(60, sub { state($due) . state($more) eq 'xxx' }), 'the next sweep ends what is due');
is(state($live), 'h', 'and nothing else');
is(sql('SELECT string_agg(available || \' \' || held, \', \' ORDER BY sku) FROM holdfast.stock', @shop), '8 2, 11 0', 'the stock is right');
is(sql('SELECT count(*) FROM holdfast.verify()', @shop), 0, 'verify() is empty');
is(sql_status("SELECT holdfast.reserve('" . new_owner() . "', 2, 11)", @shop), '00000', 'and all units can be held');

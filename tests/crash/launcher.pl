#!/usr/bin/perl
# The launcher copes with few slots for workers, and with databases that are closed to it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;

# One slot is the launcher's, one that of logical replication, one is left. More databases want it.
stack('--fast', '--conf', 'holdfast.reaper_interval=50ms', '--conf', 'max_worker_processes=3');
plan tests => 14;

my $db = $ENV{PGDATABASE};
my @admin = (db => 'postgres');

sub has_reaper
{
	my ($name) = @_;
	return sub { reaper_pid($name) ne '' };
}

sub log_lines
{
	my ($pattern) = @_;
	return scalar(() = log_text() =~ /$pattern/g);
}

ok(wait_for(60, has_reaper($db)), 'with one slot for all databases the one that has the extension gets it');
sql("SELECT holdfast.receive(1, 1), holdfast.reserve('" . new_owner() . "', 1, 1, '100 ms')");
ok(wait_for(60, sub { sql('SELECT state FROM _holdfast.hold') eq 'x' }), 'and its reaper does its work');
cmp_ok(log_lines('no room for a holdfast worker'), '<=', 1, 'the log says at most once that there is no more room');

# CREATE DATABASE in all its forms, past the launcher's hook.
is(sql_status('CREATE DATABASE plain', @admin), '00000', 'CREATE DATABASE works');
is(sql_status('CREATE DATABASE by_default TEMPLATE DEFAULT', @admin), '00000', 'and with TEMPLATE DEFAULT');
is(sql_status('CREATE DATABASE by_name TEMPLATE = template0', @admin), '00000', 'and with a template by name');
is(sql_status('CREATE DATABASE nothing TEMPLATE nowhere', @admin), '3D000', 'and is refused if there is no such template');

# A database that the worker's role may not connect to.
sql('CREATE DATABASE closed', @admin);
sql('REVOKE CONNECT ON DATABASE closed FROM PUBLIC', @admin);
sql('CREATE EXTENSION holdfast', db => 'closed');
as_server('pg_ctl', '-s', '-m', 'fast', '-t', '60', '-D', $ENV{HF_DATA}, 'stop');
ok(start_server($ENV{HF_DATA}, '-c', 'max_worker_processes=8', '-p', $ENV{PGPORT}), 'the server starts again with more slots');
ok(wait_for(60, has_reaper($db)), 'where a database is closed to the workers, the others have reapers');
sql('CREATE EXTENSION holdfast', db => 'plain');
ok(wait_for(60, has_reaper('plain')), 'and so has one that gets the extension now');
is(reaper_pid('closed'), '', 'the closed one has none');
is(log_lines('holdfast workers cannot connect to database "closed"'), 1, 'the log says so once');
is(log_lines('permission denied for database'), 0, 'and nobody has knocked at its door');
sql('GRANT CONNECT ON DATABASE closed TO holdfast_worker', @admin);
sql('SELECT _holdfast.wake_workers()');
ok(wait_for(60, has_reaper('closed')), 'when CONNECT is granted a reaper comes');

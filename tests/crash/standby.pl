#!/usr/bin/perl
# A standby answers what only reads, refuses the rest, and when promoted becomes a full server.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;

stack('--conf', 'holdfast.reaper_interval=100ms');
plan tests => 13;

my ($a, $b) = map { new_owner() } 1 .. 2;
my $data = server_dir() . '/standby';
my @port = (port => 5433);

sql('SELECT holdfast.receive(1, 10)');
sql("SELECT holdfast.reserve('$a', 1, 4)");
ok(as_server('pg_basebackup', '-R', '-X', 'stream', '-c', 'fast', '-D', $data), 'a base backup is taken');
ok(start_server($data, '-p', 5433), 'a standby starts from it');
sql("SELECT holdfast.reserve('$b', 1, 1, '500 ms')");
my $lsn = sql('SELECT pg_current_wal_lsn()');
ok(wait_for(60, sub { sql("SELECT pg_last_wal_replay_lsn() >= '$lsn'", @port) eq 't' }), 'it follows');
is(sql("SELECT quantity FROM holdfast.holds WHERE owner = '$a'", @port), 4, 'the views work on it');
is(sql('SELECT available + held FROM holdfast.stock', @port), 10, 'so does the account');
ok(wait_for(60, sub { sql('SELECT holdfast.available(1)', @port) == 6 }), 'available() counts from the deadline there as well');
is(sql_status("SELECT holdfast.reserve('$a', 1, 1)", @port), '25006', 'reserve raises 25006');
is(sql('SELECT count(*) FROM holdfast.verify()', @port), 0, 'verify() is empty');
is(sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'holdfast%'", @port), 0, 'no worker runs on it');

sql('SELECT pg_promote()', @port);
ok(wait_for(60, sub { sql_status("SELECT holdfast.reserve('$a', 1, 6, '100 ms')", @port) eq '00000' }), 'promoted, it reserves');
ok(wait_for(60, sub { reaper_pid($ENV{PGDATABASE}, @port) ne '' }), 'the reaper starts by itself');
ok(wait_for(60, sub { sql("SELECT state FROM _holdfast.hold WHERE owner = '$a'", @port) eq 'x' }), 'and tidies up');
is(sql('SELECT count(*) FROM holdfast.verify()', @port), 0, 'verify() is empty after the promotion');

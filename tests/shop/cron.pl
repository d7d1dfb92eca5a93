#!/usr/bin/perl
# pg_cron as the clock of the shop: scheduled once, however often it is asked for; what it calls works; revert ends it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../crash/lib";
use Crash;
use Test::More;

stack('--fast', '--conf', 'shared_preload_libraries=holdfast,pg_cron', '--conf', 'cron.database_name=holdfast_test');
plan tests => 7;
my $root = "$FindBin::Bin/../..";
my $deployed = `"$root/tools/deploy" 2>&1`;
die $deployed if $?;

is(sql('SELECT shop.schedule_tending()'), 't', 'pg_cron takes the work');
is(sql('SELECT shop.schedule_tending()'), 't', 'asking again');
is(sql('SELECT schedule, command, database, active FROM cron.job ORDER BY jobname'), "* * * * *|SELECT shop.tend(10000)|holdfast_test|t\n17 3 * * *|SELECT shop.tend_daily()|holdfast_test|t",
	'makes no second entry');
is(sql_status($_), '00000', 'what it calls works') foreach split(/\n/, sql('SELECT command FROM cron.job'));
my $reverted = `cd "$root/sql" && sqitch revert -y --to sale_purchase db:pg:holdfast_test 2>&1`;
is($?, 0, 'the shop is reverted') or diag($reverted);
is(sql('SELECT count(*) FROM cron.job'), '0', 'and the clock is left without work');

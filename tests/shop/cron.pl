#!/usr/bin/perl
# pg_cron as the clock of the shop: scheduled once, however often it is asked for; what it calls works; revert ends it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../crash/lib";
use Crash;
use Test::More;

stack('--fast', '--cron');
plan tests => 17;
my $root = "$FindBin::Bin/../..";
my $deployed = `"$root/tools/deploy" 2>&1`;
die $deployed if $?;

is(sql('SELECT shop.schedule_tending()'), 't', 'pg_cron takes the work');
is(sql('SELECT shop.schedule_tending()'), 't', 'asking again');
is(sql('SELECT jobname, schedule, database, active FROM cron.job ORDER BY jobname'), join("\n",
	'shop.cron_history|47 3 * * *|holdfast_test|t', 'shop.expiry_mail|* * * * *|holdfast_test|t', 'shop.low_stock|* * * * *|holdfast_test|t',
	'shop.partitions|0-59/10 * * * *|holdfast_test|t', 'shop.purge|7-59/10 * * * *|holdfast_test|t', 'shop.reports|17 3 * * *|holdfast_test|t',
	'shop.sales|37 3 * * *|holdfast_test|t', 'shop.tend|* * * * *|holdfast_test|t'), 'makes no second entry');
is(sql_status($_), '00000', "$_ works") foreach split(/\n/, sql('SELECT command FROM cron.job ORDER BY jobname'));
# What pg_cron has begun at this moment is left to it.
ok(wait_for(60, sub { sql('SELECT count(*) FROM shop.schedule_run WHERE runs > 0 AND failures = 0') == 7 }), 'each has run');
my $before = sql(q{SELECT runs FROM shop.schedule_run WHERE name = 'tend'});
ok(wait_for(150, sub { sql(q{SELECT runs FROM shop.schedule_run WHERE name = 'tend'}) > $before }), 'and runs by itself with the next minute');
is(sql(q{SELECT last_by || ' ' || failures FROM shop.schedule_run WHERE name = 'tend'}), 'pg_cron 0', 'because pg_cron runs it');
sql(q{UPDATE shop.schedule SET every = '1 min', at = '0', command = 'shop.close_sales(1)' WHERE name = 'sales'; DELETE FROM shop.schedule WHERE name = 'reports'; SELECT shop.schedule_tending()});
is(sql(q{SELECT jobname, schedule FROM cron.job WHERE jobname IN ('shop.sales', 'shop.reports')}), 'shop.sales|* * * * *', 'what was changed is changed there, what was taken away is gone');
my $reverted = `cd "$root/sql" && sqitch revert -y --to sale_purchase db:pg:holdfast_test 2>&1`;
is($?, 0, 'the shop is reverted') or diag($reverted);
is(sql('SELECT count(*) FROM cron.job'), '0', 'and the clock is left without work');

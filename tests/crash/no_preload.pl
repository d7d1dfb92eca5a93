#!/usr/bin/perl
# Without shared_preload_libraries everything transactional works; there are only no workers.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;

stack('--no-preload', '--fast');
plan tests => 12;

my ($a, $b, $c) = map { new_owner() } 1 .. 3;

is(sql('SELECT holdfast.receive(1, 3)'), 3, 'units are received');
is(sql_status("SELECT holdfast.reserve('$a', 1, 3, '300 ms')"), '00000', 'units are held');
is(sql_status("SELECT holdfast.reserve('$b', 1, 1)"), 'HF001', 'and not held twice');
ok(wait_for(5, sub { sql('SELECT holdfast.available(1)') == 3 }), 'a hold counts as available from its deadline on');
is(sql("SELECT state FROM _holdfast.hold WHERE owner = '$a'"), 'h', 'although nobody has tidied up');
is(sql_status("SELECT holdfast.reserve('$b', 1, 1, '100 ms')"), '00000', 'the units of an expired hold can be held');
is(sql_status("SELECT holdfast.confirm('$a')"), 'HF009', 'its owner has lost it');
ok(wait_for(5, sub { sql('SELECT holdfast.available(1)') == 3 && sql('SELECT holdfast.reap()') == 1 }),
	'reap() by hand ends what has expired');
is(sql("SELECT holdfast.reserve('$c', 1, 2) IS NOT NULL, holdfast.confirm('$c')"), 't|2', 'units are sold');
is(sql('SELECT available, held, sold, received FROM holdfast.stock'), '1|0|2|3', 'the account is right');
is(sql('SELECT count(*) FROM holdfast.verify()'), 0, 'verify() is empty');
is(sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'holdfast%'"), 0, 'there are no workers');

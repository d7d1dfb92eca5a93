#!/usr/bin/perl
# Without shared_preload_libraries everything transactional works; there are only no workers. Keys are dropped by whoever
# calls rotate_keys(), such as cron, and no sooner than the setting says, whatever the caller calls it before the library is there.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;

stack('--no-preload', '--fast');
plan tests => 41;

my ($a, $b, $c) = map { new_owner() } 1 .. 3;

is(sql('SELECT holdfast.receive(1, 3)'), 3, 'units are received');
is(sql_status("SELECT holdfast.reserve('$a', 1, 3)"), '00000', 'units are held');
is(sql_status("SELECT holdfast.reserve('$b', 1, 1)"), 'HF001', 'and not held twice');
is(sql_status("SELECT holdfast.reserve('$a', 1, 3, '300 ms')"), '00000', 'for a moment more');
ok(wait_for(60, sub { sql('SELECT holdfast.available(1)') == 3 }), 'a hold counts as available from its deadline on');
is(sql("SELECT state FROM _holdfast.hold WHERE owner = '$a'"), 'h', 'although nobody has tidied up');
is(sql_status("SELECT holdfast.reserve('$b', 1, 1, '100 ms')"), '00000', 'the units of an expired hold can be held');
is(sql_status("SELECT holdfast.confirm('$a')"), 'HF009', 'its owner has lost it');
ok(wait_for(60, sub { sql('SELECT holdfast.available(1)') == 3 && sql('SELECT holdfast.reap()') == 1 }),
	'reap() by hand ends what has expired');
is(sql("SELECT holdfast.reserve('$c', 1, 2) IS NOT NULL, holdfast.confirm('$c')"), 't|2', 'units are sold');
is(sql('SELECT available, held, sold, received FROM holdfast.stock'), '1|0|2|3', 'the account is right');
is(sql('SELECT count(*) FROM holdfast.verify()'), 0, 'verify() is empty');
is(sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'holdfast%'"), 0, 'there are no workers');

# Every one of these sessions is new: the library is not loaded when it begins.
is(sql('SELECT holdfast.rotate_keys()'), 'f', 'rotate_keys() works as the first statement of a session: it begins to look at the clock');
is(sql('SELECT half, clock_timestamp() - since < interval \'1 minute\' FROM _holdfast.idempotency_turn'), '0|t', 'from now on');
is(sql("SELECT holdfast.claim_key(1, 'order', 'key-0001', 'x')"), '(t,,)', 'a key is claimed');
is(sql("SELECT holdfast.complete_key(1, 'order', 'key-0001', 'done')"), '', 'and completed');
is(sql('SELECT holdfast.rotate_keys()'), 'f', 'it is early');

# Settings of a library that is not there are anybody's, until it comes.
sql('CREATE ROLE cron LOGIN');
sql('GRANT USAGE ON SCHEMA holdfast TO cron');
sql('GRANT EXECUTE ON FUNCTION holdfast.rotate_keys() TO cron');
sub as_cron { return "SET SESSION AUTHORIZATION cron; $_[0]"; }
is(sql(as_cron('SELECT holdfast.rotate_keys()')), 'f', 'a role that may only do that may ask for it');
is(sql_status(as_cron('TRUNCATE _holdfast.idempotency_0')), '42501', 'and has no other way');
foreach my $retention ('-1 year', '0', '1 microsecond', '1 s')
{
	sleep(2) if $retention eq '1 s';
	foreach my $set ("SET holdfast.key_retention = '$retention'", "SELECT set_config('holdfast.key_retention', '$retention', false)")
	{
		is(sql_status(as_cron("$set; SELECT holdfast.rotate_keys()")), '00000', "who says before: $set; may ask");
	}
}
is(sql_status(as_cron("SET holdfast.key_retention = 'nonsense'; SELECT holdfast.rotate_keys()")), '00000', 'whatever it is');
is(sql_status(as_cron("ALTER ROLE cron SET holdfast.key_retention = '1 s'")), '42501', 'it cannot become his default');
{
	local $ENV{PGUSER} = 'cron';
	local $ENV{PGOPTIONS} = '-c holdfast.key_retention=1s';
	like(sql('SELECT session_user, holdfast.rotate_keys()'), qr{^cron\|f$}m, 'nor does it count as an option of the connection');
}
is(sql("SELECT status, convert_from(response, 'UTF8') FROM holdfast.claim_key(1, 'order', 'key-0001', 'x')"), '200|done', 'but nothing was forgotten');
is(sql('SELECT half FROM _holdfast.idempotency_turn'), '0', 'it is still the turn of the same table');
is(sql_status(as_cron("SELECT holdfast.rotate_keys(); SET holdfast.key_retention = '1 s'")), '42501', 'once the library is there the setting is a superuser\'s');
foreach my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	is(sql_status("BEGIN ISOLATION LEVEL $level; SELECT holdfast.rotate_keys()"), '25001', "it is refused under $level");
}

# A day goes by.
sql("UPDATE _holdfast.idempotency_turn SET since = since - interval '24 hours'");
is(sql(as_cron('SELECT holdfast.rotate_keys()')), 't', 'after a day it is the other table\'s turn');
is(sql("SELECT status, convert_from(response, 'UTF8') FROM holdfast.claim_key(1, 'order', 'key-0001', 'x')"), '200|done', 'the answer is still there');
sql("UPDATE _holdfast.idempotency_turn SET since = since - interval '24 hours'");
is(sql(as_cron('SELECT holdfast.rotate_keys()')), 't', 'after another day');
is(sql("SELECT claimed FROM holdfast.claim_key(1, 'order', 'key-0001', 'y')"), 't', 'it is forgotten');
sql("SET holdfast.key_retention = '1 h'; UPDATE _holdfast.idempotency_turn SET since = since - interval '2 hours'");
is(sql("SET holdfast.key_retention = '1 h'; SELECT holdfast.rotate_keys()"), 't', 'a superuser\'s setting counts, also before the library is there');

#!/usr/bin/perl
# A database with payments under way is dumped and restored: every row is there, keys give their
# answers, open calls are claimed, webhooks are verified, and money goes on where it was.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;

my @tables = qw(payment payment_event ledger_entry provider_call provider webhook_secret provider_event);

stack('--fast', '--conf', 'holdfast.reaper_interval=1h');
plan tests => @tables + 26;

my $secret = 'whsec_' . 'c2VjcmV0' x 4;
my @restored = (db => 'restored');

# A webhook about a call, signed now; the verdict.
sub webhook
{
	my ($event, $call, $amount, %where) = @_;
	my $text = "'{\"type\":\"call.succeeded\",\"data\":{\"key\":\"$call\",\"amount\":$amount,\"currency\":\"EUR\",\"reference\":\"ch_1\"}}'";
	my $statement = "SELECT holdfast.receive_webhook('bank', convert_to($text, 'UTF8'), "
		. "holdfast.sign_webhook('standard', '$secret', convert_to($text, 'UTF8'), '$event', now_s), '$event', now_s::text) "
		. "FROM (SELECT extract(epoch FROM now())::bigint AS now_s) t";
	return sql($statement, %where);
}

# The answer of a request: state, call, replayed.
sub request
{
	my ($function, $arguments, %where) = @_;
	return sql("SELECT state, call, replayed FROM holdfast.$function($arguments)", %where);
}

# One payment in each of the states that last, and calls that are open, claimed and unknown.
sql("SELECT holdfast.add_provider('bank', 'standard', 3, '1 s', '1 s'), holdfast.set_webhook_secret('bank', '$secret')");
sql('SELECT holdfast.receive(1, 100)');
my @owner = map { new_owner() } 0 .. 3;
sql("SELECT holdfast.reserve('$_', 1, 2)") foreach @owner;
my @payment = map { sprintf('eeeeeeee-0000-7000-8000-%012x', $_) } 0 .. 7;

sub create
{
	my ($n, $then) = @_;
	my $owner = $n < 4 ? "'$owner[$n]'" : 'NULL';
	return request('create_payment', "7, 'create $n', 1000, 'EUR', 'bank', 'card', $owner, "
		. ($then ? "'$then'" : 'NULL') . ", '$payment[$n]'");
}

sub result
{
	my ($n, $call, $outcome, %where) = @_;
	return sql("SELECT holdfast.record_result(7, '$payment[$n]', $call, '$outcome', 'ch_$n')", %where);
}

create(0, 'capture');
result(0, 1, 'succeeded');
request('refund_payment', "7, '$payment[0]', 'refund 0', 300");
create(1, 'capture');
create(2, 'authorize');
result(2, 1, 'succeeded');
create(3);
create(4, 'capture');
result(4, 1, 'unknown');
create(5, 'authorize');
create(6, 'capture');
result(6, 1, 'declined');
create(7, 'authorize');
result(7, 1, 'succeeded');
request('void_payment', "7, '$payment[7]', 'void 7 7'");
is(webhook('event_1', "hf_7_$payment[0]_2", 300), 'applied', 'a webhook is taken');
sql("SELECT claimed FROM holdfast.claim_key(7, 'order', 'done key', 'f'), holdfast.complete_key(7, 'order', 'done key', 'the answer', 201)");
sql("SELECT claimed FROM holdfast.claim_key(7, 'order', 'open key', 'f')");
is(sql("SELECT count(*) FROM holdfast.claim_calls('bank', 1, '1 day')"), 1, 'a call is claimed');

my $dump = server_dir() . '/shop.dump';
ok(as_server('pg_dump', '-Fc', '-f', $dump, $ENV{PGDATABASE}), 'pg_dump succeeds');
sql('CREATE DATABASE restored', db => 'postgres');
# The worker may look at the clock of the keys as soon as the extension is there, before any data.
ok(as_server('pg_restore', '--exit-on-error', '--section=pre-data', '-d', 'restored', $dump), 'pg_restore makes the extension');
is(sql('SELECT holdfast.rotate_keys()', @restored), 'f', 'the clock of the keys begins anew');
ok(as_server('pg_restore', '--exit-on-error', '--section=data', '--section=post-data', '-d', 'restored', $dump), 'pg_restore succeeds');

foreach my $table (@tables)
{
	my $all = "SELECT count(*) || ' rows, ' || md5(string_agg(t::text, ',' ORDER BY t::text)) FROM _holdfast.$table t";
	is(sql($all, @restored), sql($all), "_holdfast.$table is equal row by row");
}
my $keys = 'SELECT count(*) || md5(string_agg(t::text, \',\' ORDER BY t::text)) FROM
	(SELECT * FROM _holdfast.idempotency_0 UNION ALL SELECT * FROM _holdfast.idempotency_1) t';
is(sql($keys, @restored), sql($keys), 'the idempotency keys are equal row by row');
is(sql('SELECT count(*) FROM holdfast.verify()', @restored), 0, 'verify() is empty after the restore');

# Keys.
is(sql("SELECT claimed, status, convert_from(response, 'UTF8') FROM holdfast.claim_key(7, 'order', 'done key', 'f')", @restored),
	'f|201|the answer', 'a key that was answered gives its answer');
is(sql_status("SELECT holdfast.claim_key(7, 'order', 'done key', 'g')", @restored), 'HF021', 'and not to another request');
is(sql_status("SELECT holdfast.claim_key(7, 'order', 'open key', 'f')", @restored), 'HF022', 'an open key is open');
is(request('create_payment', "7, 'create 1', 1000, 'EUR', 'bank', 'card', '$owner[1]', 'capture', '$payment[1]'", @restored),
	'capturing|1|t', 'a request that was answered is replayed');
is(sql_status("SELECT holdfast.rotate_keys()", @restored), '00000', 'keys can be dropped in turn');

# Webhooks.
is(webhook('event_1', "hf_7_$payment[0]_2", 300, @restored), 'duplicate', 'a webhook that was taken is known');
is(sql('SELECT refunded FROM holdfast.payments WHERE payment = \'' . $payment[0] . '\'', @restored), 300, 'and takes no effect again');
is(sql_status("SELECT holdfast.receive_webhook('bank', '', 'v1,' || repeat('A', 43) || '=', 'event_2', extract(epoch FROM now())::bigint::text)", @restored),
	'HF037', 'the secret is that of before');

# Open calls.
is(sql("SELECT string_agg(key, ' ' ORDER BY key) FROM holdfast.open_calls", @restored),
	sql("SELECT string_agg(key, ' ' ORDER BY key) FROM holdfast.open_calls"), 'the open calls are those of before');
wait_for(60, sub { sql('SELECT count(*) FROM holdfast.open_calls WHERE due_at <= clock_timestamp()', @restored) == 3 });
is(sql("SELECT string_agg(kind || attempt, ' ' ORDER BY kind) FROM holdfast.claim_calls('bank')", @restored),
	'authorize1 charge1 void1', 'those that nobody has on lease are claimed');
is(result(1, 1, 'succeeded', @restored), 'captured', 'a capture that was under way comes to its end');
is(sql("SELECT state FROM holdfast.holds WHERE owner = '$owner[1]'", @restored), 'confirmed', 'and sells what was pinned for it');
is(webhook('event_3', "hf_7_$payment[4]_1", 1000, @restored), 'applied', 'what was unknown becomes known by a webhook');
is(request('capture_payment', "7, '$payment[2]', 'capture 2', 400", @restored), 'capturing|2|f',
	'what was authorized is captured');
is(result(2, 2, 'succeeded', @restored), 'captured', 'and paid');
is(sql("SELECT string_agg(book || ' ' || balance, ', ' ORDER BY book) FROM holdfast.balances", @restored),
	'provider 3100, refunds due 0, sales -3100', 'the ledger goes on from where it was');
is(sql_status('DELETE FROM _holdfast.ledger_entry', @restored), 'HF018', 'and is append-only');
is(sql('SELECT count(*) FROM holdfast.verify()', @restored), 0, 'verify() is empty at the end');

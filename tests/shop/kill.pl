#!/usr/bin/perl
# Server processes are killed while buyers order, buy in a sale and pay, each with an idempotency key that they send until
# they are answered: every answer stands, each key has made one order or payment, and every unit is accounted for.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../crash/lib";
use Crash;
use DBI;
use IO::Handle;
use Test::More;
use Time::HiRes qw(sleep time);

my $rounds = $ENV{HF_ROUNDS} // 8;
my $buyers = 8;
stack('--expect-crash', '--conf', 'holdfast.reaper_interval=100ms');
plan tests => $rounds + 7;
my $deployed = `"$FindBin::Bin/../../tools/deploy" 2>&1`;
die $deployed if $?;

sql(q{INSERT INTO shop.account (id, name, roles) SELECT n, 'account ' || n, CASE n WHEN 99 THEN '{user,merchant}'::text[] ELSE '{user}' END
	FROM generate_series(1, 99) AS n});
sql(q{INSERT INTO shop.merchant (id, account_id, name) VALUES (99, 99, 'Sellers')});
sql(q{INSERT INTO shop.product (id, merchant_id, title, currency, price, published_at) VALUES (1, 99, 'Product', 'EUR', 100, clock_timestamp())});
sql(q{INSERT INTO shop.sku (id, product_id, merchant_id, code, price, currency) VALUES (1, 1, 99, 'code', 100, 'EUR')});
sql(q{SELECT holdfast.receive(1, 1000000), holdfast.add_provider('simulated')});
my $sale = sql(q{SELECT body ->> 'id' FROM rest.sale_create(99, jsonb_build_object('sku_id', '1', 'price', 50, 'quantity', 500000, 'per_account_limit', 1000,
	'starts_at', shop.json_time(now()), 'ends_at', shop.json_time(now() + interval '1 hour')))});
sql("SELECT rest.sale_preheat(99, $sale)");

my @requests = (
	[order => q{rest.order_place(?, ?, '{"items": [{"sku_id": "1", "quantity": 2}]}')}],
	[purchase => qq{rest.sale_purchase(?, $sale, ?, '{"ticket": "none", "quantity": 1}')}],
	[payment => q{rest.payment_create(?, ?::uuid, ?, '{"provider": "simulated", "method": "test_approve"}')}]);

# One request, sent until it is answered: the reply. Nothing is answered for too long is a failure of the test.
sub answered
{
	my ($dbh, $function, @arguments) = @_;
	my $give_up = time + 180;
	while (time < $give_up)
	{
		$$dbh //= DBI->connect('dbi:Pg:', undef, undef, { RaiseError => 0, PrintError => 0, AutoCommit => 1 });
		my $reply = $$dbh && $$dbh->selectrow_hashref("SELECT status, body ->> 'id' AS id, replayed FROM $function", undef, @arguments);
		return $reply if $reply;
		return { status => $$dbh->state } if $$dbh && $$dbh->state =~ /^(HF|HS)/;
		undef $$dbh unless $$dbh && $$dbh->ping;
		sleep(0.05);
	}
	die "no answer in 180 s\n";
}

# A buyer writes down what he was told, a line for each key.
sub buy
{
	my ($number, $journal) = @_;
	my ($dbh, $last);
	open(my $file, '>', $journal) or die;
	$file->autoflush(1);
	my $stop = 0;
	local $SIG{TERM} = sub { $stop = 1 };
	for (my $n = 1; !$stop; $n++)
	{
		my ($kind, $function) = @{ $requests[defined $last ? int(rand(3)) : int(rand(2))] };
		my $key = "buyer-$number-$n-$$";
		my @arguments = ($number, $kind eq 'payment' ? ($last, $key) : $key);
		my $reply = answered(\$dbh, $function, @arguments);
		print $file join(' ', $kind, $key, $reply->{status}, $reply->{id} // '-', $kind eq 'payment' ? $last : '-'), "\n";
		$last = $kind eq 'payment' ? undef : $reply->{id};
	}
	exit(0);
}

my $directory = server_dir();
chmod(0755, $directory);
my @children;
for my $number (1 .. $buyers)
{
	my $pid = fork() // die;
	buy($number, "$directory/journal-$number") if $pid == 0;
	push @children, $pid;
}
for my $round (1 .. $rounds)
{
	sleep(0.5 + rand(0.7));
	my $killed = time;
	my $type = kill_one(q{(backend_type = 'client backend' AND pid <> pg_backend_pid() OR backend_type LIKE 'holdfast%')});
	ok(wait_for(60, sub { sql_status('SELECT holdfast.simulate_provider(1000)') eq '00000' }),
		sprintf('round %d: %s killed, the shop works again (after %.1f s)', $round, $type, time - $killed));
}
sleep(1);

# Of so many requests of a kind a buyer was told that they succeeded.
sub told
{
	my ($kind) = @_;
	return scalar(grep { /^$kind \S+ 20/ } `cat $directory/journal-*`);
}
wait_for(60, sub { told('order') > 50 && told('purchase') > 50 && told('payment') > 20 });
kill('TERM', @children);
waitpid($_, 0) foreach @children;

my (%kind, %made, @lost);
my $dbh;
foreach my $number (1 .. $buyers)
{
	open(my $file, '<', "$directory/journal-$number") or die;
	while (my $line = <$file>)
	{
		my ($kind, $key, $status, $id, $order) = split /\s+/, $line;
		$kind{$kind}{$status}++;
		next unless $status =~ /^20/;
		$made{$kind}++;
		my ($function) = map { $_->[1] } grep { $_->[0] eq $kind } @requests;
		my $again = answered(\$dbh, $function, $number, $kind eq 'payment' ? ($order, $key) : $key);
		push @lost, "$line -> " . join(' ', %$again) unless $again->{replayed} && $again->{id} eq $id && $again->{status} eq $status;
	}
}
diag(join(', ', map { my $k = $_; map { "$k $_: $kind{$k}{$_}" } sort keys %{ $kind{$k} } } sort keys %kind));
is("@lost", '', 'every answer is repeated, with its order or payment');
ok($made{order} > 50 && $made{purchase} > 50 && $made{payment} > 20, 'there were enough of each');
is(sql('SELECT count(*) FROM shop.order WHERE sale_id IS NULL'), $made{order}, 'each key has made one order');
is(sql('SELECT count(*) FROM shop.order WHERE sale_id IS NOT NULL'), $made{purchase}, 'or one purchase');
is(sql('SELECT count(*) FROM holdfast.payments'), $made{payment}, 'or one payment');
is(sql('SELECT count(*) FROM holdfast.verify()'), 0, 'every unit and every cent is accounted for');
is(sql('SELECT count(*) FROM shop.verify()'), 0, 'and every order');

#!/usr/bin/perl
# A shop with orders, payments under way, a sale, jobs and watched tables is dumped and restored: every row is there, and
# business goes on where it was, with money still finding its order.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../crash/lib";
use Crash;
use Test::More;

stack('--fast', '--conf', 'holdfast.reaper_interval=1h');
my $deployed = `"$FindBin::Bin/../../tools/deploy" 2>&1`;
die $deployed if $?;

my @restored = (db => 'restored');
my $key = 'dump-and-restore-';
my $keys = 0;

# The body of a reply to a function of rest, as text; dies unless it succeeds.
sub rest
{
	my ($call, %where) = @_;
	return sql("SELECT body FROM rest.$call", %where);
}

# A field of such a body.
sub field
{
	my ($call, $field, %where) = @_;
	return sql("SELECT body ->> '$field' FROM rest.$call", %where);
}

sub new_key { return "'$key" . ++$keys . "'"; }

my $hash = q('$argon2id$v=19$m=19456,t=2,p=1$aG9sZGZhc3RkZW1vc2FsdA$45NhRG3hip8PpCcD1e5tUt1eRJFhi9isTKzCpJzCsR0');
my $seller = field(qq(account_create(NULL, '{"email": "seller\@example.com", "name": "Seller"}', $hash)), 'id');
my $buyer = field(qq(account_create(NULL, '{"email": "buyer\@example.com", "name": "Buyer"}', $hash)), 'id');
rest(qq(merchant_create($seller, '{"name": "Sellers"}')));
my $sku = sql(qq(SELECT (body -> 'skus' -> 0 ->> 'id') FROM rest.product_create($seller, '{"title": "Lamp 台灯",
	"skus": [{"code": "L-1", "price": 1500, "currency": "EUR"}], "published": true}')));
rest(qq(sku_receive($seller, $sku, @{[new_key()]}, '{"quantity": 100, "reference": "delivery"}')));
sql("SELECT holdfast.add_provider('simulated')");
sub order
{
	my ($quantity, %where) = @_;
	return field(qq(order_place($buyer, @{[new_key()]}, '{"items": [{"sku_id": "$sku", "quantity": $quantity}]}')), 'id', %where);
}
sub pay
{
	my ($order, $method, %where) = @_;
	return field(qq(payment_create($buyer, '$order', @{[new_key()]}, '{"provider": "simulated", "method": "$method"}')), 'id', %where);
}
sub status { my ($order, %where) = @_; return field("order_get($buyer, '$order')", 'status', %where); }

my ($paid, $paying, $waiting) = map { order($_) } 1 .. 3;
pay($paid, 'test_approve');
sql('SELECT holdfast.simulate_provider()');
is(status($paid), 'paid', 'an order is paid');
pay($paying, 'test_approve');
my $sale = field(qq(sale_create($seller, json_build_object('sku_id', '$sku', 'price', 900, 'quantity', 10, 'per_account_limit', 2,
	'starts_at', shop.json_time(now() - interval '1 min'), 'ends_at', shop.json_time(now() + interval '1 hour'))::jsonb)), 'id');
rest("sale_preheat($seller, $sale)");
my $bought = field(qq(sale_purchase($buyer, $sale, @{[new_key()]}, '{"ticket": "none", "quantity": 1}')), 'id');

my $dump = server_dir() . '/shop.dump';
ok(as_server('pg_dump', '-Fc', '-f', $dump, $ENV{PGDATABASE}), 'pg_dump succeeds');
sql('CREATE DATABASE restored', db => 'postgres');
ok(as_server('pg_restore', '--exit-on-error', '-d', 'restored', $dump), 'pg_restore succeeds');

my @tables = split(/\n/, sql("SELECT oid::regclass FROM pg_class WHERE relnamespace = 'shop'::regnamespace AND relkind = 'r' ORDER BY 1"));
foreach my $table (@tables)
{
	my $all = "SELECT count(*) || ' rows, ' || md5(string_agg(t::text, ',' ORDER BY t::text)) FROM $table t";
	is(sql($all, @restored), sql($all), "$table is equal row by row");
}
is(sql('SELECT count(*) FROM holdfast.verify()', @restored), 0, 'verify() of the extension is empty');
is(sql('SELECT count(*) FROM shop.verify()', @restored), 0, 'so is that of the shop');

sql('SELECT holdfast.simulate_provider()', @restored);
is(status($paying, @restored), 'paid', 'a payment that was under way still finds its order');
is(status($paid, @restored), 'paid', 'a paid order is paid');
pay($waiting, 'test_approve', @restored);
sql('SELECT holdfast.simulate_provider()', @restored);
is(status($waiting, @restored), 'paid', 'one that waited can be paid');
is(status($bought, @restored), 'pending_payment', 'so can what was bought in the sale');
is(sql_status(qq(SELECT rest.sale_purchase($buyer, $sale, @{[new_key()]}, '{"ticket": "none", "quantity": 2}')), @restored), 'HS404',
	'whose limit still counts what was bought before') or diag('the code of limit_reached');
is(sql("SELECT body -> 'items' -> 0 -> 'skus' IS NOT NULL OR json_array_length(body -> 'items') = 1 FROM rest.product_search(NULL, '{\"q\": \"台灯\"}')", @restored),
	't', 'search finds what it found');
is(sql('SELECT count(*) FROM holdfast.watched', @restored), sql('SELECT count(*) FROM holdfast.watched'), 'as many tables are watched');
is(sql("SELECT count(*) > 0 FROM shop.claim_jobs('test', NULL, 100)", @restored), 't', 'jobs are claimed');
is(sql('SELECT count(*) FROM shop.verify()', @restored), 0, 'verify() is empty at the end');
done_testing();

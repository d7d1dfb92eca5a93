#!/usr/bin/perl
# The disk under the tables runs full: holding fails with an error, nothing acknowledged is lost.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;

# The small disk is mounted where nobody else sees it, and where it goes away with the test.
my @alone = ('unshare', '--mount');
plan skip_all => 'only root can mount a small disk' if $> != 0;
plan skip_all => 'this machine does not let root mount' if system(@alone, 'sh', '-c',
	'mount -t tmpfs -o size=1m none /mnt >/dev/null 2>&1') != 0;
stack(\@alone, '--fast', '--conf', 'holdfast.reaper_interval=1h', '--conf', 'autovacuum=off');
plan tests => 9;

my @parts = ('TABLE _holdfast.hold', 'INDEX _holdfast.hold_pkey', 'INDEX _holdfast.hold_due_idx');

my $disk = server_dir() . '/disk';
as_server('mkdir', $disk);
my ($uid, $gid) = (stat $disk)[4, 5];
system('mount', '-t', 'tmpfs', '-o', "size=4m,mode=0700,uid=$uid,gid=$gid", 'none', $disk) == 0
	or BAIL_OUT('the small disk cannot be mounted');
sql("CREATE TABLESPACE small LOCATION '$disk'");
sql("ALTER $_ SET TABLESPACE small") foreach @parts;
sql('SELECT holdfast.receive(1, 1000000)');

# Holds 500 units at a time until there is no room; returns the SQLSTATE that ended it.
my $acknowledged = 0;

sub fill
{
	for (1 .. 200)
	{
		my $status = sql_status('SELECT count(holdfast.reserve(gen_random_uuid(), 1, 1)) FROM generate_series(1, 500)');
		return $status if $status ne '00000';
		$acknowledged += 500;
	}
	return 'never';
}

is(fill(), '53100', 'without room, reserve fails with 53100');
is(sql_status('SELECT count(*) FROM holdfast.reserve_batch(
	ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 1000)), array_fill(1::bigint, ARRAY[1000]), array_fill(1::bigint, ARRAY[1000]))'),
	'53100', 'so does a batch');
cmp_ok($acknowledged, '>', 0, "$acknowledged holds were acknowledged before");
is(sql('SELECT sum(quantity) FROM holdfast.holds'), $acknowledged, 'they are all there, and no other');
is(sql('SELECT available + held FROM holdfast.stock'), 1000000, 'no unit has got lost');
is(sql('SELECT count(*) FROM holdfast.verify()'), 0, 'verify() is empty');

system('mount', '-o', 'remount,size=64m', $disk);
is(sql_status('SELECT count(holdfast.reserve(gen_random_uuid(), 1, 1)) FROM generate_series(1, 1000)'), '00000',
	'with room again, reserve works');
is(sql('SELECT sum(quantity) FROM holdfast.holds'), $acknowledged + 1000, 'on top of what was there');
is(sql('SELECT count(*) FROM holdfast.verify()'), 0, 'and verify() is empty');

sql("ALTER $_ SET TABLESPACE pg_default") foreach @parts;
sql('CHECKPOINT');
sql('DROP TABLESPACE small');

# If the test broke off, the server keeps what it has open there until it is stopped.
END
{
	my $status = $?;
	system('umount', '-l', $disk) if defined $disk;
	$? = $status;
}

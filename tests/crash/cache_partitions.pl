#!/usr/bin/perl
# Partitions: rows name their keys in whichever partition they are, and partitions that come or go with rows
# abandon the cache.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;

stack('--fast');
require CacheKeys;
CacheKeys->import;

# Runs a statement after which these keys are gone.
sub changes
{
	my ($statement, $keys, $name) = @_;
	is(gone($statement), $keys, $name);
}

sql(<<'END');
CREATE TABLE sale (id integer, region text, price integer, UNIQUE (id, region)) PARTITION BY LIST (region);
CREATE TABLE sale_eu PARTITION OF sale FOR VALUES IN ('eu');
CREATE TABLE sale_us PARTITION OF sale FOR VALUES IN ('us') PARTITION BY RANGE (id);
CREATE TABLE sale_us_1 PARTITION OF sale_us FOR VALUES FROM (1) TO (5);
CREATE TABLE sale_us_2 PARTITION OF sale_us FOR VALUES FROM (5) TO (10);
INSERT INTO sale VALUES (1, 'eu'), (2, 'us'), (6, 'us');
CREATE TABLE lone (gone integer, price integer, region text, odd text, id integer);
ALTER TABLE lone DROP gone, DROP odd;
INSERT INTO lone VALUES (1, 'lone', 8);
SELECT holdfast.watch('sale', 'sale:{id}', 'tag:{region}', 'tag:prices ON price');
END
ok(cache_is_on(), 'the cache is on');
cached((map { "sale:$_" } 1 .. 10), qw(tag:eu tag:us tag:lone tag:asia tag:prices tag:all));

# Rows
changes("INSERT INTO sale VALUES (3, 'us')", 'sale:3 tag:prices tag:us', 'a row comes through the whole');
changes("INSERT INTO sale_us VALUES (7, 'us')", 'sale:7 tag:prices tag:us', 'through a part of it');
changes("INSERT INTO sale_us_2 VALUES (8, 'us')", 'sale:8 tag:prices tag:us', 'through a partition');
changes(q{COPY sale FROM PROGRAM 'printf "4\teu\t1\n4\tus\t2\n"'}, 'sale:4 tag:eu tag:prices tag:us', 'by COPY');
changes("UPDATE sale SET price = price WHERE id = 3", 'sale:3 tag:us', 'it changes');
changes("UPDATE sale SET price = 5 WHERE id = 3", 'sale:3 tag:prices tag:us', 'what counts for a tag');
changes("UPDATE sale_us_1 SET price = 6 WHERE id = 3", 'sale:3 tag:prices tag:us', 'in its partition');
changes("UPDATE sale SET region = 'eu' WHERE id = 3", 'sale:3 tag:eu tag:prices tag:us', 'moves to another');
changes("UPDATE sale SET id = 9, region = 'us' WHERE id = 3", 'sale:3 sale:9 tag:eu tag:prices tag:us', 'and to a third under another key');
changes("UPDATE sale_us SET id = 3 WHERE id = 9", 'sale:3 sale:9 tag:prices tag:us', 'moves within a part');
changes("MERGE INTO sale AS s USING (VALUES (3, 'us'), (5, 'eu')) AS v (id, region) ON s.id = v.id AND s.region = v.region WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.region)",
	'sale:3 sale:5 tag:eu tag:prices tag:us', 'MERGE');
changes("INSERT INTO sale VALUES (5, 'eu') ON CONFLICT (id, region) DO UPDATE SET price = 7", 'sale:5 tag:eu tag:prices', 'INSERT of a row that is there');
changes('DELETE FROM sale WHERE id = 5', 'sale:5 tag:eu tag:prices', 'DELETE');
changes("SET session_replication_role = replica; UPDATE sale_eu SET price = 9 WHERE id = 1", 'sale:1 tag:eu tag:prices', 'session_replication_role = replica');

# Partitions that come
changes("CREATE TABLE sale_asia PARTITION OF sale FOR VALUES IN ('asia')", '', 'a new partition is empty');
changes("INSERT INTO sale_asia VALUES (10, 'asia')", 'sale:10 tag:asia tag:prices', 'its rows have keys');
changes("BEGIN; CREATE TABLE sale_us_3 PARTITION OF sale_us FOR VALUES FROM (10) TO (20); INSERT INTO sale VALUES (10, 'us'); COMMIT", 'sale:10 tag:prices tag:us', 'in the same transaction, too');
changes("ALTER TABLE sale ATTACH PARTITION lone FOR VALUES IN ('lone')", 'everything: ALTER TABLE public.sale', 'a table that is attached brings rows');
changes("UPDATE lone SET price = 2", 'sale:8 tag:lone tag:prices', 'its rows have keys, also if its columns are in another order');
changes("UPDATE sale SET region = 'us', id = 7 WHERE region = 'lone' AND false", '', 'no row moves');
changes("UPDATE sale SET region = 'lone' WHERE id = 9 OR id = 7", 'sale:7 tag:lone tag:prices tag:us', 'one moves there');
changes("UPDATE sale SET region = 'eu' WHERE region = 'lone' AND id = 7", 'sale:7 tag:eu tag:lone tag:prices', 'and away');

# TRUNCATE
changes('TRUNCATE sale_eu', 'everything: TRUNCATE sale_eu', 'TRUNCATE of a partition abandons the cache');
changes('TRUNCATE ONLY sale_us_1', 'everything: TRUNCATE sale_us_1', 'of another one');
changes('TRUNCATE lone', 'everything: TRUNCATE lone', 'of one that was attached');
changes('TRUNCATE sale_us_3', 'everything: TRUNCATE sale_us_3', 'of one that was made later');
changes('BEGIN; SAVEPOINT a; TRUNCATE sale_asia; ROLLBACK TO a; COMMIT', '', 'one that is rolled back does nothing');
like(gone('TRUNCATE sale'), qr/^everything: TRUNCATE \w+$/, 'TRUNCATE of the whole abandons the cache');
sql("SELECT holdfast.watch('sale', 'tag:all')");
synced();
changes('TRUNCATE sale_asia', 'tag:all', 'without columns in templates TRUNCATE of a partition deletes their keys');
changes('TRUNCATE sale', 'tag:all', 'and TRUNCATE of the whole');
changes('TRUNCATE lone', 'tag:all', 'of one that was attached');

# Partitions that go
changes('ALTER TABLE sale DETACH PARTITION lone', 'everything: ALTER TABLE public.sale', 'a partition that is detached takes rows away');
changes("INSERT INTO lone VALUES (1, 'lone', 9); UPDATE lone SET price = 2; DELETE FROM lone", '', 'its rows have no keys any more');
changes('TRUNCATE lone', '', 'nor has TRUNCATE of it');
sql("SELECT holdfast.watch('sale', 'sale:{id}')");
changes("ALTER TABLE sale ATTACH PARTITION lone FOR VALUES IN ('lone')", 'everything: ALTER TABLE public.sale', 'it comes back when the templates are others');
changes("INSERT INTO sale VALUES (8, 'lone')", 'sale:8', 'its rows have the keys of now');
changes('TRUNCATE lone', 'everything: TRUNCATE lone', 'and so has TRUNCATE of it');
changes('DROP TABLE sale_asia', 'everything: DROP TABLE of a watched table', 'a partition that is dropped takes rows away');
changes('ALTER TABLE sale DETACH PARTITION sale_us', 'everything: ALTER TABLE public.sale', 'so does one with partitions of its own that is detached');
changes("INSERT INTO sale_us VALUES (6, 'us'); TRUNCATE sale_us", '', 'whose rows have no keys either');

# Detaching concurrently takes two transactions; the first ends while others still see the partition, and may take its time.
sql("INSERT INTO sale VALUES (1, 'eu')");
synced();
my ($rows, $generation) = (sql('SELECT count(*) FROM sale'), status('generation'));
my ($reader, $owner) = map { Session->new } 1, 2;
$reader->status('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM sale');
$owner->send('ALTER TABLE sale DETACH PARTITION sale_eu CONCURRENTLY');
wait_for(2, sub { sql('SELECT count(*) FROM sale') != $rows });
ok(wait_for(60, sub { sql('SELECT count(*) FROM sale') == $rows || status('generation') > $generation || heartbeat() eq '' }), 'a partition that is detached concurrently is not gone before the cache is');
$reader->status('COMMIT');
$owner->receive;
$_->close foreach $reader, $owner;
ok(cache_is_on(), 'the cache is on');
done_testing();

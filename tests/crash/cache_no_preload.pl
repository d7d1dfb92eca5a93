#!/usr/bin/perl
# Without preloading there is nobody to bring changes to Redis: watching is refused, and what was watched before
# can be changed, shown and unwatched.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;

stack('--fast', '--conf', 'max_prepared_transactions=5');
require CacheKeys;
CacheKeys->import;
plan tests => 19;

sql(<<'SQL');
CREATE TABLE product (id integer PRIMARY KEY);
CREATE TABLE sale (id integer) PARTITION BY LIST (id);
SELECT holdfast.watch('product', 'product:{id}');
SELECT holdfast.watch('sale', 'sale:{id}');
SQL
ok(cache_is_on(), 'tables are watched');
sql("BEGIN; INSERT INTO product VALUES (9); PREPARE TRANSACTION 'one'");
cached('product:1', 'product:9');
is(gone('INSERT INTO product VALUES (1)'), 'product:1', 'and keys are deleted');
ok(as_server('pg_ctl', '-s', '-m', 'fast', '-t', '30', '-D', $ENV{HF_DATA}, 'stop'), 'the server stops');
ok(wait_for(60, sub { heartbeat() eq '' }), 'and so does the heartbeat');
ok(start_server($ENV{HF_DATA}, '-c', 'shared_preload_libraries=', '-p', $ENV{PGPORT}), 'it starts without the library');
is(status('state'), 'not preloaded', 'the status says so');
is(sql('SELECT string_agg(template, \' \') FROM holdfast.watched'), 'product:{id} sale:{id}', 'the tables are watched');
is(sql_status("SELECT holdfast.watch('sale', 's:{id}')"), '55000', 'watch() is refused');
is(sql_status("SELECT holdfast.cache_flush('why')"), '55000', 'and so is cache_flush()');
is(sql_status('SELECT holdfast.cache_sync()'), '00000', 'cache_sync() has nothing to wait for');
is(sql_status("BEGIN; INSERT INTO product VALUES (2); UPDATE product SET id = 3 WHERE id = 2; SAVEPOINT a; DELETE FROM product WHERE id = 3; COMMIT"), '00000', 'rows change');
is(sql_status("CREATE TABLE sale_1 PARTITION OF sale FOR VALUES IN (1); ALTER TABLE sale ADD note text; INSERT INTO sale VALUES (1)"), '00000', 'partitions come, and DDL works');
is(sql_status("COMMIT PREPARED 'one'"), '00000', 'what was prepared commits');
is(sql_status('TRUNCATE product'), '00000', 'all rows go');
is(sql_status("BEGIN; INSERT INTO product VALUES (4); PREPARE TRANSACTION 'two'") . sql_status("COMMIT PREPARED 'two'"), '0000000000', 'and so does what is prepared now');
is(sql_status("SELECT holdfast.unwatch('sale')"), '00000', 'a table is unwatched');
as_server('pg_ctl', '-s', '-m', 'fast', '-t', '30', '-D', $ENV{HF_DATA}, 'stop');
ok(start_server($ENV{HF_DATA}), 'the server starts with the library');
ok(cache_is_on(), 'the cache is on');
is(gone('INSERT INTO product VALUES (1)') . ' ' . sql('SELECT count(*) FROM _holdfast.cache_prepared'), 'product:1 0', 'and nothing is left of before');

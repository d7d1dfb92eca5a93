#!/usr/bin/perl
# Keys follow their transaction: what is rolled back deletes nothing, what commits deletes everything at its
# commit, and what is too much to be told key by key abandons the cache.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;

# A quarter of the ring, some 16000 bytes, is the most that a transaction may name.
stack('--fast', '--conf', 'max_prepared_transactions=10', '--conf', 'holdfast.cache_ring_size=64kB');
require CacheKeys;
CacheKeys->import;

# Runs a statement, or several, after which these keys are gone.
sub changes
{
	my ($statements, $keys, $name) = @_;
	is(gone_after(sub { sql($_) foreach ref $statements ? @$statements : $statements }), $keys, $name);
}

# Runs a statement that fails with the SQLSTATE, after which these keys are gone.
sub fails
{
	my ($statement, $state, $keys, $name) = @_;
	my $had;
	is(gone_after(sub { $had = sql_status($statement) }), $keys, $name);
	is($had, $state, "it fails with $state");
}

# A statement that changes a row.
sub touch
{
	return join('; ', map { "UPDATE product SET note = 'new' WHERE id = $_" } @_);
}

sql(<<'END');
CREATE TABLE product (id integer PRIMARY KEY, note text);
INSERT INTO product SELECT generate_series(1, 20);
CREATE TABLE checked (id integer UNIQUE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE many (id integer);
SELECT holdfast.watch('product', 'p:{id}');
SELECT holdfast.watch('checked', 'c:{id}');
SELECT holdfast.watch('many', 'a-key-for-many-rows:{id}');
END
ok(cache_is_on(), 'the cache is on');
cached((map { ("p:$_", "c:$_") } 1 .. 20), map { "a-key-for-many-rows:$_" } 1 .. 400);

# One transaction
changes('BEGIN; ' . touch(1, 2) . '; COMMIT', 'p:1 p:2', 'a transaction');
changes('BEGIN; ' . touch(1, 2) . '; ROLLBACK', '', 'one that is rolled back');
fails('BEGIN; ' . touch(1) . '; SELECT 1 / 0; COMMIT', '22012', '', 'one that fails');
fails('UPDATE product SET note = (1 / (id - 5))::text', '22012', '', 'a statement that fails after some rows');
fails('BEGIN; ' . touch(1) . '; INSERT INTO checked VALUES (1), (1); COMMIT', '23505', '', 'one that fails at its commit');
changes('BEGIN; ' . touch(1) . "; DELETE FROM product WHERE id = 1; INSERT INTO product VALUES (1); COMMIT", 'p:1', 'a row that goes and comes');
changes('BEGIN; INSERT INTO checked VALUES (2); DELETE FROM checked; COMMIT', 'c:2', 'one that comes and goes');
my $published = status('published');
changes("DO 'BEGIN FOR i IN 1..1000 LOOP UPDATE product SET note = i WHERE id = 3; END LOOP; END'", 'p:3', 'a row that is changed a thousand times');
is(status('published'), $published + 1, 'has its key published once');
changes("SELECT holdfast.cache_sync('60 s'); " . touch(4), 'p:4', 'after cache_sync() in the same transaction');

# Savepoints
changes('BEGIN; ' . touch(1) . '; SAVEPOINT a; ' . touch(2) . '; RELEASE a; ' . touch(3) . '; COMMIT', 'p:1 p:2 p:3', 'a savepoint that is released');
changes('BEGIN; ' . touch(1) . '; SAVEPOINT a; ' . touch(2) . '; ROLLBACK TO a; ' . touch(3) . '; COMMIT', 'p:1 p:3', 'one that is rolled back');
changes('BEGIN; SAVEPOINT a; ' . touch(2) . '; ROLLBACK TO a; COMMIT', '', 'with nothing besides');
changes('BEGIN; SAVEPOINT a; ' . touch(2) . '; ROLLBACK TO a; ' . touch(2) . '; ROLLBACK TO a; ' . touch(3) . '; COMMIT', 'p:3', 'twice');
changes('BEGIN; SAVEPOINT a; ' . touch(2) . '; ROLLBACK TO a; ' . touch(2) . '; COMMIT', 'p:2', 'and the same row afterwards');
changes('BEGIN; ' . touch(2) . '; SAVEPOINT a; ' . touch(2) . '; ROLLBACK TO a; COMMIT', 'p:2', 'or before');
changes('BEGIN; SAVEPOINT a; ' . touch(1) . '; SAVEPOINT b; ' . touch(2) . '; SAVEPOINT c; ' . touch(3) . '; RELEASE b; ' . touch(4) . '; ROLLBACK TO a; ' . touch(5) . '; COMMIT', 'p:5',
	'what was released goes with what is around it');
changes('BEGIN; SAVEPOINT a; ' . touch(1) . '; SAVEPOINT b; ' . touch(2) . '; SAVEPOINT c; ' . touch(3) . '; ROLLBACK TO c; RELEASE c; RELEASE b; ' . touch(4) . '; RELEASE a; COMMIT', 'p:1 p:2 p:4',
	'what is rolled back within goes alone');
changes('BEGIN; SAVEPOINT a; ' . touch(1) . '; SAVEPOINT b; ' . touch(1, 2) . '; ROLLBACK TO b; ' . touch(3) . '; RELEASE a; SAVEPOINT a; ' . touch(4) . '; ROLLBACK TO a; COMMIT', 'p:1 p:3',
	'a key belongs to the one that named it first');
changes('BEGIN; ' . join('; ', map { "SAVEPOINT s$_; " . touch($_) . ($_ % 3 ? '' : "; ROLLBACK TO s$_") } 1 .. 20) . '; COMMIT', keys_of(map { "p:$_" } grep { $_ % 3 } 1 .. 20), 'twenty of them');
changes('BEGIN; ' . join('; ', map { "SAVEPOINT s$_; " . touch($_) } 1 .. 20) . '; ROLLBACK TO s11; COMMIT', keys_of(map { "p:$_" } 1 .. 10), 'one within the other');
changes(<<'SQL', 'p:1 p:3 p:4', 'blocks of PL/pgSQL');
DO $$
BEGIN
	UPDATE product SET note = 'block' WHERE id = 1;
	BEGIN
		UPDATE product SET note = 'block' WHERE id = 2;
		RAISE EXCEPTION 'no';
	EXCEPTION WHEN OTHERS THEN
		UPDATE product SET note = 'block' WHERE id = 3;
	END;
	BEGIN
		UPDATE product SET note = 'block' WHERE id = 4;
		BEGIN
			UPDATE product SET note = 'block' WHERE id = 5;
			PERFORM 1 / 0;
		EXCEPTION WHEN division_by_zero THEN
		END;
	END;
END
$$
SQL
changes(<<'SQL', keys_of(map { "p:$_" } grep { $_ % 2 } 1 .. 20), 'hundreds of them');
DO $$
BEGIN
	FOR i IN 1 .. 400 LOOP
		BEGIN
			UPDATE product SET note = i WHERE id = i % 20 + 1;
			IF i % 2 = 1 THEN
				RAISE EXCEPTION 'no';
			END IF;
		EXCEPTION WHEN OTHERS THEN
		END;
	END LOOP;
END
$$
SQL
changes(<<'SQL', 'p:1 p:3', 'a procedure that commits and rolls back');
DO $$
BEGIN
	UPDATE product SET note = 'procedure' WHERE id = 1;
	COMMIT;
	UPDATE product SET note = 'procedure' WHERE id = 2;
	ROLLBACK;
	UPDATE product SET note = 'procedure' WHERE id = 3;
END
$$
SQL

# When
my ($writer, $other) = map { Session->new } 1, 2;
is(gone_after(sub { $writer->status('BEGIN'); $writer->status(touch(1)); $writer->status(touch(2)) }), '', 'nothing is gone before the commit');
is(gone_after(sub { $other->status(touch(3)) }), 'p:3', 'another one commits meanwhile');
is(gone_after(sub { $writer->status('COMMIT') }), 'p:1 p:2', 'at the commit everything is');
is(gone_after(sub { $writer->status('BEGIN ISOLATION LEVEL SERIALIZABLE'); $other->status('BEGIN ISOLATION LEVEL SERIALIZABLE');
	$_->status('SELECT sum(length(note)) FROM product') foreach $writer, $other;
	$writer->status(touch(1)); $other->status(touch(2)) }), '', 'two that exclude each other');
is(gone_after(sub { is($writer->status('COMMIT'), '00000', 'one commits') }), 'p:1', 'its key is gone');
is(gone_after(sub { is($other->status('COMMIT'), '40001', 'the other cannot') }), '', 'its key is not');
is(gone_after(sub { $writer->status('BEGIN'); $writer->status(touch(1));
	sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE state = 'idle in transaction'") }), '', 'a session that is ended takes its keys along');
$_->close foreach $writer, $other;

# Who has waited for another names the row that he has changed in the end.
($writer, $other) = map { Session->new } 1, 2;
sql("UPDATE product SET note = 'waited for' WHERE id = 20");
cached(map { "p:$_" } 1 .. 50);
is(gone_after(sub { $writer->status('BEGIN'); $writer->status("UPDATE product SET id = 30 WHERE note = 'waited for'"); $other->send("UPDATE product SET id = id + 1 WHERE note = 'waited for'");
	wait_for(60, sub { sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'transactionid'") == 1 }) }), '', 'one waits for another');
is(gone_after(sub { $writer->status('COMMIT'); $other->receive }), 'p:20 p:30 p:31', 'both have changed the row');
is(sql("SELECT id FROM product WHERE note = 'waited for'"), 31, 'one after the other');
is(gone_after(sub { $writer->status('BEGIN'); $writer->status('DELETE FROM product WHERE id = 31'); $other->send('UPDATE product SET id = 32 WHERE id = 31');
	wait_for(60, sub { sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'transactionid'") == 1 }); $writer->status('COMMIT'); $other->receive }), 'p:31', 'or the row is gone');
$_->close foreach $writer, $other;
cached((map { ("p:$_", "c:$_") } 1 .. 20), map { "a-key-for-many-rows:$_" } 1 .. 400);

# Too much
changes('INSERT INTO many SELECT generate_series(1, 400)', keys_of(map { "a-key-for-many-rows:$_" } 1 .. 400), 'hundreds of keys');
changes('INSERT INTO many SELECT generate_series(1, 10000)', 'everything: a transaction changed too many keys', 'too many of them abandon the cache');
changes('BEGIN; INSERT INTO many SELECT generate_series(1, 10000); ROLLBACK', '', 'but not if they are rolled back');
changes('BEGIN; ' . touch(1) . '; SAVEPOINT a; INSERT INTO many SELECT generate_series(1, 10000); ROLLBACK TO a; ' . touch(2) . '; COMMIT', 'p:1 p:2', 'or the savepoint is');
changes('BEGIN; SAVEPOINT a; INSERT INTO many SELECT generate_series(1, 10000); RELEASE a; ' . touch(2) . '; COMMIT', 'everything: a transaction changed too many keys', 'the savepoint is released');
changes("DO 'BEGIN FOR i IN 1..100 LOOP BEGIN INSERT INTO many SELECT generate_series(1, 300); RAISE EXCEPTION ''no''; EXCEPTION WHEN OTHERS THEN END; END LOOP; INSERT INTO many VALUES (1); END'",
	'a-key-for-many-rows:1', 'nor if no part that is kept is too much');
changes('BEGIN; TRUNCATE checked; ROLLBACK', '', 'TRUNCATE that is rolled back');
changes('BEGIN; ' . touch(1) . '; SAVEPOINT a; TRUNCATE checked; ROLLBACK TO a; ' . touch(2) . '; COMMIT', 'p:1 p:2', 'to a savepoint');
changes('BEGIN; ' . touch(1) . '; SAVEPOINT a; ' . touch(3) . '; SAVEPOINT b; TRUNCATE checked; RELEASE b; ROLLBACK TO a; COMMIT', 'p:1', 'that is released into another one');
changes('BEGIN; SAVEPOINT a; TRUNCATE checked; RELEASE a; ROLLBACK; ' . touch(2), 'p:2', 'or into nothing');
changes('BEGIN; SAVEPOINT a; TRUNCATE checked; RELEASE a; COMMIT', 'everything: TRUNCATE checked', 'TRUNCATE that is released');

# cache_flush()
changes("SELECT holdfast.cache_flush('the shop has moved')", 'everything: the shop has moved', 'cache_flush() abandons the cache, for its reason');
changes("SELECT holdfast.cache_flush('grün €')", 'everything: grün €', 'of whatever letters');
changes("BEGIN; SELECT holdfast.cache_flush('no'); ROLLBACK", '', 'not if it is rolled back');
changes('BEGIN; ' . touch(1) . "; SAVEPOINT a; SELECT holdfast.cache_flush('no'); ROLLBACK TO a; COMMIT", 'p:1', 'nor to a savepoint');
changes('BEGIN; ' . touch(1) . "; SELECT holdfast.cache_flush('first'), holdfast.cache_flush('second'); COMMIT", 'everything: first', 'the first reason is the reason');
is(sql_status("BEGIN READ ONLY; SELECT holdfast.cache_flush('no'); COMMIT"), '25006', 'it is refused in a read-only transaction');
my ($raised, $lost) = split(/\|/, status('generations, lost'));
sql("SELECT holdfast.cache_flush('counted')");
synced();
is(status("generations - $raised || ' ' || lost - $lost"), '1 0', 'it is counted, and nothing is lost');

# Two-phase commit
changes('BEGIN; ' . touch(1, 2) . "; PREPARE TRANSACTION 'one'", '', 'a transaction that is prepared');
changes(touch(3), 'p:3', 'another one goes on');
changes("COMMIT PREPARED 'one'", 'p:1 p:2', 'its keys are gone when it is committed');
changes('BEGIN; ' . touch(1) . "; PREPARE TRANSACTION 'one'", '', 'another one');
changes("ROLLBACK PREPARED 'one'", '', 'that is rolled back');
changes(['BEGIN; ' . touch(1) . '; SAVEPOINT a; ' . touch(2) . '; ROLLBACK TO a; SAVEPOINT b; ' . touch(3) . "; PREPARE TRANSACTION 'one'", "COMMIT PREPARED 'one'"], 'p:1 p:3', 'with savepoints');
changes([map { 'BEGIN; ' . touch($_) . "; PREPARE TRANSACTION 'number $_'" } 1 .. 5], '', 'five of them');
changes("COMMIT PREPARED 'number 3'", 'p:3', 'one is committed');
changes(["ROLLBACK PREPARED 'number 2'", "COMMIT PREPARED 'number 1'", "COMMIT PREPARED 'number 5'"], 'p:1 p:5', 'and more');
changes("ROLLBACK PREPARED 'number 4'", '', 'one is left');
fails('BEGIN; ' . touch(1) . "; CREATE TEMPORARY TABLE t (); PREPARE TRANSACTION 'one'", '0A000', '', 'one that cannot be prepared');
changes("BEGIN; SELECT holdfast.cache_flush('in two phases'); " . touch(1) . "; PREPARE TRANSACTION 'one'", '', 'cache_flush() in one that is prepared');
changes("COMMIT PREPARED 'one'", 'everything: in two phases', 'counts when it is committed');
changes("BEGIN; TRUNCATE checked; PREPARE TRANSACTION 'one'", '', 'TRUNCATE');
changes("ROLLBACK PREPARED 'one'", '', 'that is rolled back');
changes(["BEGIN; TRUNCATE checked; PREPARE TRANSACTION 'one'", "COMMIT PREPARED 'one'"], 'everything: TRUNCATE checked', 'or committed');
changes(["BEGIN; INSERT INTO many SELECT generate_series(1, 10000); PREPARE TRANSACTION 'one'", "COMMIT PREPARED 'one'"], 'everything: a transaction changed too many keys', 'too many keys');
changes(["BEGIN; SELECT; PREPARE TRANSACTION 'one'", "COMMIT PREPARED 'one'"], '', 'one without any');
sql('CREATE ROLE plain LOGIN; GRANT SELECT, UPDATE ON product TO plain; ALTER ROLE plain SET default_transaction_isolation = serializable');
{
	local $ENV{PGUSER} = 'plain';
	sql('BEGIN; ' . touch(6) . "; PREPARE TRANSACTION 'one'");
}
changes("COMMIT PREPARED 'one'", 'p:6', 'one of a role without any right to the cache');
changes("BEGIN; SELECT holdfast.unwatch('checked'); CREATE TABLE late (id integer); SELECT holdfast.watch('late', 'l:{id}'); INSERT INTO late VALUES (1); PREPARE TRANSACTION 'one'", '', 'watch()');
like(gone("COMMIT PREPARED 'one'"), qr/^everything: /, 'counts when it is committed');
cached('p:7', 'l:1', 'c:1');
changes('UPDATE late SET id = 1; INSERT INTO checked VALUES (1)', 'l:1', 'from then on');
my $generation = status('generation');
redis('set', "holdfast:$ENV{PGDATABASE}:$generation:value:{p:7}", 'cached');
sql('BEGIN; ' . touch(7) . "; PREPARE TRANSACTION 'one'");
sql("COMMIT PREPARED 'one'");
ok(wait_for(60, sub { redis('exists', "holdfast:$ENV{PGDATABASE}:$generation:value:{p:7}") eq '0' }), 'also when nobody asks for it');
is(sql('SELECT count(*) FROM _holdfast.cache_prepared'), 0, 'nothing is left of it all');
ok(stop(), 'Redis stands still');
is(sql_status(touch(8)), '00000', 'which is no matter for those who write');
is(sql_status("SET statement_timeout = '200ms'; SELECT holdfast.cache_sync('1 h')"), '57014', 'who waits for it in cache_sync() can be interrupted');
is(sql_status("SELECT holdfast.cache_sync('200 ms')"), 'HF045', 'or has had enough');
cont();
synced();
ok(wait_for(60, sub { status('state') . ' ' . status('ring_used') eq 'on 0.0000' }), 'the cache is on, and its ring is empty');
done_testing();

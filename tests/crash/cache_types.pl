#!/usr/bin/perl
# A column's value in a key is the same whatever the writing session has set, for every class of types.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Crash;
use Test::More;

stack('--fast');
require CacheKeys;
CacheKeys->import;

# Types, values, and their text in a key.
my @values = (
	['smallint', '-32768', '-32768'],
	['integer', '2147483647', '2147483647'],
	['bigint', '-9223372036854775808', '-9223372036854775808'],
	['numeric', '1.10', '1.10'],
	['numeric(10,3)', '1.1', '1.100'],
	['numeric', "'NaN'", 'NaN'],
	['numeric', '1e20', '100000000000000000000'],
	['boolean', 'true', 't'],
	['boolean', 'false', 'f'],
	['text', "'AZaz09-._~'", 'AZaz09-._~'],
	['text', q('a b/c:d,e%f{g}h'), 'a%20b%2Fc%3Ad%2Ce%25f%7Bg%7Dh'],
	['text', q(E'\\\\ " '' \n\t\x7f'), '%5C%20%22%20%27%20%0A%09%7F'],
	['text', q('+*!@#$&()=?;<>[]^`|'), '%2B%2A%21%40%23%24%26%28%29%3D%3F%3B%3C%3E%5B%5D%5E%60%7C'],
	['text', q('%00'), '%2500'],
	['text', q('grün €'), 'gr%C3%BCn%20%E2%82%AC'],
	['text', q('Ελλάδα 日本 😀'), '%CE%95%CE%BB%CE%BB%CE%AC%CE%B4%CE%B1%20%E6%97%A5%E6%9C%AC%20%F0%9F%98%80'],
	['text', "''", ''],
	['text', 'NULL', '%00'],
	['varchar(5)', "'ab '", 'ab%20'],
	['char(5)', "'ab'", 'ab%20%20%20'],
	['char(3)', "'ü'", '%C3%BC%20%20'],
	['"char"', "'x'", 'x'],
	['name', "'some name'", 'some%20name'],
	['uuid', "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
	['date', "'2024-02-03'", '2024-02-03'],
	['date', "'0044-03-15 BC'", '0044-03-15%20BC'],
	['date', "'infinity'", 'infinity'],
	['time', "'12:34:56.789'", '12%3A34%3A56.789'],
	['timetz', "'12:00:00+02'", '12%3A00%3A00%2B02'],
	['timestamp', "'2024-02-03 12:34:56.5'", '2024-02-03%2012%3A34%3A56.5'],
	['timestamptz', "'2024-07-01 12:00:00+02'", '2024-07-01%2010%3A00%3A00%2B00'],
	['timestamptz', "'2024-01-01 00:30:00.000001+05:30'", '2023-12-31%2019%3A00%3A00.000001%2B00'],
	['interval', "'1 year 2 months -3 days 04:05:06.7'", '1%20year%202%20mons%20-3%20days%20%2B04%3A05%3A06.7'],
	['real', '0.1', '0.1'],
	['double precision', '0.1::float8 + 0.2::float8', '0.30000000000000004'],
	['double precision', '1e300', '1e%2B300'],
	['double precision', "'-0'", '-0'],
	['money', '1234.5', '%241%2C234.50'],
	['bytea', q('\x005c61ff'), '%5Cx005c61ff'],
	['json', q('{"b": 1,  "a": [1]}'), '%7B%22b%22%3A%201%2C%20%20%22a%22%3A%20%5B1%5D%7D'],
	['jsonb', q('{"b": 1,  "a": "ü"}'), '%7B%22a%22%3A%20%22%C3%BC%22%2C%20%22b%22%3A%201%7D'],
	['mood', "'very happy'", 'very%20happy'],
	['word', "'a b'", 'a%20b'],
	['moment', "'2024-07-01 12:00:00+02'", '2024-07-01%2010%3A00%3A00%2B00'],
	['pair', q(ROW(1, 'a b')), '%281%2C%22a%20b%22%29'],
	['integer[]', "'{1,NULL,3}'", '%7B1%2CNULL%2C3%7D'],
	['text[]', q('{"a,b",c}'), '%7B%22a%2Cb%22%2Cc%7D'],
	['timestamptz[]', q('{2024-07-01 12:00:00+02}'), '%7B%222024-07-01%2010%3A00%3A00%2B00%22%7D'],
	['bytea[]', q(ARRAY['\xff'::bytea]), '%7B%22%5C%5Cxff%22%7D'],
	['int4range', "'[1,4]'", '%5B1%2C5%29'],
	['tstzrange', "'[2024-07-01 12:00:00+02,)'", '%5B%222024-07-01%2010%3A00%3A00%2B00%22%2C%29'],
	['datemultirange', "'{[2024-02-03,2024-02-05)}'", '%7B%5B2024-02-03%2C2024-02-05%29%7D'],
	['inet', "'10.0.0.1/8'", '10.0.0.1%2F8'],
	['bit(3)', "B'101'", '101'],
	['point', "'(0.1,1e300)'", '%280.1%2C1e%2B300%29'],
	['tsvector', "'b a:1'", '%27a%27%3A1%20%27b%27'],
	['pg_lsn', "'16/B374D848'", '16%2FB374D848'],
	['oid', '4294967295', '4294967295'],
	['regclass', "'public.typed'", 'public.typed'],
	['regclass', "'pg_class'", 'pg_class'],
	['regtype', "'integer'", 'integer'],
	['regtype', "'public.mood'", 'public.mood'],
	['regrole', "'holdfast_worker'", 'holdfast_worker'],
);
my $columns = join(', ', map { "c$_ $values[$_][0]" } 0 .. $#values);
my $insert = 'INSERT INTO public.typed VALUES (' . join(', ', map { $_->[1] } @values) . ')';
my @wanted = map { "c$_:$values[$_][2]" } 0 .. $#values;

sql(<<"END");
CREATE TYPE mood AS ENUM ('sad', 'very happy');
CREATE DOMAIN word AS text CHECK (VALUE <> '');
CREATE DOMAIN moment AS timestamptz;
CREATE TYPE pair AS (a integer, b text);
CREATE TABLE typed ($columns);
END
sql("SELECT holdfast.watch('typed', " . join(', ', map { "'c$_:{c$_}'" } 0 .. $#values) . ')');
ok(cache_is_on(), 'the cache is on');
cached(@wanted);
my %gone = map { /^(c\d+):(.*)$/ ? ($1 => $2) : ($_ => $_) } split(/ /, gone($insert));
is($gone{"c$_"}, $values[$_][2], "$values[$_][0] $values[$_][1]") foreach 0 .. $#values;

# Runs the code, after which all these keys must be gone; says which are missing, and which there are besides.
sub same_keys
{
	my ($name, $code) = @_;
	my %gone = map { $_ => 1 } split(/ /, gone_after($code));
	my @missing = grep { !delete $gone{$_} } @wanted;
	is(join(' ', @missing) . ' | ' . join(' ', sort keys %gone), ' | ', "the same keys $name");
}

# Settings of the session that writes
my %sessions = (
	'in New York' => "SET TimeZone = 'America/New_York'",
	'in Kathmandu' => "SET TimeZone = 'Asia/Kathmandu'",
	'in German' => "SET DateStyle = 'German'",
	'in SQL' => "SET DateStyle = 'SQL, DMY'; SET IntervalStyle = sql_standard",
	'in the style of POSTGRES' => "SET DateStyle = 'Postgres, MDY'; SET IntervalStyle = postgres_verbose",
	'in ISO 8601' => 'SET IntervalStyle = iso_8601',
	'with few digits' => 'SET extra_float_digits = -15',
	'with many digits' => 'SET extra_float_digits = 3',
	'with escaped bytes' => 'SET bytea_output = escape',
	'with another path' => 'SET search_path = elsewhere',
	'with the path of the types' => 'SET search_path = public, pg_catalog',
	'with all identifiers in quotes' => 'SET quote_all_identifiers = on',
	'in another encoding' => 'SET client_encoding = LATIN1',
	'while replicating' => 'SET session_replication_role = replica',
	'as a plain role' => 'SET ROLE plain',
	'with all of that' => "SET TimeZone = 'Pacific/Chatham'; SET DateStyle = 'SQL, YMD'; SET IntervalStyle = iso_8601; SET extra_float_digits = -15; SET bytea_output = escape; "
		. 'SET quote_all_identifiers = on; SET search_path = public; SET client_encoding = LATIN1; SET session_replication_role = replica; SET ROLE plain',
);
# What was read under the settings of before is written under others.
sql('CREATE TABLE stored (LIKE typed); INSERT INTO stored SELECT * FROM typed LIMIT 1');
my $copy = 'INSERT INTO public.typed SELECT * FROM public.stored';
sql('CREATE SCHEMA elsewhere; CREATE ROLE plain; GRANT INSERT ON typed TO plain; GRANT SELECT ON stored TO plain');
foreach my $name (sort keys %sessions)
{
	same_keys($name, sub { sql("$sessions{$name}; $copy") });
}
same_keys('with settings from the beginning of the session', sub {
	local $ENV{PGOPTIONS} = '-c role=plain -c TimeZone=Asia/Tokyo -c DateStyle=German -c extra_float_digits=0 -c IntervalStyle=sql_standard';
	sql($copy);
});
sql("CREATE FUNCTION copied() RETURNS void LANGUAGE sql SET TimeZone = 'Asia/Tokyo' SET DateStyle = 'German' AS '$copy'");
same_keys('with settings of a function', sub { sql('SELECT copied()') });

# The session keeps what it has set.
is(sql("SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'; SET search_path = elsewhere, public; SET extra_float_digits = 0; SET bytea_output = escape; SET IntervalStyle = iso_8601; "
		. "BEGIN; SET LOCAL TimeZone = 'Asia/Kathmandu'; $copy; SHOW TimeZone; COMMIT; "
		. "SELECT current_setting('TimeZone'), current_setting('DateStyle'), current_setting('search_path'), current_setting('extra_float_digits'), current_setting('bytea_output'), current_setting('IntervalStyle')"),
	"Asia/Kathmandu\nAsia/Tokyo|German, DMY|elsewhere, public|0|escape|iso_8601", 'the settings of the session are not touched');

# Whether a column has changed is told by its value, not by its text.
sql("CREATE TABLE counted (id integer, n numeric, f float8, j jsonb, long text); INSERT INTO counted VALUES (1, 1.0, 0.1, '{\"a\": 1}', repeat('x', 100000)); "
	. "SELECT holdfast.watch('counted', 'n ON n', 'f ON f', 'j ON j', 'long ON long', 'any ON n,f,j,long')");
synced();
cached(qw(n f j long any));
is(gone("UPDATE counted SET n = 1.0, f = 0.1, j = '{\"a\":1}', long = repeat('x', 100000)"), '', 'columns that are set to what they were have not changed');
is(gone('UPDATE counted SET id = 2'), '', 'nor have they if others change');
is(gone('UPDATE counted SET n = 1.00'), 'any n', 'a number with more digits is another one');
is(gone('UPDATE counted SET f = 0.1::float8 + 1e-18'), '', 'a float that is rounded to what it was is not');
is(gone("UPDATE counted SET long = repeat('x', 99999) || 'y'"), 'any long', 'a long text that ends otherwise is');
is(gone("UPDATE counted SET j = NULL, f = 2"), 'any f j', 'and so is NULL');
done_testing();

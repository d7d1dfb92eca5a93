/*
 * parity.c
 *		Values that are hard to write: the extension, in a session with strange settings, and the
 *		reader, who follows the protocol, mean the same key.
 *
 * Each row is cached under a key for each column, and under two keys with a tag.  Then one row is
 * changed: all of its entries have to be gone, and all others have to be there.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "race.h"

#define COLUMNS 9 /* with keys of their own */
#define KEYS	(COLUMNS + 2)
#define ROWS	8

static const char *const create[] = {
	"DROP TABLE IF EXISTS hard",
	"CREATE TABLE hard (id int PRIMARY KEY, note int, t text, b bytea, at timestamptz, day date,"
	" i interval, f float8, n numeric, c char(6), u uuid)",
	"INSERT INTO hard (id, note, t, b, at, day, i, f, n, c, u) VALUES"
	" (1, 0, 'plain', '\\x00', '2026-11-21 10:00:00.5+00', '2026-02-01', '1 day 02:03', 0.1, 1.50,"
	"  'ab', '00000000-0000-0000-0000-000000000001'),"
	" (2, 0, 'with blank: {brace} %41 \\ \" ''', '\\x2041', '2026-03-29 01:30:00+01', '2026-01-02',"
	"  '-1 mon', 1e300, 150, 'a', '00000000-0000-0000-0000-000000000002'),"
	" (3, 0, E'line\\nfeed\\ttab', '\\xff', 'infinity', 'infinity', '1 year', 'NaN', 'NaN', '.',"
	"  'ffffffff-ffff-ffff-ffff-ffffffffffff'),"
	" (4, 0, U&'Gr\\00F6\\00DFe \\20AC \\+01F600', '\\x5c', '0044-03-15 12:00:00+00 BC',"
	"  '0044-03-15 BC', '00:00:00.000001', '-Infinity', 0, 'abcdef', NULL),"
	" (5, 0, '', '', '1970-01-01 00:00:00+00', '1970-01-01', '0', 0, -1, ' ',"
	"  '00000000-0000-0000-0000-000000000005'),"
	" (6, 0, repeat('long ', 100), decode(repeat('ab', 200), 'hex'), '2000-01-01 00:00:00+00',"
	"  '2000-01-01', '100 years 1 sec', 1.0 / 3, 1.0 / 3, 'x',"
	"  '00000000-0000-0000-0000-000000000006'),"
	" (7, 0, '%00', '\\x253030', '1999-12-31 23:59:59.999999+00', '1999-12-31', '-00:00:01', -0.5,"
	"  1e-20, '%00', '00000000-0000-0000-0000-000000000007'),"
	" (8, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,"
	"  '00000000-0000-0000-0000-000000000008')",
	"SELECT holdfast.watch('hard', 'hard:t:{t}', 'hard:b:{b}', 'hard:at:{at}', 'hard:day:{day}',"
	" 'hard:i:{i}', 'hard:f:{f}', 'hard:n:{n}', 'hard:c:{c}', 'hard:{id}:u:{u}:{t}.',"
	" 'tag:hard:{id}', 'tag:{t}')",
};
static const char *const template[COLUMNS] = {"hard:t:{t}",			 "hard:b:{b}",
											  "hard:at:{at}",		 "hard:day:{day}",
											  "hard:i:{i}",			 "hard:f:{f}",
											  "hard:n:{n}",			 "hard:c:{c}",
											  "hard:{id}:u:{u}:{t}."};

static const char *const protocol[] = {"SET DateStyle = 'ISO, YMD'", "SET IntervalStyle = postgres",
									   "SET TimeZone = UTC",		 "SET bytea_output = hex",
									   "SET extra_float_digits = 1", NULL};
static const char *const strange[] = {"SET DateStyle = 'German, DMY'",
									  "SET IntervalStyle = iso_8601",
									  "SET TimeZone = 'Asia/Kathmandu'",
									  "SET bytea_output = escape",
									  "SET extra_float_digits = -10",
									  NULL};

static void
set_all(PGconn *conn, const char *const *setting)
{
	for (; *setting != NULL; setting++)
		session_do(conn, *setting);
}

static HfText
value_at(const PGresult *rows, int at, int column)
{
	if (PQgetisnull(rows, at, column))
		return (HfText){NULL, 0};
	return (HfText){PQgetvalue(rows, at, column), (size_t) PQgetlength(rows, at, column)};
}

/* The entry of a row, for one of the templates, or behind the last of them: with a tag. */
static HfCacheEntry
entry_at(const PGresult *rows, int at, int which)
{
	HfText id = value_at(rows, at, 0), own = value_at(rows, at, 1 + which % COLUMNS);
	HfText text = value_at(rows, at, 1);
	HfText several[] = {id, value_at(rows, at, COLUMNS), text};
	HfCacheEntry entry;
	bool good;

	if (which == COLUMNS)
		good = hf_cache_entry_begin(&entry, "page:{id}", &id, 1) &&
			hf_cache_entry_tag(&entry, "tag:hard:{id}", &id, 1);
	else if (which > COLUMNS)
		good = hf_cache_entry_begin(&entry, "note:{id}", &id, 1) &&
			hf_cache_entry_tag(&entry, "tag:{t}", &text, 1);
	else if (which == COLUMNS - 1)
		good = hf_cache_entry_begin(&entry, template[which], several, 3);
	else
		good = hf_cache_entry_begin(&entry, template[which], &own, 1);
	check(good, "row %d has no key %d", at + 1, which);
	return entry;
}

/* Asks; where the worker was held up and there is no heartbeat, until there is one again. */
static HfCacheAnswer
ask(HfCacheReader *reader, const HfCacheEntry *entry, HfCacheLease *lease)
{
	Usec deadline = now() + 60 * SECOND;
	HfText payload;
	HfCacheAnswer answer;

	while ((answer = hf_cache_reader_get(reader, entry, &payload, lease)) == HF_CACHE_OFF &&
		   now() < deadline)
		usleep(10000);
	return answer;
}

/* Fills an entry; again if that took so long that the lease was over. */
static void
fill(HfCacheReader *reader, const HfCacheEntry *entry)
{
	Usec deadline = now() + 60 * SECOND;
	HfCacheLease lease;
	HfCacheAnswer answer;

	while ((answer = ask(reader, entry, &lease)) != HF_CACHE_HIT && now() < deadline)
		if (answer == HF_CACHE_LEASED)
			(void) hf_cache_reader_fill(reader, &lease, &(HfText){"x", 1}, VALUE_TTL);
		else
			usleep(10000);
}

/* Fills all entries. */
static void
fill_all(HfCacheReader *reader, const PGresult *rows)
{
	for (int at = 0; at < PQntuples(rows); at++)
		for (int which = 0; which < KEYS; which++)
		{
			HfCacheEntry entry = entry_at(rows, at, which);

			fill(reader, &entry);
		}
}

/* After a change of one row: its entries are gone, and no others. */
static void
look_at_all(HfCacheReader *reader, const PGresult *rows, int changed)
{
	for (int at = 0; at < PQntuples(rows); at++)
		for (int which = 0; which < KEYS; which++)
		{
			HfCacheEntry entry = entry_at(rows, at, which);
			HfCacheLease lease;
			HfCacheAnswer answer = ask(reader, &entry, &lease);

			check(answer == (at == changed ? HF_CACHE_LEASED : HF_CACHE_HIT),
				  "row %d was changed, and key %d of row %d, %s, %s", changed + 1, which, at + 1,
				  entry.key.text, answer == HF_CACHE_HIT ? "is still there" : "is gone");
			if (answer == HF_CACHE_LEASED)
				(void) hf_cache_reader_fill(reader, &lease, &(HfText){"x", 1}, VALUE_TTL);
			fill(reader, &entry);
		}
}

/* Changes one row after the other, and looks. */
void
parity_run(void)
{
	PGconn *writer = session_open("cache parity writer"), *conn = session_open("cache parity");
	HfCacheReader *reader = reader_open();
	PGresult *rows;

	for (size_t i = 0; i < sizeof(create) / sizeof(create[0]); i++)
		session_do(conn, create[i]);
	session_sync(conn);
	set_all(conn, protocol);
	set_all(writer, strange);
	rows =
		session_run(conn, "SELECT id, t, b, at, day, i, f, n, c, u FROM hard ORDER BY id", 0, NULL);
	check(PQntuples(rows) == ROWS, "there are %d rows", PQntuples(rows));
	fill_all(reader, rows);
	for (int at = 0; at < PQntuples(rows); at++)
	{
		(void) session_number(writer, "UPDATE hard SET note = note + 1 WHERE id = $1", at + 1);
		session_sync(writer);
		look_at_all(reader, rows, at);
	}
	claim("writers with strange settings and readers mean the same keys, %d of them", ROWS * KEYS);
	PQclear(rows);
	PQfinish(writer);
	PQfinish(conn);
	hf_cache_reader_close(reader);
}

/*
 * ways.c
 *		The ways in which writers change rows.
 *
 * Each returns true if it has come to its end, and what is in w->change is then committed and not
 * yet acknowledged.  If it returns false, nothing is committed but what it has acknowledged itself,
 * and the caller rolls back what is open.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checker.h"

/* One statement for one row. */
static bool
change_one(Writer *w)
{
	return writer_change_row(w, 1 + (int) rnd(&w->random, options.keys));
}

/* One statement for many. */
static bool
change_many(Writer *w)
{
	int last;
	int first = writer_range(w, ROWS, &last);

	return writer_change_rows(w, first, last);
}

/* Changes rows, and takes some of it back. */
static bool
use_savepoints(Writer *w)
{
	int depth = 1 + (int) rnd(&w->random, 3);
	int last;
	int first = writer_range(w, 5, &last);

	if (!db_run(&w->own, "BEGIN") || !writer_change_rows(w, first, last))
		return false;
	for (int i = 0; i < depth; i++)
	{
		int kept = w->changes;
		bool keep = chance(&w->random, 50);

		first = writer_range(w, 5, &last);
		if (!db_run(&w->own, "SAVEPOINT s") || !writer_change_rows(w, first, last) ||
			!db_run(&w->own, keep ? "RELEASE s" : "ROLLBACK TO s"))
			return false;
		if (!keep)
			w->changes = kept;
	}
	return writer_commit(w);
}

/* A function whose blocks fail one by one. */
static bool
call_function(Writer *w)
{
	char ids[200] = "", fails[200] = "";
	int n = 2 + (int) rnd(&w->random, 8);

	for (int i = 0; i < n; i++)
	{
		size_t used = strlen(ids);

		snprintf(ids + used, sizeof(ids) - used, "%s%d", i > 0 ? "," : "",
				 1 + (int) rnd(&w->random, options.keys));
		strcat(fails, i > 0 ? "," : "");
		strcat(fails, chance(&w->random, 40) ? "t" : "f");
	}
	if (!db_run(&w->own, "SELECT * FROM item_change('{%s}', '{%s}')", ids, fails))
		return false;
	for (int row = 0; row < PQntuples(w->own.result); row++)
	{
		Change change = {.id = (int) db_number(&w->own, row, 0),
						 .version = db_number(&w->own, row, 1)};

		w->change[w->changes++] = change;
	}
	return true;
}

/* A transaction that is prepared here and ended there. */
static bool
commit_in_two_phases(Writer *w)
{
	static atomic_int number;
	Session *session = chance(&w->random, 60) ? &w->other : &w->own;
	bool commit = chance(&w->random, 70);
	char gid[60];
	int last;
	int first = writer_range(w, 10, &last);

	snprintf(gid, sizeof(gid), "checker %d %d", (int) getpid(), number++);
	if (!db_run(&w->own, "BEGIN") || !writer_change_rows(w, first, last))
		return false;
	if (!db_run(&w->own, "PREPARE TRANSACTION '%s'", gid))
	{
		if (w->own.lost)
			(void) writer_settle(w, gid);
		return false;
	}
	if (chance(&w->random, 20))
		nap((Usec) rnd(&w->random, 30000));
	if (db_run(session, "%s PREPARED '%s'", commit ? "COMMIT" : "ROLLBACK", gid))
	{
		w->rolled_back += !commit;
		w->changes = commit ? w->changes : 0;
		for (int i = 0; i < w->changes; i++)
			w->change[i].prepared = true;
		return true;
	}
	if (!session->lost)
		violation("%s PREPARED: %s", commit ? "COMMIT" : "ROLLBACK",
				  PQresultErrorMessage(session->result));
	(void) writer_settle(w, gid);
	if (session == &w->other)
		(void) db_connect(&w->other, &stop_writers);
	return false;
}

/* Deletes some rows, for new ones with the same keys; their ids are in w->change. */
static bool
delete_rows(Writer *w, int most)
{
	int last;
	int first = writer_range(w, most, &last);

	if (!db_run(&w->own, "BEGIN") ||
		!db_run(&w->own, "DELETE FROM item WHERE id BETWEEN %d AND %d RETURNING id, version", first,
				last))
		return false;
	writer_note(w);
	if (w->changes == 0 ||
		!db_run(&w->own, "SELECT nextval('item_version') FROM generate_series(1, %d)", w->changes))
		return false;
	for (int i = 0; i < w->changes; i++)
		w->change[i].version = db_number(&w->own, i, 0);
	return true;
}

static bool
replace_rows(Writer *w)
{
	if (!delete_rows(w, 5))
		return false;
	for (int i = 0; i < w->changes; i++)
		if (!db_run(&w->own, "INSERT INTO item VALUES (%d, %d, %" PRId64 ")", w->change[i].id,
					(w->change[i].id - 1) / SHELF, w->change[i].version))
			return false;
	return writer_commit(w);
}

static bool
copy_rows(Writer *w)
{
	char rows[ROWS * 50] = "";
	size_t used = 0;

	if (!delete_rows(w, ROWS / 2))
		return false;
	for (int i = 0; i < w->changes; i++)
		used +=
			(size_t) snprintf(rows + used, sizeof(rows) - used, "%d\t%d\t%" PRId64 "\n",
							  w->change[i].id, (w->change[i].id - 1) / SHELF, w->change[i].version);
	return db_copy(&w->own, "COPY item FROM STDIN", rows) && writer_commit(w);
}

/* A row that nobody else deletes or brings back. */
static int
own_row(Writer *w)
{
	int shelves = options.keys / SHELF / options.writers;
	int shelf = (int) rnd(&w->random, shelves) * options.writers + w->number;

	return (shelf + 1) * SHELF;
}

/* Deletes a row for good, or until bring_row(). */
static bool
remove_row(Writer *w)
{
	int id = own_row(w);
	bool committed;

	if (!db_run(&w->own, "BEGIN") ||
		!db_run(&w->own, "DELETE FROM item WHERE id = %d RETURNING id", id))
		return false;
	if (PQntuples(w->own.result) == 0 || !db_run(&w->own, "SELECT nextval('item_version')"))
		return false;
	w->change[w->changes++] =
		(Change){.id = id, .version = db_number(&w->own, 0, 0), .absent = true};
	journal_intend(id, 1);
	committed = writer_commit(w);
	journal_intend(id, -1);
	return committed;
}

static bool
bring_row(Writer *w)
{
	int id = own_row(w);

	if (!db_run(&w->own,
				"INSERT INTO item VALUES (%d, %d, nextval('item_version'))"
				" ON CONFLICT (id) DO UPDATE SET version = nextval('item_version')"
				" RETURNING id, version",
				id, (id - 1) / SHELF))
		return false;
	writer_note(w);
	return true;
}

static bool
change_nothing(Writer *w)
{
	int last;
	int first = writer_range(w, 20, &last);

	if (!db_run(&w->own, "BEGIN") || !writer_change_rows(w, first, last))
		return false;
	writer_roll_back(w);
	return true;
}

/* Deletions of all rows, as of this version. */
static Change *
list_deletions(int64_t version)
{
	Change *change = calloc(options.keys, sizeof(Change));

	if (change == NULL)
		abort();
	for (int i = 0; i < options.keys; i++)
		change[i] = (Change){.id = i + 1, .version = version, .absent = true};
	return change;
}

static void
intend_all(int deletions)
{
	for (int id = 1; id <= options.keys; id++)
		journal_intend(id, deletions);
}

/* Should the acknowledgement be lost, every row may be missing for ever, for all the journal knows. */
static bool
truncate_table(Writer *w)
{
	Change *change;

	if (!db_run(&w->own, "BEGIN") || !db_run(&w->own, "SET LOCAL lock_timeout = '10s'") ||
		!db_run(&w->own, "TRUNCATE item") || !db_run(&w->own, "SELECT nextval('item_version')"))
		return false;
	change = list_deletions(db_number(&w->own, 0, 0));
	intend_all(1);
	if (!writer_commit(w))
	{
		free(change);
		return false;
	}
	journal_ack(change, options.keys, false);
	intend_all(-1);
	free(change);
	return true;
}

/* Empties the table, and brings the rows back bit by bit, but for the last of each shelf. */
bool
way_truncate(Writer *w)
{
	if (!truncate_table(w))
		return false;
	for (int id = 1; id <= options.keys; id += ROWS / 2)
	{
		w->changes = 0;
		if (db_run(&w->own,
				   "INSERT INTO item SELECT id, (id - 1) / %d, nextval('item_version')"
				   " FROM generate_series(%d, %d) id WHERE id %% %d > 0 AND id <= %d"
				   " ON CONFLICT DO NOTHING RETURNING id, version",
				   SHELF, id, id + ROWS / 2 - 1, SHELF, options.keys))
		{
			writer_note(w);
			count(COUNT_RELOADED, w->changes);
			writer_acknowledge(w);
		}
		nap(5000);
	}
	return true;
}

Way ways[] = {
	{.name = "one row", .weight = 30, .run = change_one},
	{.name = "many rows", .weight = 15, .run = change_many},
	{.name = "savepoints", .weight = 12, .run = use_savepoints},
	{.name = "PL/pgSQL", .weight = 10, .run = call_function},
	{.name = "two-phase", .weight = 10, .run = commit_in_two_phases},
	{.name = "DELETE and INSERT", .weight = 6, .run = replace_rows},
	{.name = "COPY", .weight = 5, .run = copy_rows},
	{.name = "DELETE", .weight = 6, .run = remove_row},
	{.name = "INSERT", .weight = 8, .run = bring_row},
	{.name = "rollback", .weight = 5, .run = change_nothing},
};
const int nways = sizeof(ways) / sizeof(ways[0]);
